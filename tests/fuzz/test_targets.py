"""Fuzz targets accept their own seeds and detect failures."""

from __future__ import annotations

import pytest

from clearcut.imaging.types import ImageHeader
from tests.support import fuzz_targets


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
def test_seeds_pass(name):
    run, seeds = fuzz_targets.TARGETS[name]
    count = 0
    for seed in seeds():
        run(seed)
        run(seed[: len(seed) // 2])
        count += 1
    assert count >= 4


def test_unexpected_exception_is_detected(monkeypatch):
    def unexpected(*_):
        raise IndexError

    monkeypatch.setattr(fuzz_targets, "probe", unexpected)
    with pytest.raises(IndexError):
        fuzz_targets.fuzz_probe(b"x")


def test_size_beyond_limits_is_detected(monkeypatch):
    monkeypatch.setattr(fuzz_targets, "probe", lambda *_: ImageHeader("png", 16_385, 1))
    with pytest.raises(AssertionError):
        fuzz_targets.fuzz_probe(b"x")
