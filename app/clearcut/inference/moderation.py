"""Moderation: an optional ONNX classifier that the operator provides. This repository contains none.

The ``[moderation]`` table is read from the manifest in ``CLEARCUT_MODEL_DIR``, and else from the service's own:

    [moderation]
    file = "classifier.onnx"          # f32[1,3,S,S] to f32[1,N]: one score for each label
    sha256 = "…"
    output = "probability"            # or "logit": softmax is applied, or the sigmoid if there is one label
    labels = ["neutral", "explicit"]
    [moderation.refuse]               # an image is rejected if the score of a label is at least this
    explicit = 0.8
    [moderation.input]
    side = 224
    divide_by = 255
    mean = [0.485, 0.456, 0.406]
    std = [0.229, 0.224, 0.225]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clearcut.errors import StartupError
from clearcut.imaging.types import F32, InputSpec

from .hashes import read_verified
from .manifest import MANIFEST, models_folder
from .manifest_schema import ModerationFile, ModerationTable, read_toml
from .runtime import CpuSession


def load_moderator(extra_dir: Path | None, models_dir: Path | None = None) -> Moderator | None:
    """Return the moderation model of a manifest, or None if no manifest has one.

    Args:
        extra_dir: folder that is searched before ``models_dir``.
        models_dir: None selects ``models_folder()``.

    Raises:
        StartupError: the table is invalid, the file is missing or has another hash, or the model does not run.
    """
    repository = models_dir or models_folder()
    folders = [repository] if extra_dir is None else [extra_dir, repository]
    for folder in folders:
        path = folder / MANIFEST
        if path.is_file() and (table := read_toml(path, "Model manifest", ModerationFile).moderation) is not None:
            return Moderator(table, folders)
    return None


class Moderator:
    """Scores images. Several threads may call it at once."""

    def __init__(self, table: ModerationTable, folders: list[Path]) -> None:
        self.file: str = table.file
        self.input: InputSpec = table.input.to_spec()
        self._labels = table.labels
        self._output = table.output
        self._thresholds: Mapping[str, float] = table.refuse
        path = next((path for folder in folders if (path := folder / table.file).is_file()), None)
        if path is None:
            raise StartupError(f"Moderation: file {table.file} is not in {' nor in '.join(map(str, folders))}")
        data = read_verified("Moderation", path, table.sha256)
        try:
            self._session = CpuSession(data)
            scores = self.scores(np.zeros((3, self.input.side, self.input.side), np.float32))
        except Exception as exc:
            raise StartupError(f"Moderation: {path} cannot be used: {exc}") from None
        if not np.isfinite(list(scores.values())).all():
            raise StartupError(f"Moderation: {path} returns values that are not finite")

    def scores(self, tensor: F32) -> dict[str, float]:
        """Return the probability of each label.

        Args:
            tensor: f32[3,S,S], normalized.

        Raises:
            ValueError: the number of scores differs from the number of labels.
        """
        values: npt.NDArray[np.float64] = np.asarray(self._session.run(tensor[None]), np.float64).reshape(-1)
        if values.size != len(self._labels):
            raise ValueError(f"{values.size} scores for {len(self._labels)} labels")
        if self._output == "logit":
            if values.size == 1:
                values = 0.5 * (1.0 + np.tanh(0.5 * values))
            else:
                values = np.exp(values - values.max())
                values /= values.sum()
        return {label: float(value) for label, value in zip(self._labels, values, strict=True)}

    def refusal(self, tensor: F32) -> str | None:
        """Return the label that rejects an image, or None if the image is accepted. A score of NaN rejects.

        Args:
            tensor: f32[3,S,S], normalized.
        """
        scores = self.scores(tensor)
        return next((label for label, limit in self._thresholds.items() if not scores[label] < limit), None)
