"""Loading a model ready to serve: sessions, their shape of parallelism and the batch sizes, chosen by measurement.

On a CPU either several sessions of one thread or one session of several threads is faster, depending on the network
and the machine, and batches seldom pay; both are measured in about a second. On a GPU one session takes batches of
1, 2, 4 … 32. Whatever the settings give is taken as given. Every batch size is run before it is offered, and the
whole is refused when the model's answers are not the manifest's (``golden.py``).
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from clearcut.errors import StartupError
from clearcut.inference.model_files import ModelFile
from clearcut.inference.providers import Device, choose_device
from clearcut.inference.session import OnnxEngine
from clearcut.inference.types import F32, Engine, FatalEngineError
from clearcut.system import cpu_quota

from .self_test import VARIANTS, batch_equals_singles, check_golden, golden_input

CPU_BUCKETS = (1, 2, 4, 8)
GPU_BUCKETS = (1, 2, 4, 8, 16, 32)
WORTHWHILE = 1.05
"""A second shape must give this many times the images/s of a simpler one, which has the shorter latency."""
BUDGET_S = 1.0
"""Time for trying things out; what must be run anyway may take longer with a slow model."""

logger = logging.getLogger(__name__)


class WarmEngine(Engine, Protocol):
    def warm(self, batch: F32) -> F32: ...


EngineMaker = Callable[[ModelFile, Device, int], WarmEngine]


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """What was chosen, as ``/v1/info`` shows it."""

    device: str
    lanes: int
    """Sessions side by side, each with its own thread."""
    intra_op_threads: int
    """Threads inside one run."""
    buckets: tuple[int, ...]
    """Batch sizes that are warmed up, rising."""
    cost_s: Mapping[int, float]
    """Seconds a run of each bucket took, with all lanes running."""
    images_per_s: float
    """Of all lanes together, at the best bucket."""
    notes: tuple[str, ...] = ()
    """What is not as one would expect, for the operator."""

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "device": self.device,
            "lanes": self.lanes,
            "intra_op_threads": self.intra_op_threads,
            "buckets": list(self.buckets),
            "cost_ms": {str(bucket): round(1000 * cost, 2) for bucket, cost in self.cost_s.items()},
            "images_per_s": round(self.images_per_s, 1),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class LoadedEngines:
    """Engines, one a lane, warmed for ``plan.buckets``."""

    engines: tuple[WarmEngine, ...]
    plan: ExecutionPlan


def load_engines(
    model: ModelFile,
    device: Literal["cpu", "cuda", "tensorrt", "auto"] = "auto",
    *,
    lanes: int = 0,
    intra_op_threads: int = 0,
    buckets: Sequence[int] = (),
    cpus: int | None = None,
    budget_s: float = BUDGET_S,
    make_engine: EngineMaker = OnnxEngine,
    notes: Sequence[str] = (),
) -> LoadedEngines:
    """Build, measure, warm and test. Takes seconds and holds the GIL for parts of them: call before serving.

    Args:
        lanes, intra_op_threads: 0 chooses.
        buckets: empty chooses; the model's smallest batch is always added.
        cpus: CPUs to plan for; by default those that the process may use.
        notes: what the plan's notes begin with.

    Raises:
        StartupError: the device cannot be had, a bucket is outside the model's range, a run fails, or the self-test.
    """
    entry = model.entry
    if odd := [bucket for bucket in buckets if not entry.batch_min <= bucket <= entry.batch_max]:
        raise StartupError(
            f"Batch size {odd[0]} is not possible: model '{entry.name}' takes {entry.batch_min} to {entry.batch_max}"
        )
    chosen, said = choose_device(device), list(notes)
    if chosen != "cpu":
        try:
            engines = [make_engine(model, chosen, intra_op_threads or 1) for _ in range(lanes or 1)]
        except StartupError as exc:
            if device != "auto":
                raise
            chosen = "cpu"
            said.append(f"running on the CPU: {exc}")
    trial = _Trial(model, budget_s)
    if chosen == "cpu":
        shapes = _cpu_shapes(cpus or cpu_quota(), lanes, intra_op_threads)
        engines = trial.choose(shapes, make_engine)
    usable = [bucket for bucket in (CPU_BUCKETS if chosen == "cpu" else GPU_BUCKETS) if bucket <= entry.batch_max]
    trial.add_buckets(engines, buckets or usable, frugal=chosen == "cpu" and not buckets)
    _self_test(trial, engines, model, asked=bool(buckets))
    plan = ExecutionPlan(
        device=chosen,
        lanes=len(engines),
        intra_op_threads=trial.threads or intra_op_threads or 1,
        buckets=tuple(sorted(trial.cost_s)),
        cost_s=dict(sorted(trial.cost_s.items())),
        images_per_s=max(len(engines) * bucket / cost for bucket, cost in trial.cost_s.items()),
        notes=(*said, *trial.notes, *(note for engine in engines for note in getattr(engine, "notes", ()))),
    )
    logger.info("model %s %s: %s", entry.name, entry.precision, plan.to_dict())
    return LoadedEngines(tuple(engines), plan)


def _cpu_shapes(cpus: int, lanes: int, threads: int) -> list[tuple[int, int]]:
    """(lanes, threads a lane) worth trying, the one of shortest latency first."""
    if lanes or threads:
        return [(lanes or max(1, cpus // threads), threads or max(1, cpus // lanes))]
    return [(1, cpus), (cpus, 1)] if cpus > 1 else [(1, 1)]


def _self_test(trial: _Trial, engines: Sequence[WarmEngine], model: ModelFile, *, asked: bool) -> None:
    """Refuse a model that answers wrongly; give up batching when a batch's answers are not its singles'.

    Args:
        asked: whether the batch sizes were asked for by name; then they are refused and not given up.

    Raises:
        StartupError: a run failed, the golden picture's matte is not the manifest's on some lane, or see ``asked``.
    """
    try:
        for bucket in trial.cost_s if 1 in trial.cost_s else ():
            if bucket > 1 and not batch_equals_singles(engines[0], model.entry.input, bucket):
                text = f"in a batch of {bucket} the model answers otherwise than alone"
                if asked:
                    raise StartupError(f"Model '{model.entry.name}': {text}; unset CLEARCUT_BUCKETS")
                trial.cost_s = {1: trial.cost_s[1]}
                trial.notes.append(f"batching is off: {text}")
                break
        for engine in engines:
            check_golden(engine, model, min(trial.cost_s))
    except StartupError:
        raise
    except Exception as exc:
        raise StartupError(f"Model '{model.entry.name}' fails its self-test: {exc}") from exc


class _Trial:
    """Measurements within a time budget. ``cost_s`` has the buckets kept so far."""

    def __init__(self, model: ModelFile, budget_s: float) -> None:
        self._model = model
        self._until = time.monotonic() + budget_s
        self._window_s = budget_s / 10
        self._pictures = [golden_input(model.entry.input, variant) for variant in range(VARIANTS)]
        self.threads = 0
        self.cost_s: dict[int, float] = {}
        self.notes: list[str] = []

    def choose(self, shapes: Sequence[tuple[int, int]], make_engine: EngineMaker) -> list[WarmEngine]:
        """The fastest of the shapes at the smallest batch."""
        best: list[WarmEngine] = []
        best_rate = 0.0
        smallest = self._model.entry.batch_min
        for lanes, threads in shapes:
            if best and time.monotonic() > self._until:
                self.notes.append(
                    f"{lanes} sessions of {threads} threads were not tried: too slow for the time at start"
                )
                break
            engines = [make_engine(self._model, "cpu", threads) for _ in range(lanes)]
            cost = self._run(engines, smallest)
            if lanes / cost > best_rate * (WORTHWHILE if best else 1.0):
                best, best_rate = engines, lanes / cost
                self.threads, self.cost_s = threads, {smallest: cost}
        return best

    def add_buckets(self, engines: Sequence[WarmEngine], buckets: Sequence[int], *, frugal: bool) -> None:
        """Warm and measure batch sizes, rising.

        Args:
            frugal: stop at the first one that does not pay, or that would take longer than the budget allows.
        """
        smallest = self._model.entry.batch_min
        for bucket in sorted({smallest, *buckets} - set(self.cost_s)):
            last = max(self.cost_s, default=bucket)
            likely_s = 2 * self.cost_s.get(last, 0.0) * bucket / last
            if frugal and time.monotonic() + likely_s > self._until:
                self.notes.append(f"batches of {bucket} and more were not tried: too slow for the time at start")
                return
            try:
                cost = self._run(engines, bucket)
            except StartupError:
                raise
            except Exception as exc:
                self.notes.append(f"batches of {bucket} and more are off: {exc}")
                return
            if frugal and bucket / cost < WORTHWHILE * max(size / each for size, each in self.cost_s.items()):
                return
            self.cost_s[bucket] = cost

    def _run(self, engines: Sequence[WarmEngine], bucket: int) -> float:
        """Warm all engines for a batch size, then run them side by side; seconds a run (median).

        Raises:
            StartupError: the smallest batch failed, or the device did. Larger ones raise what the engine raised.
        """
        batch = np.stack([self._pictures[place % len(self._pictures)] for place in range(bucket)])

        def timed(engine: WarmEngine) -> list[float]:
            until = time.perf_counter() + self._window_s
            runs: list[float] = []
            while not runs or time.perf_counter() < until:
                begun = time.perf_counter()
                engine.run(batch)
                runs.append(time.perf_counter() - begun)
            return runs

        try:
            with ThreadPoolExecutor(len(engines), thread_name_prefix="warm-up") as pool:
                # The first run plans and pages memory in: it is not to be timed.
                list(pool.map(lambda engine: engine.warm(batch), engines))
                return statistics.median([run for runs in pool.map(timed, engines) for run in runs])
        except Exception as exc:
            if bucket == self._model.entry.batch_min or isinstance(exc, FatalEngineError):
                raise StartupError(f"Model '{self._model.entry.name}' fails its first run: {exc}") from exc
            raise
