"""The parts of a pipeline, made from the settings. The service and the Python API both use them."""

from __future__ import annotations

from collections.abc import Callable

from clearcut.inference.batcher import Batcher
from clearcut.inference.edge_model import load_edge_model
from clearcut.inference.manifest import ModelEntry
from clearcut.inference.moderation import load_moderator
from clearcut.inference.startup.load import ServedModel
from clearcut.inference.types import BatchObserver

from .cutout import CutoutEngine
from .imaging.types import ProbeLimits
from .settings import Settings


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


def load_cutout_engine(settings: Settings, entry: ModelEntry) -> CutoutEngine:
    """Return the input limits and the further models of a model. Loads files, so it blocks.

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
    edge_model = load_edge_model() if entry.edges else None
    return CutoutEngine(entry.name, entry.input, limits, edge_model, moderator)
