"""The edge model: a network of some kilobytes that corrects the guided fit at a few hundred cells, on the CPU.

It is named in the ``[edges]`` table of ``models/manifest.toml`` and made by ``models/training/edge/train.py``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort

from clearcut.errors import StartupError
from clearcut.imaging.types import F32, U8

from .manifest import FILE, MANIFEST, SHA256, models_folder
from .providers import first_line
from .toml_table import read_document

_STRIDE = 4
"""The network looks at blocks of so many cells; a grid that ends within one is continued by its last cells."""


def load_edge_model(models_dir: Path | None = None) -> OnnxEdgeModel:
    """The edge model that the manifest names.

    Raises:
        StartupError: as ``find_edge_model`` and ``OnnxEdgeModel``.
    """
    return OnnxEdgeModel(*find_edge_model(models_dir or models_folder()))


def find_edge_model(folder: Path) -> tuple[Path, bytes]:
    """Where the edge model lies, beside the manifest and nowhere else, and what is there.

    Raises:
        StartupError: the table or the file is missing or malformed, or the file is not the one meant.
    """
    table = read_document(folder / MANIFEST, "Model manifest").table("edges")
    path, wanted = folder / table.text("file", FILE), table.text("sha256", SHA256)
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise StartupError(f"Edge model: {path} cannot be read: {exc.strerror}") from exc
    if (digest := hashlib.sha256(data).hexdigest()) != wanted:
        raise StartupError(f"Edge model: {path} has sha256 {digest}, the manifest says {wanted}")
    return path, data


class OnnxEdgeModel:
    """Implements ``imaging.types.EdgeModel``; may be called from several threads at once."""

    def __init__(self, path: Path, data: bytes) -> None:
        """``data``: the ONNX file at ``path``, from f32[1,5,h,w], h and w multiples of 4, to f32[h,w]. The planes are
        red, green and blue in 0..255, the values, and what is fitted, cut at -0.5 and 1.5.

        Raises:
            StartupError: it is none, or does not answer as it should.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # an arena grows with the callers at once and is never given back
        zeros = np.zeros((8, 12), np.float32)
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            answer = self(np.zeros((8, 12, 3), np.uint8), zeros, zeros)
        except Exception as exc:
            raise StartupError(f"Edge model: {path} cannot be used: {first_line(exc)}") from None
        if answer.shape != zeros.shape or answer.dtype != np.float32 or not np.isfinite(answer).all():
            raise StartupError(f"Edge model: {path} answers {answer.dtype}{answer.shape} or what is no number")

    def __call__(self, guide: U8, values: F32, fitted: F32) -> F32:
        """What to add to ``fitted``, f32[h,w], for grids of any size; see ``imaging.types.EdgeModel``."""
        height, width = values.shape
        down, across = (-(-side // _STRIDE) * _STRIDE for side in (height, width))
        planes = np.empty((1, 5, down, across), np.float32)
        inner = planes[0, :, :height, :width]
        for channel in range(3):
            inner[channel] = guide[:, :, channel]
        inner[3] = values
        np.clip(fitted, -0.5, 1.5, out=inner[4])
        planes[..., height:, :width] = planes[..., height - 1 : height, :width]
        planes[..., width:] = planes[..., width - 1 : width]
        added: F32 = self._session.run(None, {self._input: planes})[0]
        return added[:height, :width]
