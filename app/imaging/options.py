"""What a caller may ask of one cut-out, in the engine's own terms.

Every dialect in ``web/`` maps its fields to this object; nothing below ``web/`` knows a field's wire name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.imaging.types import Channels, Color, OutputFormat

Fit = Literal["contain", "cover", "scale-down"]

WHITE: Color = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True)
class Length:
    """A margin: pixels, or a share of the subject's own size along the same axis."""

    value: float
    relative: bool = False

    def pixels(self, extent: int) -> int:
        return round(self.value * extent) if self.relative else round(self.value)


@dataclass(frozen=True, slots=True)
class Padding:
    """Room around the cropped subject; may reach past the frame, where there is only background."""

    top: Length
    right: Length
    bottom: Length
    left: Length


@dataclass(frozen=True, slots=True)
class RemoveOptions:
    format: OutputFormat = "png"
    channels: Channels = "rgba"
    background: Color | None = None
    """Laid under the subject. None: transparent where format and channels can carry it, else white."""
    max_side: int | None = None
    """Longest side of the output; never upscales."""
    max_pixels: int | None = None
    """Area of the output; never upscales."""
    crop: bool = False
    """To the box of alpha >= 10, before resizing."""
    crop_ratio: tuple[int, int] | None = None
    """Grow the crop to this width:height around its centre."""
    padding: Padding | None = None
    """Only with ``crop``."""
    width: int | None = None
    height: int | None = None
    """Exact canvas; overrides max_side and max_pixels. One alone: the other follows the aspect ratio."""
    fit: Fit = "contain"
    """contain: enlarge or shrink into the canvas and pad; cover: fill it, cropping around the subject;
    scale-down: contain, but never enlarge."""

    @property
    def opaque(self) -> bool:
        """Whether the output carries no alpha channel of its own."""
        return self.channels == "rgb" or (self.channels == "rgba" and self.format == "jpg")
