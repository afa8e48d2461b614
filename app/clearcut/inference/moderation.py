"""Moderation: a classifier that rejects images. This repository contains none.

``clearcut models pull nsfw`` makes the classifier of ``[classifiers.nsfw]`` in ``models/manifest.toml``. An operator
can provide another one instead: the ``[moderation]`` table is read from the manifest in ``CLEARCUT_MODEL_DIR``, and
else from the service's own:

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

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clearcut.errors import StartupError
from clearcut.imaging.types import F32, InputSpec

from .hashes import read_verified
from .manifest import MANIFEST, models_folder
from .manifest_schema import ClassifiersFile, ClassifierTable, ScoresTable, read_toml
from .model_files import read_pin
from .runtime import CpuSession
from .startup.self_test import golden_input


def load_moderator(
    extra_dir: Path | None, models_dir: Path | None = None, limits: Mapping[str, float] | None = None
) -> Moderator | None:
    """Return the moderation model of a manifest, or else the first classifier with a file; None if there is neither.

    Args:
        extra_dir: folder that is searched before ``models_dir``.
        models_dir: None selects ``models_folder()``.
        limits: thresholds that replace those of the manifest; None or empty keeps them.

    Raises:
        StartupError: the table is invalid, the file is missing or has another hash, the model does not run, a
            classifier has other scores than the manifest, or ``limits`` has an unknown label.
    """
    repository = models_dir or models_folder()
    folders = [repository] if extra_dir is None else [extra_dir, repository]
    for folder in folders:
        path = folder / MANIFEST
        if path.is_file() and (table := read_toml(path, "Model manifest", ClassifiersFile).moderation) is not None:
            file = find_classifier(table, folders)
            if file is None:
                raise StartupError(f"Moderation: file {table.file} is not in {' nor in '.join(map(str, folders))}")
            return Moderator(table, file, read_verified("Moderation", file, table.sha256), limits)
    for name, classifier in read_classifiers(repository).items():
        if (file := find_classifier(classifier, folders)) is not None:
            return Moderator(classifier, file, verify_classifier(name, classifier, file), limits)
    if limits:
        raise StartupError(f"CLEARCUT_MODERATION_LIMITS needs a classifier. {HOW_TO_GET}")
    return None


HOW_TO_GET = "Download one: clearcut models pull nsfw"


def read_classifiers(folder: Path) -> dict[str, ClassifierTable]:
    """Return the classifiers of the manifest in a folder by name.

    Raises:
        StartupError: the manifest is missing or invalid.
    """
    return read_toml(folder / MANIFEST, "Model manifest", ClassifiersFile).classifiers


def find_classifier(table: ScoresTable, folders: Sequence[Path]) -> Path | None:
    """Return the file of a classifier in the first folder that has it, or None."""
    return next((path for folder in folders if (path := folder / table.file).is_file()), None)


def verify_classifier(name: str, table: ClassifierTable, path: Path) -> bytes:
    """Return the content of a classifier's file.

    Raises:
        StartupError: the file has no pin, another hash than its pin, or other scores than the manifest.
    """
    pin = read_pin(path)
    if pin is None:
        raise StartupError(f"Moderation: {path} has no pin. Delete it and run `clearcut models pull {name}`")
    data = read_verified("Moderation", path, pin.sha256)
    check_classifier(name, table, data)
    return data


def check_classifier(name: str, table: ClassifierTable, data: bytes) -> None:
    """Compare the scores of the golden image with the manifest's.

    Raises:
        StartupError: they differ, or the model does not run.
    """
    moderator = Moderator(table, Path(table.file), data)
    scores = moderator.scores(golden_input(moderator.input))
    difference = max(abs(scores[label] - table.golden[label]) for label in table.labels)
    if not difference <= table.tolerance:
        found = ", ".join(f"{label} {score:.3f}" for label, score in scores.items())
        raise StartupError(
            f"Model '{name}' fails its self-test: its scores of the golden image differ by {difference:.3f} (maximum "
            f"{table.tolerance:g}): {found}"
        )


class Moderator:
    """Scores images. Several threads may call it at once."""

    def __init__(self, table: ScoresTable, path: Path, data: bytes, limits: Mapping[str, float] | None = None) -> None:
        """
        Args:
            table: labels, output and input of the model.
            path: of the file, for messages.
            data: content of the ONNX file.
            limits: thresholds that replace those of the table; None or empty keeps them.

        Raises:
            StartupError: the file cannot be used, or ``limits`` has an unknown label.
        """
        self.file: str = table.file
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.input: InputSpec = table.input.to_spec()
        self.thresholds: Mapping[str, float] = limits or table.refuse
        self._labels = table.labels
        self._output = table.output
        if unknown := [label for label in self.thresholds if label not in table.labels]:
            raise StartupError(
                f"CLEARCUT_MODERATION_LIMITS: unknown label {unknown[0]}. {path.name} has: {', '.join(table.labels)}"
            )
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
        return next((label for label, limit in self.thresholds.items() if not scores[label] < limit), None)
