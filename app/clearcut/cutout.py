"""The steps of one cut-out that run on pool threads.

``pipeline`` calls the steps in order. Each step records its time under its own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from clearcut.errors import ImageError, ModerationRefused
from clearcut.imaging.compose import compose, compose_for_file
from clearcut.imaging.decode import decode
from clearcut.imaging.edit import edit
from clearcut.imaging.encode import encode
from clearcut.imaging.formats.dimensions import check_dimensions
from clearcut.imaging.formats.registry import MEDIA_TYPES
from clearcut.imaging.matting.input_alpha import is_cutout, matte_of_alpha
from clearcut.imaging.matting.refine import refine
from clearcut.imaging.matting.second_pass import crop, join_mattes, second_pass_region
from clearcut.imaging.matting.subject_facts import subject_facts
from clearcut.imaging.matting.user_mask import user_matte
from clearcut.imaging.options import WHITE, RemoveOptions
from clearcut.imaging.output_size import expected_pixels, known_pixels, output_pixels
from clearcut.imaging.prepare import over_background, prepare
from clearcut.imaging.probe import probe
from clearcut.imaging.reduced_decode import decode_reduction, pin_output_size, scale_box_up
from clearcut.imaging.types import (
    U8,
    Box,
    Buffer,
    ComposedImage,
    DecodedImage,
    EdgeModel,
    EncodedImage,
    ImageHeader,
    InputSpec,
    MaskedImage,
    Matte,
    ModelInput,
    ProbeLimits,
    RawMatte,
    Refined,
)
from clearcut.inference.moderation import Moderator
from clearcut.observability.timing import RequestTiming

from .cutout_types import CutoutOutput, CutoutRequest, CutoutResult

ImageHeaders = dict[str, ImageHeader]
"""Headers by role: ``image``, ``background`` or ``mask``."""


@dataclass(frozen=True, slots=True)
class CutoutConfig:
    """Values that the steps need besides the request. They are the same for all requests for one model."""

    model: str
    """Name of the model."""
    spec: InputSpec
    """Size and normalization of the model's input."""
    limits: ProbeLimits
    edge_model: EdgeModel | None = None
    """Corrects the model's mattes at edges; not used for masks of the caller."""
    moderator: Moderator | None = None
    second_pass: float = 0.0
    """Maximum area of the region of a second pass, as a share of the image; 0 disables the second pass."""


@dataclass(frozen=True, slots=True)
class SecondPass:
    """The region and the input of a second run of the model."""

    region: Box
    """In pixels of the image."""
    model_input: ModelInput


