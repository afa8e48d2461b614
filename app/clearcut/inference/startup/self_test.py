"""The start-up self-test: known pictures, computed here, and what a sound model makes of them.

``python -m clearcut.inference.startup.self_test NAME [EXTRA_DIR [PRECISION]]`` runs a manifest's model on the CPU and
prints the
``golden`` table to put into the manifest. It is to be run once when an entry is added, after looking at the model's
mattes of real photos: it records what the model does, not whether that is good.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from clearcut.errors import StartupError
from clearcut.imaging.types import InputSpec
from clearcut.inference.manifest import Golden, Precision
from clearcut.inference.model_files import ModelFile, golden_lines, load_model
from clearcut.inference.session import OnnxEngine
from clearcut.inference.types import F32, Engine

GRID = 8
TOLERANCE = 0.02
"""Of the golden answers written here."""
VARIANTS = 4
# CUDA's TF32 convolutions and other kernels per batch size move single pixels of a soft edge by some hundredths;
# a model with its batch size baked in is wrong nearly everywhere.
BATCH_MEAN_TOLERANCE = 0.005
BATCH_MAX_TOLERANCE = 0.1


def golden_input(spec: InputSpec, variant: int = 0) -> F32:
    """A head and shoulders before a soft ground, as the model is fed it: f32[3,S,S].

    Made of plain arithmetic, so that every machine and every numpy makes the same picture to the last few bits.

    Args:
        variant: 0 is the golden picture; other numbers move the figure and change the colours.
    """
    axis = (np.arange(spec.side, dtype=np.float64) + 0.5) / spec.side
    y, x = axis[:, None], axis[None, :]
    centre = 0.5 + 0.08 * (variant % 3 - 1) * (variant > 0)
    head = ((x - centre) / 0.15) ** 2 + ((y - 0.34) / 0.19) ** 2
    body = ((x - centre) / 0.30) ** 2 + np.abs((y - 1.0) / 0.50) ** 3
    figure = _inside(np.minimum(head, body))
    ground = np.stack([60 + 40 * y + 20 * x, 110 + 60 * y + 0 * x, 140 + 30 * np.sin(3 * x + y)])
    skin = np.stack([205 - 30 * x + 0 * y, 150 - 20 * y + 0 * x, 120 + 0 * x * y])
    cloth = np.stack([150 + 25 * np.sin(30 * x + 0 * y), 35 + 20 * variant + 0 * x * y, 45 + 30 * y + 0 * x])
    share = _inside(head)
    rgb = ground * (1 - figure) + (skin * share + cloth * (1 - share)) * figure
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (spec.mean, spec.std))
    return np.ascontiguousarray((rgb * spec.scale - mean) / std, dtype=np.float32)


def _inside(shape: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 within the curve shape == 1, 0 without, over a soft edge."""
    return np.clip((1.1 - shape) / 0.2, 0.0, 1.0)


def block_means(values: F32) -> tuple[tuple[float, ...], ...]:
    """f32[S,S] -> 8 x 8 means."""
    cuts = np.linspace(0, values.shape[0], GRID + 1).astype(int)
    rows = [values[top:bottom] for top, bottom in pairwise(cuts)]
    return tuple(tuple(float(row[:, left:right].mean()) for left, right in pairwise(cuts)) for row in rows)


def check_golden(engine: Engine, model: ModelFile, bucket: int) -> None:
    """Compare the engine's answer to the golden picture with the manifest's.

    Args:
        bucket: a warmed batch size to ask in.

    Raises:
        StartupError: the manifest has no golden facts, or the answer is another.
    """
    entry = model.entry
    if entry.golden is None:
        raise StartupError(
            f"Model '{entry.name}' has no golden facts. Run `python -m clearcut models pin {entry.name}`, which "
            f"keeps what "
            "it answers now, and look at its mattes of real photos"
        )
    values = engine.run(np.repeat(golden_input(entry.input)[None], bucket, axis=0))[0]
    off = float(np.abs(np.array(block_means(values)) - np.array(entry.golden.grid)).max())
    if not off <= entry.golden.tolerance:
        raise StartupError(
            f"Model '{entry.name}' fails its self-test: its matte of the golden picture is off by {off:.3f} "
            f"(allowed {entry.golden.tolerance:g}). The execution provider computes wrongly, or the manifest's input "
            f"or golden facts are not those of {model.path}"
        )


def batch_equals_singles(engine: Engine, spec: InputSpec, bucket: int) -> bool:
    """Whether different pictures, run as one batch, get the answers that they get alone (needs bucket 1 warmed).

    Exports with the batch size baked into a reshape give wrong mattes for every other size, and no error.
    """
    pictures = [golden_input(spec, variant) for variant in range(min(VARIANTS, bucket))]
    singles = [engine.run(picture[None])[0] for picture in pictures]
    together = engine.run(np.stack([pictures[place % len(pictures)] for place in range(bucket)]))
    differences = [np.abs(values - singles[place % len(pictures)]) for place, values in enumerate(together)]
    return all(
        float(each.mean()) <= BATCH_MEAN_TOLERANCE and float(each.max()) <= BATCH_MAX_TOLERANCE for each in differences
    )


def golden_of_model(model: ModelFile) -> Golden:
    """What a model answers to the golden picture, from a run on the CPU.

    Raises:
        StartupError: the model answers nearly the same everywhere, so that comparing would show nothing.
    """
    engine = OnnxEngine(model, "cpu", 1)
    size = model.entry.batch_min
    values = engine.warm(np.repeat(golden_input(model.entry.input)[None], size, axis=0))[0]
    grid = block_means(values)
    if max(map(max, grid)) - min(map(min, grid)) < 0.5:
        raise StartupError(f"Model '{model.entry.name}' does not see the golden picture's figure; nothing to compare")
    return Golden(grid, TOLERANCE)


def golden_table(model: ModelFile) -> str:
    """The manifest's ``golden`` table for a model (see ``golden_of_model``)."""
    entry = model.entry
    variant = "" if entry.precision == "fp32" else f".variants.{entry.precision}"
    return golden_lines(f"models.{entry.name}{variant}.golden", golden_of_model(model))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit("usage: python -m clearcut.inference.startup.self_test NAME [EXTRA_DIR [PRECISION]]")
    try:
        extra = Path(sys.argv[2]) if len(sys.argv) > 2 else None
        precisions: tuple[Precision, ...] = get_args(Precision)
        wanted = next((each for each in precisions if each in sys.argv[3:]), precisions[0])
        sys.stdout.write(golden_table(load_model(sys.argv[1], extra_dir=extra, precision=wanted)))
    except StartupError as error:
        sys.exit(str(error))
