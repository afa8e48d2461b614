"""Inputs, options and outputs of the Python API: bytes, paths, Pillow images and arrays."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .cutout_types import CutoutOutput, CutoutRequest
from .errors import ImageError, InvalidField
from .imaging.options import RemoveOptions
from .imaging.python_images import PilImage, encode_png, from_array, to_pil
from .imaging.types import U8, ComposedImage, DecodedImage
from .web.apis.poof_options import (
    FIELDS,
    add_background_type,
    parse_options,
    parse_variants,
    request_options,
    require_background,
)
from .web.request.json_body import scalar_text

Array = npt.NDArray[np.generic]
FileBytes = bytes | bytearray | memoryview
ImagePath = str | os.PathLike[str]
Input = FileBytes | ImagePath | PilImage | Array

FILE_OPTIONS = ("bg_image", "mask")
"""Options with an image as value, in any form that ``remove`` accepts."""


def parse_input(
    x: Input, options: Mapping[str, Any], names: dict[str, str], *, variants: str | None, keep_alpha: bool
) -> CutoutRequest:
    """Return the request for an input and its options, and add the names of the options to ``names``.

    Args:
        variants: as for ``Remover.process``.

    Raises:
        TypeError, OSError, InputError: as for ``remove``.
    """
    values = {name: value for name, value in options.items() if value is not None and name not in FILE_OPTIONS}
    has_background = options.get("bg_image") is not None
    fields = add_background_type(_texts(values), has_background=has_background)
    outputs: list[RemoveOptions]
    if variants is None:
        parsed, by_field = parse_options(fields)
        names.update(by_field.names)
        outputs = [parsed]
    else:
        outputs, _ = parse_variants({**fields, "variants": variants})
    require_background(outputs, has_background=has_background)
    encode = isinstance(x, FileBytes)
    if not encode and any(each.format == "zip" for each in outputs):
        raise InvalidField("format", "an image format, because the result is an image in memory")
    background, mask = _option_file(options, "bg_image", "background"), _option_file(options, "mask", "mask")
    return CutoutRequest(
        _source(x), tuple(outputs), background, mask, encode=encode, keep_alpha=keep_alpha, **request_options(fields)
    )


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the options as texts of form fields."""
    texts = {}
    for name, value in values.items():
        if name not in FIELDS:
            close = difflib.get_close_matches(name, [*FIELDS, *FILE_OPTIONS], n=1)
            raise TypeError(f"unknown option {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        try:
            text = scalar_text(value.item() if isinstance(value, np.generic) else value)
        except ValueError:
            raise TypeError(f"option {name!r}: expected a text, a number or a boolean") from None
        if text is not None:
            texts[name] = text
    return texts


def _option_file(options: Mapping[str, Any], name: str, role: str) -> bytes | None:
    """Return the file of an option; None if it is not set. Image errors get ``role``."""
    value = options.get(name)
    if value is None:
        return None
    if name == "mask" and isinstance(value, np.ndarray) and value.dtype == np.uint8 and _is_matte(value):
        value = np.repeat(value.reshape(*value.shape[:2], 1), 3, axis=2)
    try:
        return _file(value)
    except ImageError as exc:
        exc.role = role
        raise


def _is_matte(pixels: Array) -> bool:
    return pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)


def _source(x: Input) -> bytes | DecodedImage:
    return from_array(x) if isinstance(x, np.ndarray) else _file(x)


def _file(x: Input) -> bytes:
    """Return an input as a file."""
    if isinstance(x, FileBytes):
        return bytes(x)
    if isinstance(x, str | os.PathLike):
        return Path(x).read_bytes()
    if isinstance(x, PilImage):
        return encode_png(x)
    if isinstance(x, np.ndarray):
        image = from_array(x)
        pixels = image.rgb if image.alpha is None else np.dstack([image.rgb, image.alpha])
        return encode_png(to_pil(ComposedImage(pixels)))
    raise TypeError(f"expected bytes, a path, a Pillow image or an array, got {type(x).__name__}")


def output_like(x: Input, output: CutoutOutput) -> bytes | PilImage | U8:
    """Return an output in the form that belongs to the input: bytes, a Pillow image or an array."""
    if output.pixels is None:
        return bytes(output.image.data)
    return output.pixels.pixels if isinstance(x, np.ndarray) else to_pil(output.pixels)
