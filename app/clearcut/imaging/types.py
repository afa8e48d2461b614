"""Data types of one request, in processing order.

    bytes ──probe──► ImageHeader ──decode──► DecodedImage ──prepare──► ModelInput
          ──batcher──► RawMatte ──refine──► Matte ──compose──► ComposedImage ──encode──► EncodedImage

All types are frozen: each step returns a new object and does not change its input. Arrays are C-contiguous, rows first,
with color in RGB order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Stored color values of 8 or 16 bits."""
Buffer = bytes | bytearray | memoryview

Channels = Literal["rgba", "rgb", "alpha"]
Color = tuple[int, int, int, int]
"""Straight (not premultiplied) sRGB and alpha, each 0..255."""


class EdgeModel(Protocol):
    """A small network that predicts where an edge lies better than a linear fit does."""

    def __call__(self, guide: U8, values: F32, fitted: F32) -> F32:
        """Return the correction to add to ``fitted``, f32[h,w]. Several threads may call it at once.

        Args:
            guide: the image on the grid of cells, u8[h,w,3].
            values: the network's matte on the same grid, f32[h,w] in 0..1.
            fitted: the result of guided filtering, f32[h,w]; can be below 0 and above 1.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """Limits on the cost of an input, checked on its header before any pixel is decoded."""

    max_pixels: int = 50_000_000
    max_side: int = 16_384
    max_scans: int = 64
    max_segments: int = 1_000


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Result of ``probe``. Width and height are as stored, before the orientation is applied."""

    format: str
    """Name of the input format; see ``formats/registry.py``."""
    width: int
    height: int
    orientation: int = 1
    """EXIF orientation 1..8; see TIFF 6.0."""
    has_alpha: bool = False
    frames: int = 1
    """Number of frames of an animation according to the header; 2 can mean "more than one". Only the first is used."""
    needs_repair: bool = False
    """The file lacks its end marker, a valid header checksum or the right container length; the reader repairs a copy
    before it decodes."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) after the orientation is applied."""
        if self.orientation >= 5:
            return self.height, self.width
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An upright sRGB image."""

    rgb: U8
    """u8[H,W,3], straight color as stored, including pixels where ``alpha`` is 0."""
    alpha: U8 | None = None
    """Transparency of the input, u8[H,W]; None if the input is opaque."""

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Input size and normalization of a model, from its manifest entry."""

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1.0 / 255.0
    """Factor from 0..255 to the value range of ``mean`` and ``std``."""


@dataclass(frozen=True, slots=True)
class ModelInput:
    """The whole image or a part of it, resized to the model's square and normalized."""

    tensor: F32
    """f32[3,S,S]."""


@dataclass(frozen=True, slots=True)
class RawMatte:
    """Output of the network for the whole image or a part of it."""

    values: F32
    """f32[h,w] in 0..1. One run gives f32[S,S]; the session refuses values that are not finite."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; ``left`` and ``top`` are negative where padding extends past the frame."""

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
    """The matte at the size of the image, with the foreground color."""

    alpha: U8
    """u8[H,W]; exactly 0 on background and exactly 255 on the subject where the network is certain."""
    foreground: U8
    """u8[H,W,3]; equal to the image where alpha is 255."""
    box: Box | None
    """Bounding box of alpha >= 10, or None without a subject."""
    confidence: float
    """Estimated IoU with the correct matte, 0..1; 0 without a subject. A mask of the caller: its certainty. The input's
    alpha as the matte: 1."""
    ambiguous_ratio: float
    """Share of pixels with alpha between 0.1 and 0.9."""
    plain_background: bool = False
    """Whether the image has a plain or a transparent background, which then helped to make the matte."""


class MatteOptions(NamedTuple):
    """Options that change how the matte is made. Outputs with equal ones share a matte."""

    despill: bool
    """Remove the background's color from soft edges."""
    plain_background: bool
    """Use the color of a plain background."""


@dataclass(frozen=True, slots=True)
class Refined:
    """An image with its mattes, before the outputs are composed."""

    image: DecodedImage
    mattes: dict[MatteOptions, Matte]
    backdrop: U8 | None
    """Background image of the request, u8[H,W,3] of any size."""
    output_pixels: int
    """Sum of the pixels of all outputs."""


@dataclass(frozen=True, slots=True)
class ComposedImage:
    """The requested output as pixels: u8[h,w,4] straight RGBA, u8[h,w,3] RGB or u8[h,w,1] alpha."""

    pixels: U8

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True)
class MaskedImage:
    """An RGBA output before color and alpha are joined; the color where alpha is 0 is not part of it."""

    rgb: U8
    """u8[h,w,3]."""
    alpha: U8
    """u8[h,w]."""

    @property
    def height(self) -> int:
        return int(self.alpha.shape[0])

    @property
    def width(self) -> int:
        return int(self.alpha.shape[1])


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An output file."""

    data: Buffer
    format: str
    """File name extension of the format."""
    media_type: str
    width: int
    height: int
