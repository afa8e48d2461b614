"""Moderation, with a model that scores the brightness of an image as `bright`."""

from __future__ import annotations

import numpy as np
import pytest

from clearcut.errors import StartupError
from clearcut.inference.moderation import load_moderator
from tests.support.moderation_models import bright_or_dark, install_moderation

SIDE = 16


def gray(value: float) -> np.ndarray:
    return np.full((3, SIDE, SIDE), value, np.float32)


def test_score_at_threshold_rejects_image(tmp_path):
    install_moderation(tmp_path)
    moderator = load_moderator(tmp_path)
    assert moderator.refusal(gray(0.25)) is None
    assert moderator.refusal(gray(0.5)) == "bright"
    assert moderator.scores(gray(0.25)) == {"bright": 0.25, "dark": 0.75}


def test_logits_become_probabilities(tmp_path):
    data = bright_or_dark(logits=True)
    install_moderation(tmp_path, data=data, output='"logit"')
    scores = load_moderator(tmp_path).scores(gray(0.75))
    assert scores["bright"] == pytest.approx(1 / (1 + np.exp(-5)), rel=1e-6)
    assert sum(scores.values()) == pytest.approx(1)


def test_no_table_gives_no_moderator(tmp_path):
    assert load_moderator(None) is None
    assert load_moderator(tmp_path) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sha256": f'"{"0" * 64}"'}, "the manifest says"),
        ({"file": '"other.onnx"'}, "other.onnx is not in"),
        ({"file": '"../moderation.onnx"'}, "moderation.file"),
        ({"labels": '["bright"]', "refuse": "bright = 0.5"}, "2 scores for 1 labels"),
        ({"refuse": "violet = 0.5"}, "unknown labels: \\['violet'\\]"),
        ({"refuse": "bright = 2"}, "moderation.refuse.bright"),
        ({"output": '"minmax"'}, "moderation.output"),
        ({"data": b"no model"}, "cannot be used"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_moderation_is_refused(tmp_path, changed, words):
    install_moderation(tmp_path, **changed)
    with pytest.raises(StartupError, match=words):
        load_moderator(tmp_path)


def test_nan_score_rejects_image(tmp_path):
    install_moderation(tmp_path)
    assert load_moderator(tmp_path).refusal(gray(float("nan"))) == "bright"
