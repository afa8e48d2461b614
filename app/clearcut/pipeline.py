"""One request, as data: everything that the service does to an image.

    bytes ──probe──► ImageHeader(format, width, height, orientation, has_alpha, frames)
          ──decode──► DecodedImage(rgb u8[H,W,3], alpha u8[H,W] | None)            sRGB, upright
          ──prepare─► ModelInput(f32[3,S,S], geometry)
          ──batcher─► RawMatte(f32[S,S] in 0..1)
          ──refine──► Matte(alpha u8[H,W], foreground u8[H,W,3], box, confidence)
          ──compose─► Cutout(u8[h,w,1|3|4])
          ──encode──► EncodedImage(data, media_type, width, height)

The event loop does no pixel work: a pool of threads runs ``probe``, the steps before the network and the steps after
it; the network has threads of its own behind the batcher. The steps after ``refine`` run once per variant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from clearcut.admission.limits import ActiveRequests, PixelBudget
from clearcut.imaging.compose import compose
from clearcut.imaging.decode import decode
from clearcut.imaging.edit import edit
from clearcut.imaging.encode import encode
from clearcut.imaging.libraries import memory_errors
from clearcut.imaging.matting.refine import refine
from clearcut.imaging.matting.subject_facts import SubjectFacts, subject_facts
from clearcut.imaging.matting.user_mask import user_matte
from clearcut.imaging.options import WHITE, RemoveOptions
from clearcut.imaging.output_size import expected_pixels, known_pixels, output_pixels
from clearcut.imaging.prepare import over_background, prepare
from clearcut.imaging.probe import probe
from clearcut.imaging.reduced_decode import decode_reduction, pin_output_size, scale_box_up
from clearcut.imaging.types import (
    Box,
    Buffer,
    DecodedImage,
    EdgeModel,
    EncodedImage,
    ImageHeader,
    InputSpec,
    ModelInput,
    ProbeLimits,
    RawMatte,
    Refined,
)
from clearcut.inference.batcher import Batcher
from clearcut.inference.moderation import Moderator
from clearcut.observability.timing import RequestTiming

from .errors import DeadlineExceeded, ImageError, ModerationRefused
from .thread_pool import Priority, ThreadPool

T = TypeVar("T")
TimedResult = Callable[[int], Awaitable[None]]
StageGate = Callable[[], Awaitable[None]]
Headers = dict[str, ImageHeader]
"""By field; the image's own is ``image_file``."""


@dataclass(frozen=True, slots=True)
class CutoutRequest:
    """What one request asks for."""

    image: Buffer
    variants: tuple[RemoveOptions, ...]
    """One output each."""
    backdrop: Buffer | None = None
    """A picture to stand behind the subject."""
    mask: Buffer | None = None
    """The caller's own matte; the network is not asked then."""
    moderate: bool = False
    """Refuse what the moderation model refuses, if there is one."""


@dataclass(frozen=True, slots=True)
class CutoutOutput:
    """One output and the facts about it that go into headers."""

    image: EncodedImage
    box: Box | None
    """Bounding box of the subject in the upright input; None when there is none."""
    confidence: float
    ambiguous_ratio: float
    facts: SubjectFacts


@dataclass(frozen=True, slots=True)
class CutoutResult:
    answers: tuple[CutoutOutput, ...]
    """One for each of the job's variants."""
    original_width: int
    original_height: int
    """Of the upright input."""
    model: str | None
    """Name of the model that made the matte; None where the request supplied a mask."""

    @property
    def output_pixels(self) -> int:
        """Of all outputs together."""
        return sum(answer.image.width * answer.image.height for answer in self.answers)


