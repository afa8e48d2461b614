"""One service: ``build(settings)`` creates and connects its parts and starts nothing.

A test uses a fake model: ``build(settings, load=lambda: [ServedModel(entry, engines, plan)])``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from clearcut.accounts.idempotency import IdempotencyCache
from clearcut.accounts.service import AccountService
from clearcut.admission.fetch_shares import FetchShares
from clearcut.admission.pixel_budget import PixelBudget
from clearcut.admission.slots import Slots
from clearcut.admission.transfers import TRANSFERS_DIVISOR, Transfers
from clearcut.fetch.policy import fetch_policy
from clearcut.imaging.codec_setup import disable_codec_threads, silence_codec_stderr
from clearcut.inference.startup.load import ServedModel, load_served_models
from clearcut.observability.metrics import Metrics
from clearcut.storage.signed_urls import OutputLinks

from .admission.memory_budget import pixel_capacity
from .cutout_types import CutoutResult
from .errors import StartupError, missing_extra
from .lifecycle import Lifecycle, State
from .pipeline import Pipeline
from .pipeline_factory import create_models, load_cutout_configs
from .pipeline_models import PipelineModel, PipelineModels
from .settings import MIB, Settings
from .system import cpu_quota, memory_limit, release_free_memory
from .thread_pool import Priority, ThreadPool

log = logging.getLogger("clearcut")
T = TypeVar("T")

if TYPE_CHECKING:
    from clearcut.fetch.client import FetchClient
    from clearcut.jobs.manager import JobManager
    from clearcut.observability.tracing import Tracer

HEARTBEAT_S = 0.5
JOBS_NICE = 19
"""Niceness of the threads that process the images of jobs. Threads of synchronous requests run first."""
FURTHER_WATCHDOG_RUNS = 1000
"""Extra time before the watchdog acts on a further model, as a multiple of its mean run time. A thread that uses idle
CPU time gets 3/2051 of the time of a CPU that two normal threads use."""
NO_FETCH_CLIENT = f"CLEARCUT_FETCH: {missing_extra('jobs')}"
NO_TRACER = f"CLEARCUT_OTEL_ENDPOINT: {missing_extra('otel')}"


class Service:
    """All parts of one process. ``start`` and ``stop`` run on the event loop."""

    def __init__(self, settings: Settings, load: Callable[[], Sequence[ServedModel]]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.lifecycle = Lifecycle(self._state_changed)
        self.slots = Slots(settings.slots)
        self.fetch_shares = FetchShares(settings.slots, self.slots.rate)
        self.transfers = Transfers(memory_limit() // TRANSFERS_DIVISOR)
        self.pixels = PixelBudget(pixel_capacity(settings, memory_limit()))
        self.accounts = AccountService(settings, self._charge_closed)
        self.idempotency_cache = IdempotencyCache(settings.replay_mb * MIB)
        self.workers = settings.workers or cpu_quota()
        self.pool = ThreadPool(self.workers)
        self.low_priority_pool = ThreadPool(max(1, self.workers // 2), JOBS_NICE) if settings.jobs != "off" else None
        """Threads for the images of jobs; None while jobs are disabled."""
        self.fetcher: FetchClient | None = None
        """Client for URLs on the synchronous routes; None while these routes accept no URLs."""
        self.outputs: OutputLinks | None = None
        """Signed URLs of stored outputs; None while no outputs are stored."""
        self.downloads = Slots(settings.slots)
        """Slots for downloads of stored outputs, which use no request slot."""
        self.jobs = _create_jobs(settings, self.accounts, self.metrics, self.workers)
        """The asynchronous jobs; None while they are disabled."""
        self.loaded: Sequence[ServedModel] = ()
        """The loaded models, the default first; empty until ``start`` has loaded them."""
        self.models: PipelineModels | None = None
        """The models that requests can choose; None until they are loaded."""
        self.pipeline: Pipeline | None = None
        self.failed = asyncio.Event()
        """Set when the process must exit with an error."""
        self.tracer = _create_tracer(settings)
        """Sends traces; None without a collector."""
        self._load = load
        self._tasks: list[asyncio.Task[None]] = []
        self._connect_gauges()

    async def start(self) -> None:
        """Load the model in a thread, so that health routes respond meanwhile; then become ready.

        Raises:
            StartupError: a part cannot start with these settings. The state is FAILED then.
        """
        begun = time.monotonic()
        self._tasks.append(asyncio.create_task(self._heartbeat()))
        try:
            await self._start_parts()
        except StartupError as exc:
            self.lifecycle.to(State.FAILED, str(exc))
            raise
        self.lifecycle.to(State.READY)
        fields = {"seconds": round(time.monotonic() - begun, 3), **self.loaded[0].labels}
        if further := [model.entry.name for model in self.loaded[1:]]:
            fields["further_models"] = ", ".join(further)
        log.info("ready", extra={"fields": fields})

    async def _start_parts(self) -> None:
        loop = asyncio.get_running_loop()

        def inference_failed(exc: BaseException) -> None:
            loop.call_soon_threadsafe(self._inference_failed, exc)

        settings = self.settings
        self.fetcher = _create_fetcher(settings, self.metrics)
        await self.accounts.start()
        self.loaded = await asyncio.to_thread(self._load)
        await asyncio.to_thread(release_free_memory)  # the measurements of a large model free up to a gigabyte
        entries = [model.entry for model in self.loaded]
        configs = await asyncio.to_thread(load_cutout_configs, settings, entries)
        series = [self.metrics.add_model(model.labels) for model in self.loaded]
        models = create_models(settings, self.loaded, configs, self.slots.capacity, series, inference_failed)
        for model, each in zip(models, series, strict=True):
            each.connect_queue(partial(getattr, model, "depth"), model.batcher.capacity)
            model.batcher.start()
        self.models = models
        self.pipeline = Pipeline(models, self.pixels, self.pool, self.low_priority_pool)
        if self.jobs is not None:
            self.outputs = await self.jobs.start(self.pipeline)

    async def stop(self) -> None:
        """Finish accepted requests, then end the threads. Unfinished jobs stay in their queue."""
        if self.jobs is not None:
            await self.jobs.stop(1.0)
        batchers = [model.batcher for model in self.models or ()]
        await asyncio.gather(*(asyncio.to_thread(each.close, drain=True, timeout=5.0) for each in batchers))
        await self.accounts.stop()
        for task in self._tasks:
            task.cancel()
        self.pool.shutdown()
        if self.low_priority_pool is not None:
            self.low_priority_pool.shutdown()
        self.lifecycle.to(State.STOPPED)

    async def flush_traces(self) -> None:
        """Send the remaining traces. Call this after the last response."""
        if self.tracer is not None:
            await self.tracer.close()

    async def until_idle(self) -> None:
        """Return when no request and no step of a job is in progress. No new step starts after that."""
        await self.slots.until_empty()
        if self.jobs is not None:
            await self.jobs.drain()

    async def on_pool(self, work: Callable[[], T]) -> T:
        """Run work that is not a pipeline step on a pool thread, because it would block the event loop."""
        return await asyncio.wrap_future(self.pool.put(Priority.POSTPROCESS, work))

    def count(self, result: CutoutResult, bytes_in: int) -> None:
        """Record a finished request in the metrics and in the rate of the request slots."""
        self.slots.rate.record_completion()
        self.metrics.input_bytes.observe(bytes_in)
        self.metrics.input_megapixels.observe(result.original_width * result.original_height / 1e6)
        for output in result.outputs:
            self.metrics.output_bytes.observe(len(output.image.data))

    @property
    def alive(self) -> bool:
        """False if the process must be replaced."""
        return self.lifecycle.alive and all(model.batcher.alive for model in self.models or ())

    @property
    def model(self) -> ServedModel | None:
        """The default model; None until it is loaded."""
        return self.loaded[0] if self.loaded else None

    def _charge_closed(self, outcome: str) -> None:
        self.metrics.charges.labels(outcome).inc()

    def _inference_failed(self, exc: BaseException) -> None:
        log.error("inference failed", extra={"fields": {"error": repr(exc)}})
        self.lifecycle.to(State.FAILED, "inference thread ended")
        self.failed.set()

    def _state_changed(self, state: State) -> None:
        self.metrics.ready.set(1 if state is State.READY else 0)

    async def _heartbeat(self) -> None:
        """Every ``HEARTBEAT_S``: measure the delay of the event loop, detect a model run that hangs, and return free
        memory to the system after an interval without requests."""
        last_count = released_at = self._work_count
        while True:
            before = time.monotonic()
            await asyncio.sleep(HEARTBEAT_S)
            self.metrics.event_loop_lag.set(max(0.0, time.monotonic() - before - HEARTBEAT_S))
            for model in self.models or ():
                limit = self._watchdog_s(model)
                if (since := model.batcher.busy_since) is not None and before - since > limit:
                    model.batcher.fail(TimeoutError(f"a run of {model.name} has taken more than {limit:g} s"))
            if self.slots.used == 0 and last_count == self._work_count != released_at:
                await asyncio.to_thread(release_free_memory)
                released_at = last_count
            last_count = self._work_count

    def _watchdog_s(self, model: PipelineModel) -> float:
        """Return the maximum duration of a run. While the default model is busy, other models get little CPU time."""
        slower = 0.0 if model.queue is None else FURTHER_WATCHDOG_RUNS * model.batcher.seconds_per_image()
        return self.settings.watchdog_s + slower

    @property
    def _work_count(self) -> int:
        """Requests and jobs that have used memory since the start."""
        return self.slots.entered + (self.jobs.finished_jobs if self.jobs is not None else 0)

    def _connect_gauges(self) -> None:
        """Let gauges read their value from the service when they are scraped."""
        metrics = self.metrics
        metrics.slots.set_function(lambda: self.slots.capacity)
        metrics.slots_used.set_function(lambda: self.slots.used)
        metrics.slow_uploads.set_function(lambda: self.slots.slow_uploads)
        metrics.inflight_pixels.set_function(lambda: self.pixels.used)
        metrics.inflight_pixels_capacity.set_function(lambda: self.pixels.capacity)
        metrics.pool_depth.set_function(lambda: self.pool.depth)


def build(settings: Settings, load: Callable[[], Sequence[ServedModel]] | None = None) -> Service:
    """Create a service from its settings.

    Args:
        load: returns the models, the default first; None loads the configured ones. Tests pass a fake model.

    Raises:
        StartupError: a package for an enabled part is not installed.
    """
    disable_codec_threads()
    silence_codec_stderr()
    return Service(settings, load or (lambda: load_served_models(settings)))


# These parts need packages of their own. The packages are imported only if the part is enabled.


def _create_fetcher(settings: Settings, metrics: Metrics) -> FetchClient | None:
    policy = fetch_policy(settings)
    if not settings.fetch:
        return None
    try:
        from clearcut.fetch.client import FetchClient
    except ImportError:
        raise StartupError(NO_FETCH_CLIENT) from None
    return FetchClient(policy, on_result=metrics.fetch_ended)


def _create_jobs(settings: Settings, accounts: AccountService, metrics: Metrics, workers: int) -> JobManager | None:
    if settings.jobs == "off":
        return None
    from clearcut.jobs.manager import JobManager

    return JobManager(settings, accounts, metrics, workers)


def _create_tracer(settings: Settings) -> Tracer | None:
    if not settings.otel_endpoint:
        return None
    try:
        from clearcut.observability.tracing import Tracer  # takes about a second
    except ModuleNotFoundError:
        raise StartupError(NO_TRACER) from None
    return Tracer(settings.otel_endpoint, settings.otel_sample)
