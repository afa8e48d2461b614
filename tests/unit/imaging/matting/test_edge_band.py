"""Rectangles of a grid."""

import itertools

import numpy as np
import pytest

from clearcut.imaging.matting.edge_band import Span, any_in_strips, find_spans


def test_snapped_covers_stays_inside_and_begins_and_ends_on_multiples() -> None:
    for height, width in ((1, 5), (7, 8), (13, 4)):
        for top, left in itertools.product(range(height), range(width)):
            for bottom, right in itertools.product(range(top + 1, height + 1), range(left + 1, width + 1)):
                found = Span(top, bottom, left, right).snapped(4, height, width)
                assert (found.top, found.left) == (top // 4 * 4, left // 4 * 4)
                assert found.bottom == min(-(-bottom // 4) * 4, height)
                assert found.right == min(-(-right // 4) * 4, width)


@pytest.mark.parametrize("gap", [0, 1, 3])
@pytest.mark.parametrize("high", [1, 2, 5, 40])
def test_runs_cover_what_is_there_and_lie_apart(high: int, gap: int) -> None:
    rng = np.random.default_rng(high + gap)
    for height, width, share in itertools.product((1, 5, 12), (1, 9, 30), (0.0, 0.05, 0.5, 1.0)):
        mask = (rng.random((height, width)) < share).astype(np.uint8)
        found = find_spans(any_in_strips(mask, high), high, height, gap)
        covered = np.zeros_like(mask)
        for run in found:
            covered[run.area] += 1
            assert mask[run.area][:, 0].any()  # begins and ends with something
            assert mask[run.area][:, -1].any()
        assert covered.max(initial=0) <= 1
        assert (covered >= mask).all()
        for one, other in itertools.pairwise(found):
            assert one.top % high == 0
            assert one.bottom == min(one.top + high, height)
            assert other.top > one.top or other.left - one.right > gap
