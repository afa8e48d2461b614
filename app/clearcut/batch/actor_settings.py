"""The settings of the model in each actor of a bulk run."""

from __future__ import annotations

from collections.abc import Mapping

from clearcut.admission.memory_budget import pixel_capacity
from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST, find_entry, models_folder, read_manifest
from clearcut.inference.model_files import locate
from clearcut.inference.providers import choose_device
from clearcut.inference.startup.precision import has_vnni
from clearcut.local_pipeline import local_settings
from clearcut.system import cpu_quota, memory_limit

from .types import BatchResources

SHARED = (
    "model", "device", "precision", "model_dir", "max_delay_ms", "buckets",
    "max_megapixels", "max_side", "max_scans", "max_segments", "moderation_limits",
)  # fmt: skip
"""Settings that all actors take from the command's environment."""


def actor_settings(overrides: Mapping[str, object], resources: BatchResources) -> dict[str, object]:
    """Return the settings of each actor, by name.

    The number of threads is that of the reserved CPUs, so that actors on one machine do not oversubscribe it. The
    precision is chosen once, because machines that choose it themselves could give different pixels.

    Args:
        overrides: ``model`` and ``device`` of the command line.

    Raises:
        StartupError: a setting is invalid, or there is no such model.
    """
    settings = local_settings(**overrides)
    values = settings.model_dump()
    chosen = {name: values[name] for name in SHARED}
    entry = find_entry(read_manifest(models_folder() / MANIFEST), settings.model)
    chosen["workers"] = resources.cpus
    if resources.gpus:
        return chosen
    if settings.device not in ("auto", "cpu"):
        raise StartupError(f"--device {settings.device} needs --num-gpus, such as --num-gpus 1")
    if choose_device("cpu") == "cpu" and settings.precision == "auto":
        folders = [models_folder()] if settings.model_dir is None else [models_folder(), settings.model_dir]
        variant = entry.variants.get("int8")
        has_int8 = variant is not None and has_vnni() and locate(variant, folders) is not None
        chosen["precision"] = "int8" if has_int8 else "fp32"
    neighbors = max(1, cpu_quota() // resources.cpus)
    pixels = pixel_capacity(settings, memory_limit() // neighbors) / 1e6
    return chosen | {
        "device": "cpu",
        "lanes": 1,
        "intra_op_threads": resources.cpus,
        "buckets": settings.buckets or str(entry.batch_min),
        "inflight_megapixels": pixels,
    }
