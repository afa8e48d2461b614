"""A pipeline for callers in the same process: the Python API and the command line.

The pipeline runs on an event loop in a thread of its own, so callers need no event loop and may have one.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

from pydantic import ValidationError

from .admission.memory_budget import pixel_capacity
from .admission.pixel_budget import PixelBudget
from .cutout_types import CutoutRequest, CutoutResult
from .environment import load_settings
from .errors import RemoverClosed, StartupError, Unavailable, UnknownModel
from .imaging.codec_setup import disable_codec_threads, silence_codec_stderr
from .inference.manifest import MANIFEST, find_entry, models_folder, read_manifest
from .inference.model_files import locate
from .inference.providers import choose_device
from .inference.startup.load import ServedModel, load_served_model
from .inference.startup.precision import further_precision, has_vnni
from .observability.timing import RequestTiming
from .pipeline import Pipeline
from .pipeline_factory import create_batcher, load_cutout_configs
from .pipeline_models import PipelineModel, PipelineModels
from .settings import Settings
from .system import cpu_quota, memory_limit
from .thread_pool import ThreadPool

QUEUE_CAPACITY = 1_000_000
"""Maximum number of waiting images. Each one has a blocked caller, so there is no other limit."""
_CLOSED = "the remover was closed during the call"
CLOSE_S = 5.0
"""Timeout for each part when a pipeline is closed, seconds."""


def local_settings(**overrides: object) -> Settings:
    """Return the settings of the environment with changes.

    Args:
        overrides: settings by name; None keeps the value of the environment.

    Raises:
        StartupError: a setting is invalid.
    """
    values = load_settings().model_dump() | {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as exc:
        raise StartupError("; ".join(f"{error['loc'][0]}: {error['msg']}" for error in exc.errors())) from None


def load_untuned(settings: Settings) -> ServedModel:
    """Load the model without measuring precision, sessions and batch sizes, where that is possible.

    On a CPU one session uses all CPUs, with 8-bit integers if the CPU has VNNI. Values in the settings are used
    unchanged.

    Raises:
        StartupError: the model cannot run.
    """
    planned = settings.lanes or settings.intra_op_threads or settings.buckets or settings.plan_cache
    if planned or choose_device(settings.device) != "cpu":
        return load_served_model(settings)
    entry = find_entry(read_manifest(models_folder() / MANIFEST), settings.model)
    plan: dict[str, object] = {"lanes": 1, "intra_op_threads": cpu_quota(), "buckets": str(entry.batch_min)}
    folders = [models_folder()] if settings.model_dir is None else [models_folder(), settings.model_dir]
    variant = entry.variants.get("int8")
    if settings.precision == "auto":
        usable = variant is not None and has_vnni() and locate(variant, folders) is not None
        plan["precision"] = "int8" if usable else "fp32"
    try:
        return load_served_model(settings.model_copy(update=plan))
    except StartupError:
        return load_served_model(settings)  # it can fall back to another precision, and its error names the cause


class LocalPipeline:
    """A loaded model with its threads. All methods may be called from any thread of the process that created it."""

    def __init__(self, settings: Settings, *, tune: bool) -> None:
        """Load the model.

        Args:
            tune: measure the fastest precision, number of sessions and batch sizes, as the service does.

        Raises:
            StartupError: the model cannot run with these settings.
        """
        disable_codec_threads()
        silence_codec_stderr()
        self._settings = settings
        self._load_lock = threading.Lock()
        model = load_served_model(settings) if tune else load_untuned(settings)
        self._models = PipelineModels([_start_model(settings, model)])
        self.workers = settings.workers or cpu_quota()
        self._pool = ThreadPool(self.workers)
        pixels = PixelBudget(pixel_capacity(settings, memory_limit()))
        self._pipeline = Pipeline(self._models, pixels, self._pool)
        self._closed = False
        self._lock = threading.Lock()
        """Each call is on the event loop before ``close`` stops it, or is refused."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="clearcut", daemon=True)
        self._thread.start()

    @property
    def model(self) -> str:
        """Name of the default model."""
        return self._models.default.name

    def remove(self, request: CutoutRequest, timing: RequestTiming) -> CutoutResult:
        """Remove the background of one image and wait for the result. Another model is loaded at its first use.

        Raises:
            ClearcutError: as for ``Pipeline.remove``.
            StartupError: another model cannot run.
            RemoverClosed: the pipeline is closed.
        """
        if request.model is not None:
            self._load(request.model)
        with self._lock:
            if self._closed:
                raise RemoverClosed(_CLOSED)
            future = asyncio.run_coroutine_threadsafe(self._pipeline.remove(request, timing), self._loop)
        try:
            return future.result()
        except (CancelledError, Unavailable):
            if self._closed:  # closing ends the batcher, the pool and the event loop, each with its own error
                raise RemoverClosed(_CLOSED) from None
            raise
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End all threads. Calls in progress fail with RemoverClosed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for model in tuple(self._models):
            model.batcher.close(drain=False, timeout=CLOSE_S)
        self._pool.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_S)
        self._pool.join(CLOSE_S)

    def _load(self, name: str) -> None:
        """Load a further model of the manifest, once.

        Raises:
            UnknownModel: the manifest has no such model.
            StartupError: the model cannot run.
        """
        with self._load_lock:
            if name in self._models:
                return
            entries = read_manifest(models_folder() / MANIFEST)
            if name not in entries:
                raise UnknownModel("model", ", ".join(sorted(entries)))
            precision = further_precision(name, self._settings.precision, self._settings.model_dir)
            settings = self._settings.model_copy(update={"model": name, "precision": precision})
            model = _start_model(settings, load_untuned(settings))
            with self._lock:
                if not self._closed:
                    self._models.add(model)
                    return
        model.batcher.close(drain=False, timeout=CLOSE_S)

    def _run_loop(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel_tasks())
        finally:
            self._loop.close()


def _start_model(settings: Settings, model: ServedModel) -> PipelineModel:
    """Return a model with running threads. Raises StartupError."""
    config = load_cutout_configs(settings, [model.entry])[0]
    batcher = create_batcher(settings, model, QUEUE_CAPACITY)
    batcher.start()
    return PipelineModel(batcher, config)


async def _cancel_tasks() -> None:
    """Cancel all other tasks of the event loop and wait for their end."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
