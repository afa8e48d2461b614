"""Spans of strips."""

import itertools

import numpy as np
import pytest

from clearcut.imaging.matting.edge_band import Span, any_in_strips, find_spans


def test_snapped_span_has_aligned_sides() -> None:
    for height, width in ((1, 5), (7, 8), (13, 4)):
        for top, left in itertools.product(range(height), range(width)):
            for bottom, right in itertools.product(range(top + 1, height + 1), range(left + 1, width + 1)):
                found = Span(top, bottom, left, right).snapped(4, height, width)
                assert (found.top, found.left) == (top // 4 * 4, left // 4 * 4)
                assert found.bottom == min(-(-bottom // 4) * 4, height)
                assert found.right == min(-(-right // 4) * 4, width)


@pytest.mark.parametrize("gap", [0, 1, 3])
@pytest.mark.parametrize("high", [1, 2, 5, 40])
def test_spans_cover_mask_without_overlap(high: int, gap: int) -> None:
    rng = np.random.default_rng(high + gap)
    for height, width, share in itertools.product((1, 5, 12), (1, 9, 30), (0.0, 0.05, 0.5, 1.0)):
        mask = (rng.random((height, width)) < share).astype(np.uint8)
        found = find_spans(any_in_strips(mask, high), high, height, gap)
        covered = np.zeros_like(mask)
        for span in found:
            covered[span.area] += 1
            assert mask[span.area][:, 0].any()  # begins and ends with a set column
            assert mask[span.area][:, -1].any()
        assert covered.max(initial=0) <= 1
        assert (covered >= mask).all()
        for first, second in itertools.pairwise(found):
            assert first.top % high == 0
            assert first.bottom == min(first.top + high, height)
            assert second.top > first.top or second.left - first.right > gap