class Pipeline:
    def __init__(
        self,
        batcher: Batcher,
        model: str,
        spec: InputSpec,
        limits: ProbeLimits,
        pixels: PixelBudget,
        pool: ThreadPool,
        *,
        edges: EdgeModel | None = None,
        moderator: Moderator | None = None,
        later: ThreadPool | None = None,
    ) -> None:
        """
        Args:
            model: name of the batcher's model.
            spec: the model's input.
            edges: corrects the network's mattes at the picture's edges; a caller's own are taken to the letter.
            later: for work that nobody waits for; its threads should stand back for the pool's.
        """
        self.batcher = batcher
        self.model = model
        self.spec = spec
        self.limits = limits
        self.pixels = pixels
        self.pool = pool
        self.edges = edges
        self.moderator = moderator
        self.later = later or pool
        self.at_work = ActiveRequests()
        """Without the work that nobody waits for."""

    async def remove(
        self,
        job: CutoutRequest,
        trace: RequestTiming,
        measured: TimedResult | None = None,
        turn: StageGate | None = None,
    ) -> CutoutResult:
        """Remove the background of one picture.

        Args:
            measured: awaited with the larger of the job's input pixels and output pixels before any image is decoded,
                and again before the outputs are made if they are larger; may raise to refuse the job.
            turn: given for work that nobody waits for: awaited before each stage, and all others go first in it.

        Raises:
            InputError: a picture cannot be accepted, or cannot be given the form that was asked for.
            ModerationRefused: the job is to be moderated, and is refused.
            DeadlineExceeded: ``trace.deadline`` passed; names the stage.
            Overloaded, Failed: the network's queue is full, or its thread is gone.
        """
        try:
            async with asyncio.timeout(trace.remaining()):
                with self.at_work.enter() if turn is None else nullcontext():
                    return await self._remove(job, trace, measured, turn)
        except TimeoutError:
            raise DeadlineExceeded(trace.current) from None
        finally:
            trace.abandoned = True  # a pool thread still at work on this request stops at its next stage

    async def _remove(
        self, job: CutoutRequest, trace: RequestTiming, measured: TimedResult | None, turn: StageGate | None
    ) -> CutoutResult:
        later = turn is not None

        async def on_pool(rank: Priority, work: Callable[[], T]) -> T:
            if turn is not None:
                trace.current = "turn"
                await turn()
            return await self._on_pool(self.later if later else self.pool, rank, trace, work)

        with self.batcher.announce() if job.mask is None and not later else nullcontext() as arrival:
            headers = await on_pool(Priority.PROBE, partial(self._probe, job, trace))
            trace.current = "admission"
            pixels = sum(header.pixels for header in headers.values())
            header = headers["image_file"]
            made = expected_pixels(headers, job.variants, self.limits.max_pixels, self._reduction(job, headers))
            planned = counted = max(made, header.pixels)
            if measured is not None:
                counted = max(pixels, known_pixels(header, job.variants, self.limits.max_pixels))
                await measured(counted)
            waited = trace.elapsed()
            async with self.pixels.hold(pixels + planned - header.pixels, later) as held:
                trace.add("admission", trace.elapsed() - waited)
                if job.mask is not None:
                    image = await on_pool(Priority.PREPROCESS, partial(self._decode, job, headers, trace))
                    raw = None
                else:
                    image, model_input = await on_pool(Priority.PREPROCESS, partial(self._before, job, headers, trace))
                    trace.current = "queue"
                    answer = await self.batcher.infer(model_input.tensor, trace.deadline, arrival, later)
                    trace.add("queue", answer.queue_s, ago=answer.run_s)
                    trace.add("inference", answer.run_s, f"batch={answer.batch_size}")
                    raw = RawMatte(answer.values, model_input.geometry)
                most = min(planned, counted)
                done = await on_pool(Priority.POSTPROCESS, partial(self._after, job, headers, image, raw, trace, most))
                if isinstance(done, Refined):
                    if measured is not None:
                        await measured(done.output_pixels)
                    trace.current = "admission"
                    waited = trace.elapsed()
                    if done.output_pixels > planned:
                        await held.grow(done.output_pixels - planned)
                    trace.add("admission", trace.elapsed() - waited)
                    done = await on_pool(Priority.POSTPROCESS, partial(self._outputs, job, headers, done, trace))
                return done

    def _probe(self, job: CutoutRequest, trace: RequestTiming) -> Headers:
        with trace.stage("probe"):
            return {
                field: _about(field, lambda data: probe(data, self.limits), data)
                for field, data in (("image_file", job.image), ("bg_image", job.backdrop), ("mask", job.mask))
                if data is not None
            }

    def _reduction(self, job: CutoutRequest, headers: Headers) -> int:
        """How many times smaller the picture is decoded; a caller's own matte goes with the whole one."""
        return 1 if job.mask is not None else decode_reduction(headers["image_file"], job.variants, self.spec.side)

    def _decode(self, job: CutoutRequest, headers: Headers, trace: RequestTiming) -> DecodedImage:
        with trace.stage("decode"):
            image = decode(job.image, headers["image_file"], self._reduction(job, headers))
        if job.moderate and self.moderator is not None:
            with trace.stage("moderation"):
                label = self.moderator.refusal(prepare(image, self.moderator.input).tensor)
            if label is not None:
                raise ModerationRefused(label)
        return image

    def _before(self, job: CutoutRequest, headers: Headers, trace: RequestTiming) -> tuple[DecodedImage, ModelInput]:
        image = self._decode(job, headers, trace)
        with trace.stage("prepare"):
            return image, prepare(image, self.spec)

    def _after(
        self,
        job: CutoutRequest,
        headers: Headers,
        image: DecodedImage,
        raw: RawMatte | None,
        trace: RequestTiming,
        most: int,
    ) -> Refined | CutoutResult:
        """The outputs; ``Refined`` if they have more than ``most`` pixels (the subject decides a crop's size)."""
        refined = self._refine(job, headers, image, raw, trace)
        if refined.output_pixels > most:
            return refined
        return self._outputs(job, headers, refined, trace)

    def _refine(
        self, job: CutoutRequest, headers: Headers, image: DecodedImage, raw: RawMatte | None, trace: RequestTiming
    ) -> Refined:
        backdrop = mask = None
        if job.backdrop is not None or job.mask is not None:
            with trace.stage("decode"):
                if job.backdrop is not None:
                    picture = _about("bg_image", lambda data: decode(data, headers["bg_image"]), job.backdrop)
                    backdrop = over_background(picture, WHITE)
                if job.mask is not None:
                    mask = _about("mask", lambda data: decode(data, headers["mask"]), job.mask)
        mattes = {}
        with trace.stage("refine"):
            for despill in {options.despill for options in job.variants}:
                if mask is not None:
                    mattes[despill] = user_matte(mask, image, colour=despill)
                elif raw is not None:
                    mattes[despill] = refine(raw, image, self.edges, colour=despill)
            crops = [edit(mattes[each.despill], image, each).box if each.crop else None for each in job.variants]
        reduced = self._reduction(job, headers)
        made = output_pixels(headers, job.variants, crops, self.limits.max_pixels, reduced)
        return Refined(image, mattes, backdrop, made)

    def _outputs(self, job: CutoutRequest, headers: Headers, refined: Refined, trace: RequestTiming) -> CutoutResult:
        header, reduced = headers["image_file"], self._reduction(job, headers)
        answers = []
        for wanted in job.variants:
            options = pin_output_size(wanted, header) if reduced > 1 else wanted
            with trace.stage("compose"):
                matte = edit(refined.mattes[options.despill], refined.image, options)
                cutout = compose(refined.image, matte, options, refined.backdrop)
            with trace.stage("encode"):
                encoded = encode(cutout, options.format, options.quality)
            box, facts = scale_box_up(matte.box, reduced, header), subject_facts(refined.image, matte)
            answers.append(CutoutOutput(encoded, box, matte.confidence, matte.ambiguous_ratio, facts))
        return CutoutResult(tuple(answers), *header.upright_size, None if job.mask is not None else self.model)

    async def _on_pool(self, pool: ThreadPool, rank: Priority, trace: RequestTiming, work: Callable[[], T]) -> T:
        """Run ``work`` on a pool; a request that is cancelled while it waits for a thread gives its place up."""
        trace.current = "pool"
        submitted = trace.elapsed()

        def begin() -> T:
            trace.add("pool", trace.elapsed() - submitted)
            with memory_errors():
                return work()

        return await asyncio.wrap_future(pool.put(rank, begin))


def _about(field: str, step: Callable[[Buffer], T], data: Buffer) -> T:
    """Do a step on another file than the picture: its errors name that file's field."""
    try:
        return step(data)
    except ImageError as exc:
        raise exc.about(field) from None
