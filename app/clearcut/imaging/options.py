"""What a caller may ask of one cut-out, in the engine's own terms.

Every dialect in ``web/`` maps its fields to this object; nothing below ``web/`` knows a field's wire name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .formats.registry import WRITERS
from .types import Channels, Color

Fit = Literal["contain", "cover", "scale-down"]
BackgroundEffect = Literal["none", "blur", "overlay", "image"]

WHITE: Color = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True)
class Length:
    """Pixels, or a share of what it is measured against: the subject's extent for a margin, the frame's for a roi."""

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
class Roi:
    """The part of the upright picture that may hold the subject, as distances from its left and top edges."""

    left: Length
    top: Length
    right: Length
    bottom: Length


@dataclass(frozen=True, slots=True)
class RemoveOptions:
    format: str = "png"
    """One of the registry's output formats, or ``auto``: png if anything is transparent, else jpg."""
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

    scale: float | None = None
    """0.1..1: the subject is scaled to fit this share of the canvas, which keeps the size it would have had."""
    position: tuple[float, float] | None = None
    """0..1 across and down: where the subject stands on the canvas; 0.5 is its middle. None: where it was, or, with
    ``scale``, the middle."""
    roi: Roi | None = None
    """Only within this region can there be a subject."""
    threshold: float = 0.0
    """0..1: above 0 a hard cut; what is at least this opaque becomes opaque, the rest transparent."""
    reverse: bool = False
    """Keep the background and remove the subject."""
    backdrop: BackgroundEffect = "none"
    """A picture behind the subject, on the whole canvas: the old background out of focus, the picture itself with the
    subject tinted, or the caller's own picture. Makes the output opaque."""
    shadow: float = 0.0
    """0..1: opacity of a soft contact shadow; 0 is none."""
    despill: bool = True
    """Take the old background's colour out of the soft edge."""
    quality: int | None = None
    """1..100 for jpg and webp."""

    @property
    def opaque(self) -> bool:
        """Whether the output carries no alpha channel of its own."""
        writer = WRITERS.get(self.format)
        return self.channels == "rgb" or (self.channels == "rgba" and writer is not None and not writer.has_alpha)
