"""The parts of a pipeline, made from the settings. The service and the Python API both use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clearcut.admission.model_queue import ModelQueue
from clearcut.inference.batcher import Batcher
from clearcut.inference.edge_model import load_edge_model
from clearcut.inference.manifest import ModelEntry
from clearcut.inference.moderation import load_moderator
from clearcut.inference.startup.load import ServedModel
from clearcut.inference.types import BatchObserver

from .cutout import CutoutConfig
from .imaging.types import ProbeLimits
from .pipeline_models import PipelineModel, PipelineModels
from .settings import Settings


def create_models(
    settings: Settings,
    models: Sequence[ServedModel],
    configs: Sequence[CutoutConfig],
    capacity: int,
    observers: Sequence[BatchObserver | None],
    on_fatal: Callable[[BaseException], None],
) -> PipelineModels:
    """Return the models of a service, the default first; the threads of their batchers are not started.

    Further models together may have half of the requests, so that the default model stays available.

    Args:
        configs: of the models, in the same order.
        capacity: maximum number of waiting images of the default model.
        observers: receive the events of each model.
        on_fatal: called once when a batcher has failed.
    """
    created: list[PipelineModel] = []
    share = max(1, capacity // (2 * max(1, len(models) - 1)))
    for model, config, observer in zip(models, configs, observers, strict=True):
        further = bool(created)
        batcher = create_batcher(settings, model, share if further else capacity, observer, on_fatal)
        name = model.entry.name
        queue = ModelQueue(name, share, model.plan.lanes, batcher.seconds_per_image) if further else None
        created.append(PipelineModel(batcher, config, queue))
    return PipelineModels(created)


def create_batcher(
    settings: Settings,
    model: ServedModel,
    capacity: int,
    observer: BatchObserver | None = None,
    on_fatal: Callable[[BaseException], None] | None = None,
) -> Batcher:
    """Return a batcher for the engines of a model; its threads are not started.

    Args:
        capacity: maximum number of waiting images.
        observer: receives events.
        on_fatal: called once when the batcher has failed.
    """
    return Batcher(
        model.engines,
        model.plan.buckets,
        capacity=capacity,
        max_delay_s=settings.max_delay_ms / 1000,
        cost_s=model.plan.cost_s,
        observer=observer,
        on_fatal=on_fatal,
    )


def load_cutout_configs(settings: Settings, entries: Sequence[ModelEntry]) -> list[CutoutConfig]:
    """Return the configuration of the steps for each model. Loads the edge and moderation models, so it blocks.

    Raises:
        StartupError: a model file cannot be used.
    """
    limits = ProbeLimits(
        max_pixels=int(settings.max_megapixels * 1e6),
        max_side=settings.max_side,
        max_scans=settings.max_scans,
        max_segments=settings.max_segments,
    )
    moderator = load_moderator(settings.model_dir, limits=settings.moderation_thresholds)
    edge_model = load_edge_model() if any(entry.edges for entry in entries) else None
    return [
        CutoutConfig(
            entry.name,
            entry.input,
            limits,
            edge_model if entry.edges else None,
            moderator,
            entry.second_pass if settings.second_pass else 0.0,
        )
        for entry in entries
    ]
