"""Rectangles of a grid."""

import itertools

from app.imaging.band import Run


def test_snapped_covers_stays_inside_and_begins_and_ends_on_multiples() -> None:
    for height, width in ((1, 5), (7, 8), (13, 4)):
        for top, left in itertools.product(range(height), range(width)):
            for bottom, right in itertools.product(range(top + 1, height + 1), range(left + 1, width + 1)):
                found = Run(top, bottom, left, right).snapped(4, height, width)
                assert (found.top, found.left) == (top // 4 * 4, left // 4 * 4)
                assert found.bottom == min(-(-bottom // 4) * 4, height)
                assert found.right == min(-(-right // 4) * 4, width)
