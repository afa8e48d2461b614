"""What a shop wants to know of a product photo: how much the subject fills, what it touches, what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.types import DecodedImage, Matte

_OPAQUE = 128
_WHITE = 250
"""Least level of every channel of a background that counts as white."""
_MOST = 0.99
"""Share of the background that must be white."""
_SAMPLES = 256
"""Rows and columns looked at; facts about areas need no more."""


@dataclass(frozen=True, slots=True)
class SubjectFacts:
    fill: float
    """0..1: share of the frame covered, translucent pixels in part."""
    touches: tuple[str, ...]
    """Borders of the frame that the subject reaches: top, right, bottom, left."""
    white_background: bool
    """Whether what is not subject is white already, as marketplaces ask for."""

    def header(self) -> str:
        """As one structured header value (RFC 9651, dictionary)."""
        touches = " ".join(f'"{border}"' for border in self.touches)
        return f"fill={self.fill:.3f}, touches=({touches}), white-background=?{int(self.white_background)}"


def subject_facts(image: DecodedImage, matte: Matte) -> SubjectFacts:
    """The facts of a picture and its matte at the picture's size."""
    alpha = matte.alpha
    borders = {"top": alpha[0], "right": alpha[:, -1], "bottom": alpha[-1], "left": alpha[:, 0]}
    size = min(image.width, _SAMPLES), min(image.height, _SAMPLES)
    seen = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    ground = cv2.inRange(seen, 0, 0)
    white = cv2.inRange(cv2.resize(image.rgb, size, interpolation=cv2.INTER_NEAREST), (_WHITE,) * 3, (255,) * 3)
    bare = cv2.countNonZero(ground)
    return SubjectFacts(
        fill=float(cv2.mean(seen)[0]) / 255,
        touches=tuple(name for name, line in borders.items() if int(line.max()) >= _OPAQUE),
        white_background=bare > 0 and cv2.countNonZero(cv2.bitwise_and(ground, white)) >= _MOST * bare,
    )
