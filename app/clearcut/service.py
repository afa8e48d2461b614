"""The whole service, made from its settings: ``build(settings)`` wires the rooms together and starts nothing.

A test makes one with a fake model in three lines: ``build(settings, load=lambda: Served(entry, engines, plan))``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from clearcut.accounts.idempotency import IdempotencyCache
from clearcut.accounts.service import AccountService
from clearcut.admission.fetch_shares import FetchShares
from clearcut.admission.pixel_budget import PixelBudget
from clearcut.admission.slots import Slots
from clearcut.admission.transfers import TRANSFERS_SHARE, Transfers
from clearcut.imaging.libraries import disable_opencv_threads, silence_codec_stderr
from clearcut.imaging.types import ProbeLimits
from clearcut.inference.batcher import Batcher
from clearcut.inference.edge_model import load_edge_model
from clearcut.inference.manifest import ModelEntry
from clearcut.inference.moderation import load_moderator
from clearcut.inference.providers import runtime_version
from clearcut.inference.startup.autotune import ExecutionPlan
from clearcut.inference.startup.load import load_configured_model
from clearcut.inference.types import Engine
from clearcut.observability.metrics import Metrics
from clearcut.storage.signed_urls import OutputLinks

from . import optional_parts
from .cutout import CutoutEngine, CutoutResult
from .errors import StartupError
from .lifecycle import Lifecycle, State
from .pipeline import Pipeline
from .settings import MIB, Settings
from .system import cpu_quota, give_back_memory, memory_limit
from .thread_pool import Priority, ThreadPool

log = logging.getLogger("clearcut")
T = TypeVar("T")

if TYPE_CHECKING:
    from clearcut.fetch.client import FetchClient

HEARTBEAT_S = 0.5
JOBS_NICE = 19
"""The jobs' pixel threads get what the requests' leave over, and little else."""

BYTES_PER_PIXEL = 29
"""Peak memory of a picture in the house, measured: decode, matte, cut-out and encoded output together. Of the dearest,
large lossy WebP and CMYK JPEG answered as PNG (``benchmarks/hostile.py``); a plain JPEG takes about a third of it."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model as it is being served."""

    entry: ModelEntry
    engines: Sequence[Engine]
    plan: ExecutionPlan

    @property
    def facts(self) -> dict[str, str]:
        """For ``/v1/info``, the metrics and the log."""
        entry = self.entry
        return {
            "name": entry.name,
            "precision": entry.precision,
            "edges": "yes" if entry.edges else "no",
            "file": entry.file,
            "sha256": entry.sha256 or "",
            "licence": entry.licence,
            "source": entry.source,
            "device": self.plan.device,
            "runtime": f"onnxruntime {runtime_version()}",
        }


