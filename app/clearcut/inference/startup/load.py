"""From settings to a loaded, measured and tested model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST, ModelEntry, find_entry, models_folder, read_manifest
from clearcut.inference.model_files import ModelFile
from clearcut.inference.providers import GpuOptions, choose_device
from clearcut.inference.runtime import runtime_version
from clearcut.inference.session import OnnxEngine
from clearcut.inference.session_thread import SessionThread
from clearcut.inference.types import Engine
from clearcut.settings import MIB, Settings
from clearcut.system import cpu_quota, memory_limit, peak_memory

from .autotune import ExecutionPlan, LoadedEngines
from .cache import CachedPlan, PlanCache, available_variants, cache_key
from .precision import further_precision, load_best

log = logging.getLogger("clearcut")

SLOW_FACTOR = 8
"""A further model gets only idle CPU time if a run takes at least this many times as long as one of the default model.
With niceness 10 alone, ISNet multiplies the default model's p95 (``benchmarks/model_latency.py``)."""

BUSY_FACTOR = 1.3
"""A stored plan is measured again if it now gives more than this many times the images per second of before."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that a service runs."""

    entry: ModelEntry
    engines: Sequence[Engine]
    plan: ExecutionPlan
    memory_bytes: int = 0
    """Peak of the memory that loading, measuring and testing the model took."""
    path: Path = Path()
    """The model's file."""

    @property
    def labels(self) -> dict[str, str]:
        """Description of the model for ``/v1/info``, the metrics and the log."""
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


def load_served_models(settings: Settings, *, save_plan: bool = True) -> tuple[ServedModel, ...]:
    """Load the default model and all further models of a service.

    Args:
        save_plan: as for ``load_configured_model``.

    Raises:
        StartupError: as ``load_served_model``, or the models need more memory than their budget.
    """
    models = [load_served_model(settings, save_plan=save_plan)]
    entries = read_manifest(models_folder() / MANIFEST)
    for name in settings.further_models:
        _check_memory(settings, [(each.entry.name, each.memory_bytes) for each in models], find_entry(entries, name))
        models.append(load_further_model(settings, name, SLOW_FACTOR * _seconds_per_run(models[0].plan)))
    _check_memory(settings, [(each.entry.name, each.memory_bytes) for each in models])
    return tuple(models)


def load_served_model(settings: Settings, *, save_plan: bool = True) -> ServedModel:
    """Load the default model of a service; see ``load_configured_model``."""
    with peak_memory() as memory:
        model, loaded = load_configured_model(settings, save_plan=save_plan)
    return ServedModel(model.entry, loaded.engines, loaded.plan, memory[0], path=model.path)


def load_further_model(settings: Settings, name: str, slow_s: float) -> ServedModel:
    """Load a model beside the default one: one session on half of the CPUs, in threads of a lower priority.

    Args:
        settings: of the service.
        name: of the model.
        slow_s: on the CPU, a model with runs of at least this many seconds gets only idle CPU time.

    Raises:
        StartupError: as for ``load_configured_model``.
    """
    precision = further_precision(name, settings.precision, settings.model_dir)
    changes = {"model": name, "precision": precision, "buckets": "", "lanes": 1, "plan_cache": None}
    threads = max(1, (settings.intra_op_threads or cpu_quota()) // 2)
    further = settings.model_copy(update={**changes, "intra_op_threads": threads})
    thread = SessionThread(name)
    with peak_memory() as memory:
        model, loaded = load_configured_model(further, save_plan=False, thread=thread)
    if loaded.plan.device == "cpu" and _seconds_per_run(loaded.plan) >= slow_s:
        thread.give_idle_time()
    return ServedModel(model.entry, loaded.engines, loaded.plan, memory[0], model.path)


def _seconds_per_run(plan: ExecutionPlan) -> float:
    """Return the measured seconds of a run with the smallest batch."""
    return plan.cost_s[min(plan.cost_s)]


def _check_memory(settings: Settings, loaded: Sequence[tuple[str, int]], following: ModelEntry | None = None) -> None:
    """Raise StartupError if the models need more than their budget.

    Args:
        settings: with the budget.
        loaded: names and bytes of the models.
        following: the model that is loaded next. Its need is known if the manifest has it.
    """
    needs = [*loaded, *([(following.name, following.memory_mb * MIB)] if following and following.memory_mb else [])]
    budget = settings.model_memory_mb * MIB
    if not budget and len(needs) > 1:
        budget = memory_limit() // 2
    if budget and sum(need for _, need in needs) > budget:
        listed = ", ".join(f"{name} {need / MIB:.0f}" for name, need in needs)
        raise StartupError(
            f"The models need {sum(need for _, need in needs) / MIB:.0f} MiB ({listed}), and the limit is "
            f"{budget / MIB:.0f} MiB. Name fewer models in CLEARCUT_MODELS, provide more memory, or set "
            "CLEARCUT_MODEL_MEMORY_MB"
        )


def load_configured_model(
    settings: Settings, *, save_plan: bool = True, thread: SessionThread | None = None
) -> tuple[ModelFile, LoadedEngines]:
    """Load the model of the settings on their device, measure it and test it. This takes a second or more.

    Args:
        settings: with ``plan_cache``, the measured plan of an earlier start is reused.
        save_plan: store the measured plan for the next start.
        thread: creates and runs all sessions; None uses the calling threads.

    Raises:
        StartupError: the model cannot run with these settings.
    """
    requested = {
        "precision": settings.precision,
        "device": settings.device,
        "lanes": settings.lanes,
        "intra_op_threads": settings.intra_op_threads,
        "buckets": settings.bucket_sizes,
    }
    # A GPU plan has nothing to choose, and a plan measured on a CPU is wrong on a GPU.
    if settings.plan_cache is None or choose_device(settings.device) != "cpu":
        return _load(settings, requested, thread)
    cache = PlanCache(settings.plan_cache)
    entry = find_entry(read_manifest(models_folder() / MANIFEST), settings.model)
    folders = [models_folder()] if settings.model_dir is None else [models_folder(), settings.model_dir]
    key = cache_key(entry, requested | {"here": available_variants(entry, folders)})
    if (cached := cache.get(key)) is not None:
        stored = {name: value for name, value in asdict(cached).items() if name != "images_per_s"}
        try:
            model, loaded = _load(settings, requested | stored, thread)
            if loaded.plan.images_per_s <= BUSY_FACTOR * cached.images_per_s:
                return model, loaded
            log.info("the cached plan was measured on a busy machine, and is measured again")
        except StartupError as exc:
            log.warning("the cached plan no longer works", extra={"fields": {"reason": str(exc)}})
    model, loaded = _load(settings, requested, thread)
    plan = loaded.plan
    if save_plan:
        choice = plan.lanes, plan.intra_op_threads, plan.buckets
        cache.put(key, CachedPlan(model.entry.precision, *choice, plan.images_per_s))
    return model, loaded


def _load(settings: Settings, options: dict[str, Any], thread: SessionThread | None) -> tuple[ModelFile, LoadedEngines]:
    gpu = GpuOptions(settings.cuda_graphs, settings.tensorrt_cache, max(settings.bucket_sizes, default=32))
    make_engine = partial(OnnxEngine, gpu=gpu, thread=thread)
    precision, device = options["precision"], options["device"]
    others = {name: value for name, value in options.items() if name not in ("precision", "device")}
    return load_best(settings.model, precision, device, extra_dir=settings.model_dir, make_engine=make_engine, **others)
