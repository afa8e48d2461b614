"""The start-up self-test: compare the model's output for a computed image, the golden image, with the manifest's.

The golden output in the manifest records what the model returns, not whether that is good. Look at mattes of real
photos before you record it with ``clearcut models pin``.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from clearcut.errors import StartupError
from clearcut.imaging.types import InputSpec
from clearcut.inference.manifest_schema import Golden
from clearcut.inference.model_files import ModelFile
from clearcut.inference.session import OnnxEngine
from clearcut.inference.types import F32, Engine

GRID = 8
TOLERANCE = 0.02
"""Tolerance of new golden outputs."""
VARIANTS = 4
"""Number of different test images."""
# TF32 convolutions and other kernels for each batch size change single pixels of a soft edge by a few hundredths. A
# model with a fixed batch size in its graph is wrong nearly everywhere.
BATCH_MEAN_TOLERANCE = 0.005
BATCH_MAX_TOLERANCE = 0.1


def golden_input(spec: InputSpec, variant: int = 0) -> F32:
    """Return the golden image, head and shoulders in front of a smooth background, as model input f32[3,S,S].

    Plain arithmetic gives the same image, except for the last bits, on every machine and with every numpy version.

    Args:
        spec: of the model's input.
        variant: 0 is the golden image. Other numbers move the figure and change the colors.
    """
    axis = (np.arange(spec.side, dtype=np.float64) + 0.5) / spec.side
    y, x = axis[:, None], axis[None, :]
    center = 0.5 + 0.08 * (variant % 3 - 1) * (variant > 0)
    head = ((x - center) / 0.15) ** 2 + ((y - 0.34) / 0.19) ** 2
    body = ((x - center) / 0.30) ** 2 + np.abs((y - 1.0) / 0.50) ** 3
    figure = _inside(np.minimum(head, body))
    background = np.stack([60 + 40 * y + 20 * x, 110 + 60 * y + 0 * x, 140 + 30 * np.sin(3 * x + y)])
    skin = np.stack([205 - 30 * x + 0 * y, 150 - 20 * y + 0 * x, 120 + 0 * x * y])
    cloth = np.stack([150 + 25 * np.sin(30 * x + 0 * y), 35 + 20 * variant + 0 * x * y, 45 + 30 * y + 0 * x])
    head_share = _inside(head)
    rgb = background * (1 - figure) + (skin * head_share + cloth * (1 - head_share)) * figure
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (spec.mean, spec.std))
    return np.ascontiguousarray((rgb * spec.scale - mean) / std, dtype=np.float32)


def _inside(shape: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return 1 inside the curve ``shape == 1`` and 0 outside, with a soft edge."""
    return np.clip((1.1 - shape) / 0.2, 0.0, 1.0)


def block_means(values: F32) -> tuple[tuple[float, ...], ...]:
    """Return 8 x 8 means of f32[S,S]."""
    cuts = np.linspace(0, values.shape[0], GRID + 1).astype(int)
    rows = [values[top:bottom] for top, bottom in pairwise(cuts)]
    return tuple(tuple(float(row[:, left:right].mean()) for left, right in pairwise(cuts)) for row in rows)


def check_golden(engine: Engine, model: ModelFile, bucket: int) -> None:
    """Compare the engine's output for the golden image with the manifest's.

    Args:
        engine: to be tested.
        model: the file of the engine, with its entry.
        bucket: a warmed batch size.

    Raises:
        StartupError: the manifest has no golden output, or the engine's differs from it.
    """
    entry = model.entry
    if entry.golden is None:
        raise StartupError(
            f"Model '{entry.name}' has no golden output. Look at its mattes of real photos, then record its output "
            f"with `clearcut models pin {entry.name}`"
        )
    values = engine.run(np.repeat(golden_input(entry.input)[None], bucket, axis=0))[0]
    difference = float(np.abs(np.array(block_means(values)) - np.array(entry.golden.grid)).max())
    if not difference <= entry.golden.tolerance:
        raise StartupError(
            f"Model '{entry.name}' fails its self-test: its matte of the golden image differs by {difference:.3f} "
            f"(maximum {entry.golden.tolerance:g}). The execution provider computes wrong results, or the input or "
            f"golden output in the manifest does not belong to {model.path}"
        )


def batch_equals_singles(engine: Engine, spec: InputSpec, bucket: int) -> bool:
    """Return whether different images have the same mattes in a batch as alone.

    A model that was exported with a fixed batch size returns wrong mattes for every other size, without an error.

    Args:
        engine: warmed for ``bucket`` and for 1.
        spec: of the model's input.
        bucket: size of the batch.
    """
    images = [golden_input(spec, variant) for variant in range(min(VARIANTS, bucket))]
    singles = [engine.run(image[None])[0] for image in images]
    batch = engine.run(np.stack([images[index % len(images)] for index in range(bucket)]))
    differences = [np.abs(values - singles[index % len(images)]) for index, values in enumerate(batch)]
    return all(
        float(each.mean()) <= BATCH_MEAN_TOLERANCE and float(each.max()) <= BATCH_MAX_TOLERANCE for each in differences
    )


def record_golden(model: ModelFile) -> Golden:
    """Return the golden output of a model, from a run on the CPU.

    Raises:
        StartupError: the matte is nearly uniform, so that comparing it would show nothing.
    """
    engine = OnnxEngine(model, "cpu", 1)
    size = model.entry.batch_min
    values = engine.warm(np.repeat(golden_input(model.entry.input)[None], size, axis=0))[0]
    grid = block_means(values)
    if max(map(max, grid)) - min(map(min, grid)) < 0.5:
        raise StartupError(f"Model '{model.entry.name}' does not detect the figure of the golden image")
    return Golden(grid=grid, tolerance=TOLERANCE)
