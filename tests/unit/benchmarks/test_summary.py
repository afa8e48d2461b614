"""The comparison of results: a loss is found whichever way a figure points, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.summary import FIGURES, Figure, gain, losses, plot, stored

MORE = Figure("images/s", "a", ("rate",), True, 2.0)
LESS = Figure("bytes", "a", ("deep", "bytes"), False, 1.0)


def test_a_figure_is_found_by_its_path_or_not_at_all() -> None:
    assert LESS.of({"deep": {"bytes": 3}}) == 3
    assert LESS.of({"deep": 1}) is None
    assert LESS.of({}) is None
    assert LESS.of(None) is None


@pytest.mark.parametrize(("now", "before", "expected"), [(3.0, 2.0, 1.5), (1.0, 2.0, 0.5), (0.0, 2.0, 1.0)])
def test_gain_points_up(now: float, before: float, expected: float) -> None:
    assert gain(MORE, now, before) == expected
    if now:
        assert gain(LESS, now, before) == 1 / expected


def test_only_a_loss_of_more_than_a_tenth_counts() -> None:
    higher, lower = (next(f for f in FIGURES if f.higher_is_better is way) for way in (True, False))
    before: dict[Figure, float | None] = {higher: 1.0, lower: 1.0}
    assert list(losses({higher: 0.91, lower: 1.09}, before)) == []
    assert len(list(losses({higher: 0.89, lower: 1.0}, before))) == 1
    assert len(list(losses({higher: 1.0, lower: 1.12}, before))) == 1
    assert list(losses({higher: 1.0, lower: 0.5}, before)) == []
    assert len(list(losses({higher: None, lower: 0.5}, before))) == 1  # a figure that is gone is no gain


def test_targets() -> None:
    assert MORE.met(2.0)
    assert not MORE.met(1.9)
    assert LESS.met(0.9)
    assert not LESS.met(1.1)
    assert plot({MORE: 1.0, LESS: None}).dtype == np.uint8


def test_every_stored_result_still_has_its_figures() -> None:
    """A benchmark that renames a figure would otherwise be compared with nothing."""
    for figure in FIGURES:
        if (result := stored(figure.file)) is not None:
            assert figure.of(result) is not None, figure.what
