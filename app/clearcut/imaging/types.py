"""The nouns of one request, in the order in which they come to be.

    bytes ──probe──► ImageHeader ──decode──► DecodedImage ──prepare──► ModelInput
          ──batcher──► RawMatte ──refine──► Matte ──compose──► Cutout ──encode──► EncodedImage

All are frozen: a step makes the next noun and never changes the one it was given. Arrays are C-contiguous,
rows first, colour in RGB order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Buffer = bytes | bytearray | memoryview

Channels = Literal["rgba", "rgb", "alpha"]
Color = tuple[int, int, int, int]
"""Straight sRGB and alpha, each 0..255."""


class EdgeModel(Protocol):
    """A small network that knows where an edge is more likely to lie than a linear fit does."""

    def __call__(self, guide: U8, values: F32, fitted: F32) -> F32:
        """What to add to ``fitted``, f32[h,w]. May be called from several threads at once.

        ``guide`` u8[h,w,3] is the picture, ``values`` f32[h,w] in 0..1 the network's matte and ``fitted`` f32[h,w]
        what guided filtering makes of it, beyond 0 and 1 too, all on one grid.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """What an input may cost, checked on its header before any pixel is decoded."""

    max_pixels: int = 50_000_000
    max_side: int = 16_384
    max_scans: int = 64
    max_segments: int = 1_000


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the first bytes say, before any pixel is decoded. Width and height are as stored."""

    format: str
    """Name of the input format; see ``formats/registry.py``."""
    width: int
    height: int
    orientation: int = 1
    """EXIF orientation 1..8; see TIFF 6.0."""
    has_alpha: bool = False
    frames: int = 1
    """Frames of an animation as far as the header tells (2 may mean "more than one"); only the first is used."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) once the orientation is applied."""
        if self.orientation >= 5:
            return self.height, self.width
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An upright sRGB picture. ``alpha`` is the input's own transparency, None when it is opaque."""

    rgb: U8
    """u8[H,W,3]; straight colour, as stored, also where ``alpha`` is 0."""
    alpha: U8 | None = None
    """u8[H,W]"""

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the model's square maps to the picture: the whole picture, squashed to ``side`` x ``side``."""

    width: int
    height: int
    side: int


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model wants to be fed (from its manifest entry)."""

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1.0 / 255.0
    """Factor from 0..255 to the value range that ``mean`` and ``std`` are given in."""


@dataclass(frozen=True, slots=True)
class ModelInput:
    tensor: F32
    """f32[3,S,S], normalised."""
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class RawMatte:
    """The network's answer, in its own square."""

    values: F32
    """f32[S,S] in 0..1"""
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; ``left`` and ``top`` may be negative where padding leaves the frame."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class Matte:
    """The matte at the picture's own size, with the colour to show under it."""

    alpha: U8
    """u8[H,W]; 0 exactly on background and 255 exactly on the subject, wherever the network is decided around."""
    foreground: U8
    """u8[H,W,3]; equal to the picture wherever alpha is 255."""
    box: Box | None
    """Bounding box of alpha >= 10, or None when there is no subject."""
    confidence: float
    """0..1: how decided the matte is; 0 when there is no subject."""
    ambiguous_ratio: float
    """Share of pixels with alpha between 0.1 and 0.9."""


@dataclass(frozen=True, slots=True)
class Refined:
    """An image with its subject found, before the outputs are made."""

    image: DecodedImage
    mattes: dict[bool, Matte]
    """By ``RemoveOptions.despill``."""
    backdrop: U8 | None
    """u8[H,W,3] of any size: the image behind the subject."""
    output_pixels: int
    """Pixels of all outputs together."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """What the caller asked for, as pixels: u8[h,w,4] straight RGBA, u8[h,w,3] RGB or u8[h,w,1] alpha."""

    pixels: U8

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An output file."""

    data: Buffer
    format: str
    """File name extension of the format."""
    media_type: str
    width: int
    height: int
