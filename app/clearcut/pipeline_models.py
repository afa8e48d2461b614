"""The models of a pipeline, by name: each has its own batcher, configuration and queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from clearcut.admission.model_queue import ModelQueue
from clearcut.inference.batcher import Batcher
from clearcut.observability.timing import RequestTiming

from .cutout import CutoutConfig
from .errors import UnknownModel


@dataclass(frozen=True, slots=True)
class PipelineModel:
    """A model that is ready for requests."""

    batcher: Batcher
    config: CutoutConfig
    queue: ModelQueue | None = None
    """Queue of a further model; None for the default model, which has priority."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.config.model

    def slot(self, timing: RequestTiming) -> AbstractAsyncContextManager[None]:
        """Wait for a slot of the model's queue, and hold it. Raises as ``ModelQueue.slot``."""
        return nullcontext() if self.queue is None else self.queue.slot(timing)

    @property
    def depth(self) -> int:
        """Number of waiting images, without those of jobs."""
        return self.batcher.depth + (self.queue.waiting if self.queue is not None else 0)


class PipelineModels:
    """The models that a request can choose. The first one is the default."""

    def __init__(self, models: Sequence[PipelineModel]) -> None:
        self._models = {model.name: model for model in models}
        self.default = models[0]

    def __iter__(self) -> Iterator[PipelineModel]:
        return iter(self._models.values())

    def __contains__(self, name: object) -> bool:
        return name in self._models

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models, the default first."""
        return tuple(self._models)

    def add(self, model: PipelineModel) -> None:
        """Add a model."""
        self._models[model.name] = model

    def find(self, name: str | None) -> PipelineModel:
        """Return a model by name; None selects the default.

        Raises:
            UnknownModel: no such model is served. The text lists those that are.
        """
        if name is None:
            return self.default
        try:
            return self._models[name]
        except KeyError:
            raise UnknownModel("model", ", ".join(self.names)) from None
