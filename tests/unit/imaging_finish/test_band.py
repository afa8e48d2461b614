"""Rectangles of a grid."""

import itertools

from app.imaging.band import Run


def test_even_covers_stays_inside_and_is_a_multiple_where_the_frame_lets_it() -> None:
    for height, width in ((1, 5), (7, 8), (13, 4)):
        for top, left in itertools.product(range(height), range(width)):
            for bottom, right in itertools.product(range(top + 1, height + 1), range(left + 1, width + 1)):
                found = Run(top, bottom, left, right).even(4, height, width)
                assert 0 <= found.top <= top < bottom <= found.bottom <= height
                assert 0 <= found.left <= left < right <= found.right <= width
                down, across = found.bottom - found.top, found.right - found.left
                assert down == height or (down % 4 == 0 and down < bottom - top + 4)
                assert across == width or (across % 4 == 0 and across < right - left + 4)