class Service:
    """Everything one process serves with. ``start`` and ``stop`` run on the event loop."""

    def __init__(self, settings: Settings, load: Callable[[], ServedModel]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.lifecycle = Lifecycle(self._state_changed)
        self.slots = Slots(settings.slots)
        self.fetch_shares = FetchShares(settings.slots, self.slots.rate)
        self.transfers = Transfers(memory_limit() // TRANSFERS_SHARE)
        self.pixels = PixelBudget(pixel_capacity(settings, memory_limit()))
        self.access = AccountService(settings, self._charge_closed)
        self.replays = IdempotencyCache(settings.replay_mb * MIB)
        self.workers = settings.workers or cpu_quota()
        self.pool = ThreadPool(self.workers)
        self.later_pool = ThreadPool(max(1, self.workers // 2), JOBS_NICE) if settings.jobs != "off" else None
        """For jobs."""
        self.fetcher: FetchClient | None = None
        """For the synchronous routes; None while they take no addresses."""
        self.outputs: OutputLinks | None = None
        """Kept for callers with a signed address; None where nothing is kept."""
        self.downloads = Slots(settings.slots)
        """Of outputs, at once; they hold no place among the requests."""
        self.jobs = optional_parts.create_jobs(settings, self.access, self.metrics, self.workers)
        """None where they are off."""
        self.cutouts = 0
        """Sent since the start."""
        self.served: ServedModel | None = None
        self.batcher: Batcher | None = None
        self.pipeline: Pipeline | None = None
        self.failed = asyncio.Event()
        """Set when the process should end with an error."""
        self.spans = optional_parts.create_tracer(settings)
        self._load = load
        self._tasks: list[asyncio.Task[None]] = []
        self._watch_gauges()

    async def start(self) -> None:
        """Load the model on a thread of its own, so that health routes answer meanwhile; then become ready.

        Raises:
            StartupError: the model cannot be served as asked for.
        """
        begun = time.monotonic()
        self._tasks.append(asyncio.create_task(self._heartbeat()))
        loop = asyncio.get_running_loop()

        def failed(exc: BaseException) -> None:
            loop.call_soon_threadsafe(self._inference_failed, exc)

        try:
            self.fetcher = optional_parts.create_fetcher(self.settings, self.metrics)
            await self.access.start()
            served = await asyncio.to_thread(self._load)
        except StartupError as exc:
            self.lifecycle.to(State.FAILED, str(exc))
            raise
        self.served = served
        self.batcher = Batcher(
            served.engines,
            served.plan.buckets,
            capacity=self.slots.capacity,
            max_delay_s=self.settings.max_delay_ms / 1000,
            cost_s=served.plan.cost_s,
            observer=self.metrics,
            on_fatal=failed,
        )
        self.batcher.start()
        limits = ProbeLimits(
            max_pixels=int(self.settings.max_megapixels * 1e6),
            max_side=self.settings.max_side,
            max_scans=self.settings.max_scans,
            max_segments=self.settings.max_segments,
        )
        try:
            edge_model = await asyncio.to_thread(load_edge_model) if served.entry.edges else None
            moderator = await asyncio.to_thread(load_moderator, self.settings.model_dir)
        except StartupError as exc:
            self.lifecycle.to(State.FAILED, str(exc))
            raise
        engine = CutoutEngine(served.entry.name, served.entry.input, limits, edge_model, moderator)
        self.pipeline = Pipeline(self.batcher, engine, self.pixels, self.pool, self.later_pool)
        if self.jobs is not None:
            try:
                self.outputs = await self.jobs.start(self.pipeline)
            except StartupError as exc:
                self.lifecycle.to(State.FAILED, str(exc))
                raise
        self.metrics.model(served.facts)
        self.lifecycle.to(State.READY)
        log.info("ready", extra={"fields": {"seconds": round(time.monotonic() - begun, 3), **served.facts}})

    async def stop(self) -> None:
        """Finish what was accepted, then let the threads go. Jobs are kept, not finished."""
        if self.jobs is not None:
            await self.jobs.stop(1.0)
        if self.batcher is not None:
            await asyncio.to_thread(self.batcher.close, drain=True, timeout=5.0)
        await self.access.stop()
        for task in self._tasks:
            task.cancel()
        self.pool.shutdown()
        if self.later_pool is not None:
            self.later_pool.shutdown()
        self.lifecycle.to(State.STOPPED)

    async def say_the_last(self) -> None:
        """Send what there is still to tell of requests; to be called when the last has been answered."""
        if self.spans is not None:
            await self.spans.close()

    async def until_idle(self) -> None:
        """Return once nobody waits for an answer and no step of a job is at work; no new step begins."""
        await self.slots.until_empty()
        if self.jobs is not None:
            await self.jobs.drain()

    async def on_pool(self, work: Callable[[], T]) -> T:
        """Do work on a request that is no step of the pipeline: on a thread of the pool, as the event loop must not."""
        return await asyncio.wrap_future(self.pool.put(Priority.FINISH, work))

    def count(self, result: CutoutResult, bytes_in: int) -> None:
        """Account for one finished request."""
        self.cutouts += len(result.outputs)
        self.slots.rate.record_completion()
        self.metrics.input_bytes.observe(bytes_in)
        self.metrics.input_megapixels.observe(result.original_width * result.original_height / 1e6)
        for output in result.outputs:
            self.metrics.output_bytes.observe(len(output.image.data))

    @property
    def alive(self) -> bool:
        return self.lifecycle.alive and (self.batcher is None or self.batcher.alive)

    def _charge_closed(self, outcome: str) -> None:
        self.metrics.charges.labels(outcome).inc()

    def _inference_failed(self, exc: BaseException) -> None:
        log.error("inference failed", extra={"fields": {"error": repr(exc)}})
        self.lifecycle.to(State.FAILED, "inference thread ended")
        self.failed.set()

    def _state_changed(self, state: State) -> None:
        self.metrics.ready.set(1 if state is State.READY else 0)

    async def _heartbeat(self) -> None:
        """Twice a second: how late the event loop runs (pixel work in the wrong place), whether a model run hangs,
        and, once the house has been empty for a beat, memory back to the system."""
        seen = trimmed = self._entered
        while True:
            before = time.monotonic()
            await asyncio.sleep(HEARTBEAT_S)
            self.metrics.event_loop_lag.set(max(0.0, time.monotonic() - before - HEARTBEAT_S))
            since = self.batcher.busy_since if self.batcher is not None else None
            if self.batcher is not None and since is not None and before - since > self.settings.watchdog_s:
                self.batcher.fail(TimeoutError(f"a model run has taken more than {self.settings.watchdog_s:g} s"))
            if self.slots.used == 0 and seen == self._entered != trimmed:
                await asyncio.to_thread(give_back_memory)
                trimmed = seen
            seen = self._entered

    @property
    def _entered(self) -> int:
        """Requests and jobs that have made memory dirty since the start."""
        return self.slots.entered + (self.jobs.finished_jobs if self.jobs is not None else 0)

    def _watch_gauges(self) -> None:
        watch = self.metrics.watch
        watch("clearcut_slots", "Maximum concurrent requests.", lambda: self.slots.capacity)
        watch("clearcut_slots_used", "Current concurrent requests.", lambda: self.slots.used)
        watch(
            "clearcut_slow_uploads", "Slow uploads that have lent their request slot.", lambda: self.slots.slow_uploads
        )
        watch("clearcut_inflight_pixels", "Decoded pixels in memory.", lambda: self.pixels.used)
        watch("clearcut_inflight_pixels_capacity", "Maximum decoded pixels in memory.", self._pixels_capacity)
        watch("clearcut_pool_depth", "Tasks that wait for a thread of the image pool.", lambda: self.pool.depth)
        watch("clearcut_queue_depth", "Images that wait for the model.", lambda: self._of_batcher("depth"))
        watch(
            "clearcut_queue_capacity",
            "Maximum number of images that wait for the model.",
            lambda: self._of_batcher("capacity"),
        )

    def _pixels_capacity(self) -> float:
        return self.pixels.capacity

    def _of_batcher(self, name: str) -> float:
        return float(getattr(self.batcher, name)) if self.batcher is not None else 0.0


def pixel_capacity(settings: Settings, limit: int) -> int:
    """Decoded pixels that may be in the house at once, of ``limit`` bytes of memory."""
    if settings.inflight_megapixels:
        return int(settings.inflight_megapixels * 1e6)
    return max(int(settings.max_megapixels * 1e6), limit // 4 // BYTES_PER_PIXEL)


def build(settings: Settings, load: Callable[[], ServedModel] | None = None) -> Service:
    """The whole service from its settings; ``load`` stands in for the real model in tests."""

    def load_from_settings() -> ServedModel:
        model, loaded = load_configured_model(settings)
        return ServedModel(model.entry, loaded.engines, loaded.plan)

    disable_opencv_threads()
    silence_codec_stderr()
    return Service(settings, load or load_from_settings)
