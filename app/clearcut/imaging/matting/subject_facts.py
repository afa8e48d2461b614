"""Properties of a product photo: coverage by the subject, borders that it touches, and a white background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clearcut.imaging.types import DecodedImage, Matte

_OPAQUE = 128
"""Lowest alpha at which the subject touches a border."""
_WHITE = 250
"""Lowest level of every channel of a white pixel."""
_WHITE_SHARE = 0.99
"""Share of background pixels that must be white."""
_SAMPLES = 256
"""Maximum rows and columns that are sampled."""


@dataclass(frozen=True, slots=True)
class SubjectFacts:
    """Properties of a subject and its background."""

    fill: float
    """Share of the frame that the subject covers, 0..1; translucent pixels count in part."""
    touches: tuple[str, ...]
    """Borders of the frame that the subject touches: top, right, bottom, left."""
    white_background: bool
    """Whether the background is already white, as marketplaces require."""

    plain_background: bool = False
    """Whether the input has a plain or a transparent background; False with ``plain_background=off``."""

    def header(self) -> str:
        """Return the properties as a structured header value (RFC 9651, dictionary)."""
        touches = " ".join(f'"{border}"' for border in self.touches)
        flags = f"white-background=?{int(self.white_background)}, plain-background=?{int(self.plain_background)}"
        return f"fill={self.fill:.3f}, touches=({touches}), {flags}"


def subject_facts(image: DecodedImage, matte: Matte) -> SubjectFacts:
    """Compute the properties from an image and its matte."""
    alpha = matte.alpha
    borders = {"top": alpha[0], "right": alpha[:, -1], "bottom": alpha[-1], "left": alpha[:, 0]}
    size = min(image.width, _SAMPLES), min(image.height, _SAMPLES)
    sampled = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    background = cv2.inRange(sampled, 0, 0)
    white = cv2.inRange(cv2.resize(image.rgb, size, interpolation=cv2.INTER_NEAREST), (_WHITE,) * 3, (255,) * 3)
    area = cv2.countNonZero(background)
    return SubjectFacts(
        fill=float(cv2.mean(sampled)[0]) / 255,
        touches=tuple(name for name, line in borders.items() if int(line.max()) >= _OPAQUE),
        white_background=area > 0 and cv2.countNonZero(cv2.bitwise_and(background, white)) >= _WHITE_SHARE * area,
        plain_background=matte.plain_background,
    )
