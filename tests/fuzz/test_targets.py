"""The fuzzing targets hold for their own seeds, and see what they are there to see."""

from __future__ import annotations

import pytest

from clearcut.imaging.types import ImageHeader
from tests.support import fuzz_targets


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
def test_the_seeds_pass(name):
    run, seeds = fuzz_targets.TARGETS[name]
    count = 0
    for seed in seeds():
        run(seed)
        run(seed[: len(seed) // 2])
        count += 1
    assert count >= 4


def test_a_stray_exception_is_seen(monkeypatch):
    def stray(*_):
        raise IndexError

    monkeypatch.setattr(fuzz_targets, "probe", stray)
    with pytest.raises(IndexError):
        fuzz_targets.fuzz_probe(b"x")


def test_a_size_beyond_the_limits_is_seen(monkeypatch):
    monkeypatch.setattr(fuzz_targets, "probe", lambda *_: ImageHeader("png", 16_385, 1))
    with pytest.raises(AssertionError):
        fuzz_targets.fuzz_probe(b"x")
