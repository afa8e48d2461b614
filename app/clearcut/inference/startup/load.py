"""From settings to a loaded, measured and tested model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST, ModelEntry, find_entry, models_folder, read_manifest
from clearcut.inference.model_files import ModelFile
from clearcut.inference.providers import GpuOptions, choose_device
from clearcut.inference.runtime import runtime_version
from clearcut.inference.session import OnnxEngine
from clearcut.inference.types import Engine
from clearcut.settings import Settings

from .autotune import ExecutionPlan, LoadedEngines
from .cache import CachedPlan, PlanCache, available_variants, cache_key
from .precision import load_best

log = logging.getLogger("clearcut")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model that a service runs."""

    entry: ModelEntry
    engines: Sequence[Engine]
    plan: ExecutionPlan

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


def load_served_model(settings: Settings) -> ServedModel:
    """Load the configured model for a service; see ``load_configured_model``."""
    model, loaded = load_configured_model(settings)
    return ServedModel(model.entry, loaded.engines, loaded.plan)


def load_configured_model(settings: Settings, *, save_plan: bool = True) -> tuple[ModelFile, LoadedEngines]:
    """Load the model of the settings on their device, measure it and test it. This takes a second or more.

    Args:
        settings: with ``plan_cache``, the measured plan of an earlier start is reused.
        save_plan: store the measured plan for the next start.

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
        return _load(settings, requested)
    cache = PlanCache(settings.plan_cache)
    entry = find_entry(read_manifest(models_folder() / MANIFEST), settings.model)
    folders = [models_folder()] if settings.model_dir is None else [models_folder(), settings.model_dir]
    key = cache_key(entry, requested | {"here": available_variants(entry, folders)})
    if (cached := cache.get(key)) is not None:
        try:
            return _load(settings, requested | asdict(cached))
        except StartupError as exc:
            log.warning("the cached plan no longer works", extra={"fields": {"reason": str(exc)}})
    model, loaded = _load(settings, requested)
    plan = loaded.plan
    if save_plan:
        cache.put(key, CachedPlan(model.entry.precision, plan.lanes, plan.intra_op_threads, plan.buckets))
    return model, loaded


def _load(settings: Settings, options: dict[str, Any]) -> tuple[ModelFile, LoadedEngines]:
    gpu = GpuOptions(settings.cuda_graphs, settings.tensorrt_cache, max(settings.bucket_sizes, default=32))
    make_engine = partial(OnnxEngine, gpu=gpu)
    precision, device = options["precision"], options["device"]
    others = {name: value for name, value in options.items() if name not in ("precision", "device")}
    return load_best(settings.model, precision, device, extra_dir=settings.model_dir, make_engine=make_engine, **others)
