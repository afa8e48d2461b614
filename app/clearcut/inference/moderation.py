"""The moderation slot: an ONNX classifier of the operator's, named in a manifest's ``[moderation]``. None comes along.

It is looked for in the manifest of ``models/`` and in a ``manifest.toml`` in ``CLEARCUT_MODEL_DIR``, which wins:

    [moderation]
    file = "classifier.onnx"          # f32[1,3,S,S] to f32[1,N], one score a label
    sha256 = "…"
    output = "probability"            # or "logit": the softmax is still to be applied, of one label the sigmoid
    labels = ["neutral", "explicit"]
    [moderation.refuse]               # a picture is refused when a label's score is at least this
    explicit = 0.8
    [moderation.input]
    side = 224
    divide_by = 255
    mean = [0.485, 0.456, 0.406]
    std = [0.229, 0.224, 0.225]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from clearcut.errors import StartupError
from clearcut.imaging.types import F32, InputSpec

from .manifest import MANIFEST, SHA256, models_folder
from .toml_table import TomlTable, read_document

_LABEL = r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}"
_MOST_LABELS = 1000


@dataclass(frozen=True, slots=True)
class ModerationEntry:
    file: str
    sha256: str
    output: Literal["probability", "logit"]
    labels: tuple[str, ...]
    refuse: Mapping[str, float]
    """By label: the score from which on a picture is refused."""
    input: InputSpec


def load_moderator(extra_dir: Path | None, models_dir: Path | None = None) -> Moderator | None:
    """The classifier that a manifest names; None where none does.

    Raises:
        StartupError: it is malformed, the file is missing or not the one meant, or it does not answer as it should.
    """
    own = models_dir or models_folder()
    folders = [own] if extra_dir is None else [extra_dir, own]
    for folder in folders:
        path = folder / MANIFEST
        if not path.is_file():
            continue
        document = read_document(path, "Model manifest")
        if "moderation" in document.content:
            return Moderator(_entry(document.table("moderation")), folders)
    return None


class Moderator:
    """Judges pictures; may be asked from several threads at once."""

    def __init__(self, entry: ModerationEntry, folders: list[Path]) -> None:
        self.entry = entry
        path = next((found for each in folders if (found := each / entry.file).is_file()), None)
        if path is None:
            raise StartupError(f"Moderation: file {entry.file} is not in {' nor in '.join(map(str, folders))}")
        data = path.read_bytes()
        if (digest := hashlib.sha256(data).hexdigest()) != entry.sha256:
            raise StartupError(f"Moderation: {path} has sha256 {digest}, the manifest says {entry.sha256}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            side = entry.input.side
            scores = self.scores(np.zeros((3, side, side), np.float32))
        except Exception as exc:
            raise StartupError(f"Moderation: {path} cannot be used: {exc}") from None
        if not np.isfinite(list(scores.values())).all():
            raise StartupError(f"Moderation: {path} answers values that are not finite")

    def scores(self, tensor: F32) -> dict[str, float]:
        """f32[3,S,S] to a probability a label.

        Raises:
            ValueError: the model answers another number of scores than there are labels.
        """
        values: npt.NDArray[np.float64] = np.asarray(
            self._session.run(None, {self._input: tensor[None]})[0], np.float64
        ).reshape(-1)
        if values.size != len(self.entry.labels):
            raise ValueError(f"{values.size} scores for {len(self.entry.labels)} labels")
        if self.entry.output == "logit":
            if values.size == 1:
                values = 0.5 * (1.0 + np.tanh(0.5 * values))
            else:
                values = np.exp(values - values.max())
                values /= values.sum()
        return {label: float(value) for label, value in zip(self.entry.labels, values, strict=True)}

    def refusal(self, tensor: F32) -> str | None:
        """The label that a picture is refused for, None where it passes; what is no number does not pass."""
        scores = self.scores(tensor)
        return next((label for label, most in self.entry.refuse.items() if not scores[label] < most), None)


def _entry(table: TomlTable) -> ModerationEntry:
    fed, refuse = table.table("input"), table.table("refuse")
    labels = table.texts("labels", _LABEL)
    if not 1 <= len(labels) <= _MOST_LABELS or len(set(labels)) != len(labels):
        raise table.fault("labels", f"expected 1 to {_MOST_LABELS} different names")
    if not refuse.content or (unknown := [label for label in refuse.content if label not in labels]):
        raise table.fault("refuse", f"expected labels with a score each, of {', '.join(labels)}; unknown: {unknown}")
    mean, std = fed.numbers("mean", 3, -255, 255), fed.numbers("std", 3, 1e-6, 255)
    kind = table.text("output", "probability|logit")
    return ModerationEntry(
        file=table.text("file", r"[A-Za-z0-9][A-Za-z0-9._-]*\.onnx"),
        sha256=table.text("sha256", SHA256),
        output="logit" if kind == "logit" else "probability",
        labels=labels,
        refuse={label: refuse.number(label, 0, 1) for label in refuse.content},
        input=InputSpec(
            side=int(fed.number("side", 16, 1024)),
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
            scale=1.0 / fed.number("divide_by", 1e-6, 65535),
        ),
    )
