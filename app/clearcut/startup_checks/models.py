"""Start-up checks of models and of the memory with loaded models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from clearcut.inference.edge_model import OnnxEdgeModel, find_edge_model
from clearcut.inference.manifest import models_folder
from clearcut.inference.moderation import HOW_TO_GET, load_moderator
from clearcut.inference.runtime import runtime_version
from clearcut.inference.startup.load import load_served_models
from clearcut.settings import Settings
from clearcut.system import cpu_quota, memory_high_water, memory_limit, memory_used

from .findings import Finding, StartupCheck, mib
from .memory_estimate import estimate_memory


def check_model(settings: Settings) -> Iterator[Finding]:
    """All models and the edge model must load, run and pass the self-test, within the memory of models."""
    models = load_served_models(settings, save_plan=False)
    for model in models:
        entry, plan = model.entry, model.plan
        text = f"{entry.name}, {entry.licence}, {model.path}, correct sha256 {entry.sha256}, {mib(model.memory_bytes)}"
        yield Finding("ok", "model", text)
        yield Finding(
            "ok",
            "provider",
            f"{entry.name}: {plan.device} (onnxruntime {runtime_version()}), {plan.lanes} session(s) of "
            f"{plan.intra_op_threads} thread(s), batches of {', '.join(map(str, plan.buckets))}, about "
            f"{plan.images_per_s:.1f} images/s",
        )
        yield from (Finding("note", "provider", f"{entry.name}: {note}") for note in plan.notes)
        if (seconds := min(plan.cost_s.values())) > settings.deadline_s:
            yield Finding(
                "error", "provider", f"{entry.name}: a run takes {seconds:.1f} s, more than CLEARCUT_DEADLINE_S"
            )
    if any(model.entry.edges for model in models):
        yield from StartupCheck(_check_edge_model, "edges").findings(settings)
    yield Finding("ok", "self-test", f"correct for {', '.join(model.entry.name for model in models)}")


def _check_edge_model(_: Settings) -> Iterator[Finding]:
    path, data = find_edge_model(models_folder())
    OnnxEdgeModel(path, data)
    yield Finding("ok", "edges", f"{path}, correct sha256 {hashlib.sha256(data).hexdigest()}")


def check_moderation(settings: Settings) -> Iterator[Finding]:
    """A classifier for moderation must load and run."""
    moderator = load_moderator(settings.model_dir, limits=settings.moderation_thresholds)
    if moderator is None:
        yield Finding("ok", "moderation", f"not run, because there is no classifier. {HOW_TO_GET}")
        return
    limits = ", ".join(f"{label} {limit:g}" for label, limit in moderator.thresholds.items())
    yield Finding("ok", "moderation", f"{moderator.file}, correct sha256 {moderator.sha256}, refuses at {limits}")


def check_memory(settings: Settings) -> Iterator[Finding]:
    """The largest permitted load must fit into the memory limit. Run this check with the model loaded."""
    # A run of a large further model takes more memory than the loaded model. The peak of its start includes a run.
    base = memory_high_water() if settings.further_models else memory_used()
    yield memory_finding(settings, base, memory_limit(), settings.workers or cpu_quota())


def memory_finding(settings: Settings, base: int, limit: int, workers: int) -> Finding:
    """Compare the memory of the largest permitted load with ``limit``; see ``estimate_memory`` for the arguments."""
    load = estimate_memory(settings, base, limit, workers)
    if (smallest := load.base + load.largest_image) > limit:
        text = (
            f"one image of CLEARCUT_MAX_MEGAPIXELS={settings.max_megapixels:g} needs {mib(smallest)}, and the limit "
            f"is {mib(limit)}: lower it, or provide more memory"
        )
        return Finding("error", "memory", text)
    text = (
        f"{mib(load.base)} with the model, {mib(load.images)} for images, {mib(load.uploads)} for {settings.slots} "
        f"requests with the largest bodies and files, {mib(load.responses)} for responses, {mib(load.replays)} for "
        f"stored responses: {mib(load.total)} of {mib(limit)}"
    )
    if load.total > limit:
        text += ". Lower CLEARCUT_SLOTS, CLEARCUT_MAX_BYTES or CLEARCUT_INFLIGHT_MEGAPIXELS"
        return Finding("note", "memory", text)
    return Finding("ok", "memory", text)
