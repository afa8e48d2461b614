"""Decompression bombs and floods are refused after bounded work. ``benchmarks/hostile_cost.py`` measures the time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from clearcut.errors import ClearcutError
from clearcut.imaging.decode import decode
from clearcut.imaging.formats import webp_chunks
from clearcut.imaging.formats.jpeg_file import segments
from clearcut.imaging.formats.png_file import chunks
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import bombs

LIMITS = ProbeLimits()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each segment or chunk that a walker looks at."""
    seen: list[int] = []
    for module, name in ((segments, "segments"), (chunks, "chunks"), (webp_chunks, "chunks")):
        walk = getattr(module, name)

        def counted(view: memoryview, walk: object = walk) -> Iterator[object]:
            for step in walk(view):  # type: ignore[operator]
                seen.append(1)
                yield step

        monkeypatch.setattr(module, name, counted)
    return seen


@pytest.mark.parametrize("name", bombs.REFUSED)
def test_refused_after_bounded_work(name: str, steps: list[int]) -> None:
    maker, reason = bombs.REFUSED[name]
    data = maker()
    tracemalloc.start()
    try:
        with pytest.raises(ClearcutError) as caught:
            probe(data, LIMITS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == reason
    assert caught.value.status == 400
    assert len(steps) <= 2 * LIMITS.max_segments + 2
    assert peak < 4 * bombs.MIB


@pytest.mark.parametrize("name", bombs.HARMLESS)
def test_harmless_bombs_are_decoded(name: str, steps: list[int]) -> None:
    data = bombs.HARMLESS[name]()
    header = probe(data, LIMITS)
    assert len(steps) <= LIMITS.max_segments
    assert header.pixels <= 64
    assert decode(data, header).rgb.shape[:2] == (header.height, header.width)