class CutoutSteps:
    """The steps of one request.

    All methods block and run on pool threads, except those that return numbers of pixels.
    """

    def __init__(self, request: CutoutRequest, timing: RequestTiming, config: CutoutConfig) -> None:
        self.request = request
        self.timing = timing
        self.config = config
        self.headers: ImageHeaders = {}
        self.input_is_cutout = False
        """Whether the input's alpha is the matte; known after ``decode``."""
        self.input_is_opaque = True
        """Whether no pixel of the input is transparent; known after ``decode``."""

    # Sizes in pixels, known after ``probe``

    @property
    def input_pixels(self) -> int:
        """Pixels of all inputs together."""
        return sum(header.pixels for header in self.headers.values())

    @property
    def known_pixels(self) -> int:
        """Pixels of all inputs, or of the outputs with a size that does not depend on the subject, if that is more."""
        known = known_pixels(self.headers["image"], self.request.variants, self.config.limits.max_pixels)
        return max(self.input_pixels, known)

    def planned_pixels(self) -> int:
        """Return the pixels of all outputs or of the image, whichever is more.

        Raises:
            InvalidOption: the outputs exceed their limit for any subject.
        """
        limit = self.config.limits.max_pixels
        expected = expected_pixels(self.headers, self.request.variants, limit, self._reduction)
        return max(expected, self.headers["image"].pixels)

    # Steps

    def probe(self) -> None:
        """Read the headers of all inputs."""
        with self.timing.stage("probe"):
            inputs = (
                ("image", self.request.image),
                ("background", self.request.background),
                ("mask", self.request.mask),
            )
            for role, data in inputs:
                if data is not None:
                    with _image_errors_of(role):
                        self.headers[role] = _header(data, self.config.limits)

    def decode(self) -> DecodedImage:
        """Decode the image and apply moderation.

        Raises:
            ModerationRefused
        """
        with self.timing.stage("decode"):
            source = self.request.image
            if isinstance(source, DecodedImage):
                image = source
            else:
                image = decode(source, self.headers["image"], self._reduction)
            image = self._apply_input_alpha(image)
        moderator = self.config.moderator
        if self.request.moderate and moderator is not None:
            with self.timing.stage("moderation"):
                label = moderator.refusal(prepare(image, moderator.input).tensor)
            if label is not None:
                raise ModerationRefused(label)
        return image

    def prepare(self, image: DecodedImage) -> ModelInput:
        with self.timing.stage("prepare"):
            return prepare(image, self.config.spec)

    def prepare_second_pass(self, image: DecodedImage, raw: RawMatte) -> SecondPass | None:
        """Return the region and the input of the second run, or None if none is needed."""
        if not self.config.second_pass:
            return None
        by_color = any(options.matte.plain_background for options in self.request.variants)
        region = second_pass_region(raw, image, self.config.second_pass, by_color=by_color)
        if region is None:
            return None
        with self.timing.stage("prepare"):
            return SecondPass(region, prepare(crop(image, region), self.config.spec))

    def join_mattes(self, image: DecodedImage, first: RawMatte, second: RawMatte, region: Box) -> RawMatte:
        """Combine the matte of the whole image with the one of the region."""
        with self.timing.stage("refine"):
            return join_mattes(first, second, region, image)

    def refine(self, image: DecodedImage, raw: RawMatte | None) -> Refined:
        """Make the mattes and the exact size of the outputs.

        Args:
            raw: the model's output; None without ``needs_model``.
        """
        background, mask = self._decode_background(), self._decode_mask()
        variants = self.request.variants
        mattes = {}
        with self.timing.stage("refine"):
            choices = {options.matte for options in variants}
            own_pixels = not isinstance(self.request.image, DecodedImage)
            in_place = own_pixels and len(choices) == 1 and not any(each.shows_original_edges for each in variants)
            for options in choices:
                if mask is not None:
                    mattes[options] = user_matte(mask, image, despill=options.despill)
                elif self.input_is_cutout and image.alpha is not None:
                    mattes[options] = matte_of_alpha(image, image.alpha)
                elif raw is not None:
                    mattes[options] = refine(raw, image, self.config.edge_model, options, in_place=in_place)
            crops = [edit(mattes[each.matte], image, each).box if each.crop else None for each in variants]
        pixels = output_pixels(self.headers, variants, crops, self.config.limits.max_pixels, self._reduction)
        return Refined(image, mattes, background, pixels)

    def compose(self, refined: Refined, options: RemoveOptions) -> tuple[ComposedImage | MaskedImage, Matte]:
        """Make the pixels of one output and the matte edited by its options."""
        if self._reduction > 1:
            options = pin_output_size(options, self.headers["image"])
        with self.timing.stage("compose"):
            matte = edit(refined.mattes[options.matte], refined.image, options)
            make = compose_for_file if self.request.encode else compose
            return make(refined.image, matte, options, refined.backdrop), matte

    def encode(
        self, cutout: ComposedImage | MaskedImage, matte: Matte, refined: Refined, options: RemoveOptions
    ) -> CutoutOutput:
        request = self.request
        if request.encode:
            with self.timing.stage("encode"):
                encoded = encode(cutout, options.format, options.quality)
        else:
            media_type = MEDIA_TYPES.get(options.format, "")
            encoded = EncodedImage(b"", options.format, media_type, cutout.width, cutout.height)
        return CutoutOutput(
            encoded,
            scale_box_up(matte.box, self._reduction, self.headers["image"]),
            matte.confidence,
            matte.ambiguous_ratio,
            subject_facts(refined.image, matte),
            cutout if isinstance(cutout, ComposedImage) and not request.encode else None,
            matte.alpha if request.keep_alpha else None,
        )

    def result(self, outputs: Sequence[CutoutOutput]) -> CutoutResult:
        model = self.config.model if self.needs_model else None
        moderation: Literal["passed", "not run"] | None = None
        if self.request.moderate:
            moderation = "not run" if self.config.moderator is None else "passed"
        return CutoutResult(
            tuple(outputs), *self.headers["image"].upright_size, model, moderation, self.input_is_opaque
        )

    @property
    def _reduction(self) -> int:
        """The factor by which decoding reduces the image; 1 if the request has a mask."""
        if self.request.mask is not None or isinstance(self.request.image, DecodedImage):
            return 1
        return decode_reduction(self.headers["image"], self.request.variants, self.config.spec.side)

    @property
    def needs_model(self) -> bool:
        """Whether the model makes the matte; known after ``decode``."""
        return self.request.mask is None and not self.input_is_cutout

    def _apply_input_alpha(self, image: DecodedImage) -> DecodedImage:
        """Apply the option ``input_alpha``, which is equal in all variants. A mask replaces the input's alpha."""
        option = self.request.variants[0].input_alpha
        if image.alpha is None:
            return image
        self.input_is_opaque = False
        if option == "ignore":
            return DecodedImage(image.rgb)
        if self.request.mask is None:
            self.input_is_cutout = option == "keep" or is_cutout(image.alpha)
        return image

    def _decode_background(self) -> U8 | None:
        """Return u8[H,W,3]; None without a background image."""
        if self.request.background is None:
            return None
        with self.timing.stage("decode"), _image_errors_of("background"):
            return over_background(decode(self.request.background, self.headers["background"]), WHITE)

    def _decode_mask(self) -> DecodedImage | None:
        if self.request.mask is None:
            return None
        with self.timing.stage("decode"), _image_errors_of("mask"):
            return decode(self.request.mask, self.headers["mask"])


def _header(data: Buffer | DecodedImage, limits: ProbeLimits) -> ImageHeader:
    """Return the header of a file or of pixels.

    Raises:
        ImageError: as for ``probe``.
    """
    if not isinstance(data, DecodedImage):
        return probe(data, limits)
    check_dimensions(data.width, data.height, limits)
    return ImageHeader("pixels", data.width, data.height, has_alpha=data.alpha is not None)


@contextmanager
def _image_errors_of(role: str) -> Iterator[None]:
    """Set the role of image errors."""
    try:
        yield
    except ImageError as exc:
        exc.role = role
        raise
