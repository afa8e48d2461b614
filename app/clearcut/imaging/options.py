"""Options of one cutout, in the engine's terms.

Every dialect in ``web/`` maps its fields to ``RemoveOptions``; nothing below ``web/`` knows the name of a field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from .formats.registry import WRITERS
from .types import Channels, Color, MatteOptions

Fit = Literal["contain", "cover", "scale-down"]
InputAlpha = Literal["auto", "keep", "ignore"]
BackgroundEffect = Literal["none", "blur", "overlay", "image"]

WHITE: Color = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True)
class Length:
    """A length in pixels, or a share of an extent: of the subject for padding, of the frame for a region."""

    value: float
    relative: bool = False

    def pixels(self, extent: int) -> int:
        """Return the length in pixels, relative to ``extent`` pixels."""
        return round(self.value * extent) if self.relative else round(self.value)


@dataclass(frozen=True, slots=True)
class Padding:
    """Space around the cropped subject. Past the frame it is filled with the background."""

    top: Length
    right: Length
    bottom: Length
    left: Length


@dataclass(frozen=True, slots=True)
class Roi:
    """Region of interest in the upright image, as distances from the left and top edges."""

    left: Length
    top: Length
    right: Length
    bottom: Length


@dataclass(frozen=True, slots=True)
class RemoveOptions:
    """Options of one output."""

    format: str = "png"
    """One of the registry's output formats, or ``auto``: png if anything is transparent, else jpg."""
    channels: Channels = "rgba"
    background: Color | None = None
    """Color under the subject. None: transparent if format and channels can hold it, else white."""
    max_side: int | None = None
    """Longest side of the output in pixels; never enlarges."""
    max_pixels: int | None = None
    """Area of the output in pixels; never enlarges."""
    crop: bool = False
    """Crop to the box of alpha >= 10, before resizing."""
    crop_ratio: tuple[int, int] | None = None
    """(width, height): enlarge the crop to this aspect ratio around its center."""
    padding: Padding | None = None
    """Space around the subject; used only with ``crop``."""
    width: int | None = None
    height: int | None = None
    """Exact canvas size; overrides max_side and max_pixels. If only one is set, the other keeps the aspect ratio."""
    fit: Fit = "contain"
    """contain: enlarge or reduce to fit the canvas, and pad; cover: fill the canvas and crop around the subject;
    scale-down: contain, but never enlarge."""

    scale: float | None = None
    """0.1..1: scale the subject to this share of the canvas. The size of the canvas does not change."""
    position: tuple[float, float] | None = None
    """Position of the subject on the canvas, 0..1 across and down; 0.5 is the middle. None keeps the original position;
    with ``scale`` it means the middle."""
    roi: Roi | None = None
    """Region that can contain the subject; everything outside is background."""
    threshold: float = 0.0
    """0..1. Above 0 the matte is binary: pixels with at least this alpha become opaque, all others transparent."""
    reverse: bool = False
    """Keep the background and remove the subject."""
    backdrop: BackgroundEffect = "none"
    """Image on the whole canvas behind the subject: the blurred original background (blur), the original with the
    subject tinted (overlay), or the caller's image (image). Makes the output opaque."""
    shadow: float = 0.0
    """Opacity of a soft contact shadow, 0..1; 0 draws none."""
    despill: bool = True
    """Remove the color of the old background from soft edges."""
    input_alpha: InputAlpha = "auto"
    """Use of the input's transparency. auto: it is the matte if the input is a cut-out already, else it limits the
    model's matte; keep: it is the matte; ignore: the input counts as opaque. Equal for all outputs of a request."""
    plain_background: bool = True
    """Use the color of the background for the matte if it is plain, such as a white wall."""
    quality: int | None = None
    """1..100 for lossy formats; None uses the default of the format."""

    @property
    def matte(self) -> MatteOptions:
        """The options that change how the matte is made."""
        return MatteOptions(self.despill, self.plain_background)

    @property
    def shows_original_edges(self) -> bool:
        """Whether the output or its properties need the colors of the image in soft edges."""
        return self.backdrop != "none" or self.roi is not None or self.threshold > 0 or self.reverse

    @property
    def opaque(self) -> bool:
        """Whether the output has no alpha channel of its own."""
        writer = WRITERS.get(self.format)
        return self.channels == "rgb" or (self.channels == "rgba" and writer is not None and not writer.has_alpha)

    def effective(self) -> RemoveOptions:
        """Return the options with the default in place of each value that cannot change the output of any image."""
        changes: dict[str, Any] = {}
        if self.channels == "alpha":
            changes |= {"background": None, "backdrop": "none", "shadow": 0.0, "despill": True}
        backdrop = changes.get("backdrop", self.backdrop)
        if backdrop != "none":
            changes["background"] = None
        elif self.opaque and self.background is not None and self.background[3] == 0:
            changes["background"] = None  # it shows the white behind it
        if backdrop == "overlay":
            changes |= {"shadow": 0.0, "scale": None, "position": None, "despill": True}
        if self.threshold or self.reverse:
            changes["despill"] = True
        if not self.crop:
            changes |= {"padding": None, "crop_ratio": None}
        if self.width is not None or self.height is not None:
            changes |= {"max_side": None, "max_pixels": None}
        if not (self.width and self.height) and (self.fit == "cover" or not (self.width or self.height)):
            changes["fit"] = "contain"
        writer = WRITERS.get(self.format)
        if writer is not None and not writer.default_quality:
            changes["quality"] = None
        if writer is not None and not writer.has_alpha and self.channels == "rgb":
            changes["channels"] = "rgba"  # such a format has no alpha channel
        return replace(self, **changes)
