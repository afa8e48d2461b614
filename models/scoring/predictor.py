"""ONNX matting networks as functions of one image, without the service."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from clearcut.imaging.types import InputSpec
from clearcut.inference.manifest import MANIFEST, models_folder, read_manifest

IMAGENET = InputSpec(320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Input normalization of u2netp and of clearcut-s."""


def session(path: Path, threads: int = 1) -> ort.InferenceSession:
    """Return a CPU session with ``threads`` threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def spec_of(path: Path) -> InputSpec:
    """Return the input of a model file as the manifest describes it. The entry has the file's name up to the first dot.

    Raises:
        ValueError: No entry has that name.
    """
    name = path.name.split(".")[0]
    entries = read_manifest(models_folder() / MANIFEST)
    if name not in entries:
        raise ValueError(f"{path}: the manifest has no model {name!r}; name the file after one of {', '.join(entries)}")
    return entries[name].input


def to_input(rgb: NDArray[np.uint8], size: int, spec: InputSpec = IMAGENET) -> NDArray[np.float32]:
    """Return u8[H,W,3] as f32[1,3,S,S], resized by area averaging and normalized as ``spec`` says."""
    small = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) * spec.scale
    normalized = (small - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return np.ascontiguousarray(normalized.transpose(2, 0, 1)[None])


class Predictor:
    """An ONNX matting network as a function of one image."""

    def __init__(self, model: Path, *, stretch: bool = False, threads: int = 1):
        """Load the model. The manifest gives the normalization, the file gives the side of the input.

        Args:
            model: ONNX file, named after its manifest entry.
            stretch: Apply U2-Net's min-max stretch to the matte.
            threads: Threads of the session.
        """
        self._spec = spec_of(model)
        self._session = session(model, threads)
        self._node = self._session.get_inputs()[0]
        self._stretch = stretch

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the matte f32[H,W] in 0..1 of u8[H,W,3]."""
        image = to_input(rgb, int(self._node.shape[-1]), self._spec)
        matte = np.asarray(self._session.run(None, {self._node.name: image})[0])[0, 0]
        if self._stretch:
            matte = (matte - matte.min()) / max(float(matte.max() - matte.min()), 1e-6)
        full = cv2.resize(matte, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.clip(full, 0, 1).astype(np.float32)
