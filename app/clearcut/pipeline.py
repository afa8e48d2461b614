"""The pipeline of one request, from bytes to encoded outputs.

    bytes ──probe──► ImageHeader(format, width, height, orientation, has_alpha, frames)
          ──decode──► DecodedImage(rgb u8[H,W,3], alpha u8[H,W] | None)            sRGB, upright
          ──prepare─► ModelInput(f32[3,S,S])
          ──batcher─► RawMatte(f32[S,S] in 0..1)      a second run for the region of a small subject
          ──refine──► Matte(alpha u8[H,W], foreground u8[H,W,3], box, confidence)
          ──compose─► ComposedImage(u8[h,w,1|3|4])
          ──encode──► EncodedImage(data, format, media_type, width, height)

The event loop does no pixel work. The steps (``clearcut.cutout``) run on a pool of threads; the model runs on the
batcher's threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from clearcut.admission.active_requests import ActiveRequests
from clearcut.admission.pixel_budget import PixelBudget, PixelHold
from clearcut.imaging.codec_setup import memory_errors
from clearcut.imaging.output_size import encoder_pixels
from clearcut.imaging.types import DecodedImage, ModelInput, RawMatte, Refined
from clearcut.inference.batching_policy import PendingArrival
from clearcut.observability.timing import RequestTiming

from .cutout import CutoutConfig, CutoutSteps
from .cutout_types import CutoutRequest, CutoutResult
from .errors import DeadlineExceeded
from .pipeline_models import PipelineModel, PipelineModels
from .thread_pool import Priority, ThreadPool

T = TypeVar("T")
PixelCounter = Callable[[int], Awaitable[None]]
StageGate = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Admission:
    """The pixels that a request holds of the budget."""

    hold: PixelHold
    planned_pixels: int
    """Output pixels that the budget holds."""
    output_limit: int
    """Outputs with more pixels need another admission."""


class Pipeline:
    """
    Args:
        pixels: memory budget of all requests in pixels.
        low_priority_pool: for low-priority requests; the pool of all others by default.
    """

    def __init__(
        self,
        models: PipelineModels,
        pixels: PixelBudget,
        pool: ThreadPool,
        low_priority_pool: ThreadPool | None = None,
    ) -> None:
        self.models = models
        self.pixels = pixels
        self.pool = pool
        self.low_priority_pool = low_priority_pool or pool
        self.active_requests = ActiveRequests()
        """Requests for the default model in progress, without low-priority ones."""

    @property
    def config(self) -> CutoutConfig:
        """The configuration of the default model."""
        return self.models.default.config

    async def remove(
        self,
        request: CutoutRequest,
        timing: RequestTiming,
        count_pixels: PixelCounter | None = None,
        stage_gate: StageGate | None = None,
    ) -> CutoutResult:
        """Remove the background of one image.

        Args:
            count_pixels: awaited with the request's pixels before decoding, and again before the outputs are made if
                their size depends on the subject. It may raise to refuse the request.
            stage_gate: awaited before each step. The request then has low priority in all queues.

        Raises:
            InputError: an input or an option is invalid.
            ModerationRefused: the moderation model refuses the image.
            DeadlineExceeded: ``timing.deadline`` passed; names the stage.
            Overloaded, Failed: the model's queue is full, or its thread has stopped.
        """
        model = self.models.find(request.model)
        counted = stage_gate is None and model.queue is None
        try:
            async with asyncio.timeout(timing.remaining()):
                with self.active_requests.enter() if counted else nullcontext():
                    return await self._remove(request, model, timing, count_pixels, stage_gate)
        except TimeoutError:
            raise DeadlineExceeded(timing.current) from None
        finally:
            timing.abandoned = True  # work that is still on a pool thread stops at its next stage

    async def _remove(
        self,
        request: CutoutRequest,
        model: PipelineModel,
        timing: RequestTiming,
        count_pixels: PixelCounter | None,
        stage_gate: StageGate | None,
    ) -> CutoutResult:
        low_priority = stage_gate is not None
        queued = request.mask is None and not low_priority
        steps = CutoutSteps(request, timing, model.config)

        async def on_pool(priority: Priority, work: Callable[[], T]) -> T:
            if stage_gate is not None:
                timing.current = "turn"
                await stage_gate()
            return await self._on_pool(self.low_priority_pool if low_priority else self.pool, priority, timing, work)

        def decode_and_prepare() -> tuple[DecodedImage, ModelInput | None]:
            image = steps.decode()
            return image, steps.prepare(image) if steps.needs_model else None

        async def add_second_pass(image: DecodedImage, first: RawMatte) -> RawMatte:
            needed = await on_pool(Priority.POSTPROCESS, lambda: steps.prepare_second_pass(image, first))
            if needed is None:
                return first
            second = await self._infer(model, needed.model_input, timing, None, low_priority, follow_up=True)
            return await on_pool(Priority.POSTPROCESS, lambda: steps.join_mattes(image, first, second, needed.region))

        def refine_and_output() -> Refined | CutoutResult:
            refined = steps.refine(image, raw)
            return refined if refined.output_pixels > admission.output_limit else compose_and_encode(refined)

        def compose_and_encode(refined: Refined) -> CutoutResult:
            outputs = []
            for options in request.variants:
                cutout, matte = steps.compose(refined, options)
                outputs.append(steps.encode(cutout, matte, refined, options))
            return steps.result(outputs)

        announced = model.batcher.announce() if queued else nullcontext()
        with announced as arrival:
            await on_pool(Priority.PROBE, steps.probe)
            async with AsyncExitStack() as held:
                slot = await held.enter_async_context(AsyncExitStack())
                await slot.enter_async_context(model.slot(timing) if queued else nullcontext())
                admission = await held.enter_async_context(self._admit(steps, count_pixels, low_priority))
                image, model_input = await on_pool(Priority.PREPROCESS, decode_and_prepare)
                raw = None
                if model_input is not None:
                    raw = await self._infer(model, model_input, timing, arrival, low_priority)
                    if model.config.second_pass:
                        raw = await add_second_pass(image, raw)
                await slot.aclose()  # the next request of this model can be decoded
                result = await on_pool(Priority.POSTPROCESS, refine_and_output)
                if isinstance(result, CutoutResult):
                    return result
                refined = result
                await self._admit_outputs(steps, refined, admission, count_pixels)
                return await on_pool(Priority.POSTPROCESS, lambda: compose_and_encode(refined))

    @asynccontextmanager
    async def _admit(
        self, steps: CutoutSteps, count_pixels: PixelCounter | None, low_priority: bool
    ) -> AsyncIterator[_Admission]:
        """Count the request's pixels and hold memory for them. Raises as ``count_pixels``, and InvalidOption."""
        timing = steps.timing
        timing.current = "admission"
        planned = counted = steps.planned_pixels()
        if count_pixels is not None:
            counted = steps.known_pixels
            await count_pixels(counted)
        submitted = timing.elapsed()
        needed = steps.input_pixels + planned - steps.headers["image"].pixels + _encoder_pixels(steps, planned)
        async with self.pixels.hold(needed, low_priority) as hold:
            timing.add("admission", timing.elapsed() - submitted)
            yield _Admission(hold, planned, min(planned, counted))

    async def _admit_outputs(
        self, steps: CutoutSteps, refined: Refined, admission: _Admission, count_pixels: PixelCounter | None
    ) -> None:
        """Count and hold the pixels of outputs that are larger than known before."""
        timing = steps.timing
        if count_pixels is not None:
            await count_pixels(refined.output_pixels)
        timing.current = "admission"
        submitted = timing.elapsed()
        if refined.output_pixels > admission.planned_pixels:
            encoder = _encoder_pixels(steps, refined.output_pixels) - _encoder_pixels(steps, admission.planned_pixels)
            await admission.hold.grow(refined.output_pixels - admission.planned_pixels + encoder)
        timing.add("admission", timing.elapsed() - submitted)

    async def _infer(
        self,
        model: PipelineModel,
        model_input: ModelInput,
        timing: RequestTiming,
        arrival: PendingArrival | None,
        low_priority: bool,
        follow_up: bool = False,
    ) -> RawMatte:
        """Run the model."""
        timing.current = "queue"
        inference = await model.batcher.infer(model_input.tensor, timing.deadline, arrival, low_priority, follow_up)
        timing.add("queue", inference.queue_s, ago=inference.run_s)
        timing.add("inference", inference.run_s, f"batch={inference.batch_size}")
        return RawMatte(inference.values)

    async def _on_pool(self, pool: ThreadPool, priority: Priority, timing: RequestTiming, work: Callable[[], T]) -> T:
        """Run ``work`` on a pool thread. Cancellation removes work that has not started."""
        timing.current = "pool"
        submitted = timing.elapsed()

        def run() -> T:
            timing.add("pool", timing.elapsed() - submitted)
            with memory_errors():
                return work()

        return await asyncio.wrap_future(pool.put(priority, run))


def _encoder_pixels(steps: CutoutSteps, pixels: int) -> int:
    """Return the pixels to hold in addition for the encoders; ``pixels`` are those of all outputs."""
    return encoder_pixels(steps.request.variants, pixels) if steps.request.encode else 0
