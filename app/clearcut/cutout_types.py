"""One cut-out: the request, its outputs and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clearcut.imaging.matting.subject_facts import SubjectFacts
from clearcut.imaging.options import RemoveOptions
from clearcut.imaging.types import U8, Box, Buffer, ComposedImage, DecodedImage, EncodedImage


@dataclass(frozen=True, slots=True)
class CutoutRequest:
    """The image of one request and what to make of it."""

    image: Buffer | DecodedImage
    """A file, or pixels of a caller in the same process."""
    variants: tuple[RemoveOptions, ...]
    """The options of each output."""
    background: Buffer | None = None
    """An image for the backdrop ``image``."""
    mask: Buffer | None = None
    """A matte from the caller; it replaces the model's."""
    model: str | None = None
    """Name of a served model; None uses the default."""
    moderate: bool = False
    """Whether the moderation model, if there is one, checks the image."""
    encode: bool = True
    """Whether outputs are files. Otherwise each output has ``pixels``, and its ``image`` has no data."""
    keep_alpha: bool = False
    """Whether each output has ``alpha``."""


@dataclass(frozen=True, slots=True)
class CutoutOutput:
    """One output and its properties."""

    image: EncodedImage
    box: Box | None
    """Bounding box of the subject in the upright input; None without a subject."""
    confidence: float
    ambiguous_ratio: float
    subject_facts: SubjectFacts
    pixels: ComposedImage | None = None
    """The output before encoding; only for requests without ``encode``."""
    alpha: U8 | None = None
    """The matte at the size at which the image was decoded, u8[H,W]; only for requests with ``keep_alpha``."""


@dataclass(frozen=True, slots=True)
class CutoutResult:
    outputs: tuple[CutoutOutput, ...]
    """One output for each variant of the request, in the same order."""
    original_width: int
    """Width of the upright input in pixels."""
    original_height: int
    """Height of the upright input in pixels."""
    model: str | None
    """Name of the model that made the matte; None if the matte is a mask of the caller or the input's alpha."""
    moderation: Literal["passed", "not run"] | None = None
    """Result of moderation: ``not run`` without a classifier; None if the request has no ``moderate``."""
    opaque_input: bool = True
    """Whether no pixel of the input is transparent."""
