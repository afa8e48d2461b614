"""From the settings to a model that is ready to run, by way of what an earlier start chose."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial
from typing import Any

from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST, find_entry, models_folder, read_manifest
from clearcut.inference.model_files import ModelFile
from clearcut.inference.providers import GpuOptions, choose_device
from clearcut.inference.session import OnnxEngine
from clearcut.settings import Settings

from .autotune import LoadedEngines
from .cache import CachedPlan, PlanCache, available_variants, cache_key
from .precision import load_best

log = logging.getLogger("clearcut")


def load_configured_model(settings: Settings, *, keep: bool = True) -> tuple[ModelFile, LoadedEngines]:
    """The model that the settings name, on the device that they name, warmed and self-tested. Takes a second or more.

    Args:
        keep: what was chosen, for the next start.

    Raises:
        StartupError: it cannot be served as asked for.
    """
    asked = {
        "precision": settings.precision,
        "device": settings.device,
        "lanes": settings.lanes,
        "intra_op_threads": settings.intra_op_threads,
        "buckets": settings.bucket_sizes,
    }
    if settings.plan_cache is None or choose_device(settings.device) != "cpu":
        return _load(settings, asked)  # on a GPU there is nothing to choose, and what a CPU chose is wrong there
    cache = PlanCache(settings.plan_cache)
    entry = find_entry(read_manifest(models_folder() / MANIFEST), settings.model)
    folders = [models_folder()] if settings.model_dir is None else [models_folder(), settings.model_dir]
    key = cache_key(entry, asked | {"here": available_variants(entry, folders)})
    if (choice := cache.get(key)) is not None:
        try:
            return _load(settings, asked | asdict(choice))
        except StartupError as exc:
            log.warning("the kept choice does not serve any more", extra={"fields": {"reason": str(exc)}})
    model, loaded = _load(settings, asked)
    plan = loaded.plan
    if keep:
        cache.put(key, CachedPlan(model.entry.precision, plan.lanes, plan.intra_op_threads, plan.buckets))
    return model, loaded


def _load(settings: Settings, options: dict[str, Any]) -> tuple[ModelFile, LoadedEngines]:
    gpu = GpuOptions(settings.cuda_graphs, settings.tensorrt_cache, max(settings.bucket_sizes, default=32))
    engine = partial(OnnxEngine, gpu=gpu)
    precision, device = options["precision"], options["device"]
    rest = {name: value for name, value in options.items() if name not in ("precision", "device")}
    return load_best(settings.model, precision, device, extra_dir=settings.model_dir, make_engine=engine, **rest)
