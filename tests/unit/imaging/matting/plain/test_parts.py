"""Enclosed parts with the color of a plain background."""

import numpy as np
import pytest

from clearcut.imaging.matting.plain.parts import Colors, hole_parts


@pytest.mark.parametrize(
    ("difference", "net", "brightness", "is_hole"),
    [
        (0.7, 0.9, 255, True),
        (0.7, 1, 255, False),
        (0.2, 1, 255, True),
        (0.2, 1, 40, False),
        (0.1, 1, 40, True),
        (0.05, 1, 8, True),
        (0, 1, 0, True),
        (0.05, 1, -3, True),
        (1, 1, 0, False),
    ],
)
def test_certain_network_needs_a_closer_color_for_a_hole(
    difference: float, net: float, brightness: float, is_hole: bool
) -> None:
    part = np.zeros((60, 60), np.bool_)
    part[20:40, 20:40] = True
    colors = np.where(part[..., None], np.float32(difference), np.float32(100)) * np.ones(3, np.float32)
    facts = Colors(colors, colors[..., 0].copy(), noise=1.0, level=4.5, typical=100.0, brightness=brightness)
    holes, _, _ = hole_parts(part, facts, np.full(part.shape, net, np.float32), np.zeros_like(part))
    assert np.array_equal(holes, part & is_hole)
