"""Raw mattes of a model as the service makes them, for benchmarks that run the steps of a request themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clearcut.imaging.matting.second_pass import crop, join_mattes, second_pass_region
from clearcut.imaging.prepare import prepare
from clearcut.imaging.types import DecodedImage, RawMatte
from clearcut.inference.manifest import ModelEntry


def raw_matte(run: Callable[[np.ndarray], Any], entry: ModelEntry, image: DecodedImage) -> RawMatte:
    """Return the raw matte of an image, after the second pass if the model has one.

    Args:
        run: returns the output of the model for f32[1,3,S,S], S x S values in 0..1.
        entry: of the model.
    """

    def once(part: DecodedImage) -> RawMatte:
        values = np.asarray(run(prepare(part, entry.input).tensor[None]), np.float32)
        return RawMatte(values.reshape(entry.input.side, -1))

    raw = once(image)
    region = second_pass_region(raw, image, entry.second_pass) if entry.second_pass else None
    return raw if region is None else join_mattes(raw, once(crop(image, region)), region, image)
