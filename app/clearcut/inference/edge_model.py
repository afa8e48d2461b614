"""The edge model: a network of a few kilobytes that corrects a fitted matte on grids of cells, on the CPU.

The ``[edges]`` table of ``models/manifest.toml`` names its file. ``models/training/edge/train.py`` trains it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clearcut.errors import StartupError
from clearcut.imaging.types import F32, U8

from .hashes import read_verified
from .manifest import MANIFEST, models_folder
from .manifest_schema import EdgesFile, read_toml
from .runtime import CpuSession, first_line

_STRIDE = 4
"""The network needs sides that are multiples of this. Other grids are padded by repeating their last cells."""


def load_edge_model(models_dir: Path | None = None) -> OnnxEdgeModel:
    """Load the edge model of a manifest.

    Args:
        models_dir: folder of the manifest and the file; None selects ``models_folder()``.

    Raises:
        StartupError: as ``find_edge_model`` and ``OnnxEdgeModel``.
    """
    return OnnxEdgeModel(*find_edge_model(models_dir or models_folder()))


def find_edge_model(folder: Path) -> tuple[Path, bytes]:
    """Return path and content of the edge model's file, which must be beside the manifest.

    Raises:
        StartupError: the table is missing or invalid, or the file is missing or has another hash.
    """
    manifest = folder / MANIFEST
    table = read_toml(manifest, "Model manifest", EdgesFile).edges
    if table is None:
        raise StartupError(f"Model manifest {manifest}: edges: table is missing")
    path = folder / table.file
    return path, read_verified("Edge model", path, table.sha256)


class OnnxEdgeModel:
    """Implements ``imaging.types.EdgeModel``. Several threads may call it at once."""

    def __init__(self, path: Path, data: bytes) -> None:
        """
        Args:
            path: of the file, for messages.
            data: content of an ONNX file from f32[1,5,h,w] to f32[h,w], with h and w multiples of 4. The input planes
                are red, green and blue in 0..255, the model's values, and the fitted values clipped to -0.5..1.5.

        Raises:
            StartupError: the file cannot be loaded, or its output has a wrong shape, type or value.
        """
        zeros = np.zeros((8, 12), np.float32)
        try:
            self._session = CpuSession(data, arena=False)
            output = self(np.zeros((8, 12, 3), np.uint8), zeros, zeros)
        except Exception as exc:
            raise StartupError(f"Edge model: {path} cannot be used: {first_line(exc)}") from None
        if output.shape != zeros.shape or output.dtype != np.float32 or not np.isfinite(output).all():
            raise StartupError(f"Edge model: {path} returns {output.dtype}{output.shape} or values that are not finite")

    def __call__(self, guide: U8, values: F32, fitted: F32) -> F32:
        """Return the correction to add to ``fitted``, f32[h,w], for a grid of any size; see ``imaging.types``.

        Args:
            guide: u8[h,w,3], RGB.
            values: f32[h,w], the model's values.
            fitted: f32[h,w], the fitted values.
        """
        height, width = values.shape
        padded_height, padded_width = (-(-side // _STRIDE) * _STRIDE for side in (height, width))
        planes = np.empty((1, 5, padded_height, padded_width), np.float32)
        grid = planes[0, :, :height, :width]
        for channel in range(3):
            grid[channel] = guide[:, :, channel]
        grid[3] = values
        np.clip(fitted, -0.5, 1.5, out=grid[4])
        planes[..., height:, :width] = planes[..., height - 1 : height, :width]
        planes[..., width:] = planes[..., width - 1 : width]
        correction: F32 = self._session.run(planes)
        return correction[:height, :width]
