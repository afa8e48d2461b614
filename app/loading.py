"""From the settings to a model that is ready to run, by way of what an earlier start chose."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial
from typing import Any

from app.errors import StartupError
from app.inference.choice import load_best
from app.inference.files import Model
from app.inference.manifest import MANIFEST, find_entry, models_folder, read_manifest
from app.inference.plan import Loaded
from app.inference.plan_cache import Choice, PlanCache, here, situation
from app.inference.providers import GpuOptions, choose_device
from app.inference.session import OnnxEngine
from app.settings import Settings

log = logging.getLogger("clearcut")


def load_as_set(settings: Settings, *, keep: bool = True) -> tuple[Model, Loaded]:
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
    key = situation(entry, asked | {"here": here(entry, folders)})
    if (choice := cache.get(key)) is not None:
        try:
            return _load(settings, asked | asdict(choice))
        except StartupError as exc:
            log.warning("the kept choice does not serve any more", extra={"fields": {"reason": str(exc)}})
    model, loaded = _load(settings, asked)
    plan = loaded.plan
    if keep:
        cache.put(key, Choice(model.entry.precision, plan.lanes, plan.intra_op_threads, plan.buckets))
    return model, loaded


def _load(settings: Settings, options: dict[str, Any]) -> tuple[Model, Loaded]:
    gpu = GpuOptions(settings.cuda_graphs, settings.tensorrt_cache, max(settings.bucket_sizes, default=32))
    engine = partial(OnnxEngine, gpu=gpu)
    precision, device = options["precision"], options["device"]
    rest = {name: value for name, value in options.items() if name not in ("precision", "device")}
    return load_best(settings.model, precision, device, extra_dir=settings.model_dir, make_engine=engine, **rest)
