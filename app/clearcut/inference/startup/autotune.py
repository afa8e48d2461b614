"""Creates, measures and tests the engines of a model, and chooses sessions, threads and batch sizes.

On a CPU either several sessions with one thread or one session with several threads is faster, depending on model and
machine, and larger batches are rarely faster. Both are measured in about a second. On a GPU one session takes batches
of 1, 2, 4 … 32. Values in the settings are used unchanged. Each batch size runs before it is offered, and a model with
wrong output is refused (``self_test.py``).
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
MIN_SPEEDUP = 1.05
"""A more complex plan must give this many times the images/s of the simpler one, which has a lower latency."""
BUDGET_S = 1.0
"""Time for optional measurements, seconds. The necessary runs of a slow model may take longer."""

logger = logging.getLogger(__name__)


class WarmEngine(Engine, Protocol):
    """An engine that must be warmed for each batch size."""

    def warm(self, batch: F32) -> F32:
        """Run a batch and permit its size in ``run``."""
        ...


EngineMaker = Callable[[ModelFile, Device, int], WarmEngine]


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """How a model runs; ``/v1/info`` shows it."""

    device: str
    lanes: int
    """Number of parallel sessions, each with its own thread."""
    intra_op_threads: int
    """Threads of one run."""
    buckets: tuple[int, ...]
    """Warmed batch sizes, in rising order."""
    cost_s: Mapping[int, float]
    """Measured seconds of a run by bucket, with all sessions running."""
    images_per_s: float
    """Throughput of all sessions together, at the best bucket."""
    notes: tuple[str, ...] = ()
    """Warnings for the operator."""

    def to_dict(self) -> dict[str, object]:
        """Return the plan for JSON."""
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
    """Engines that are warmed for ``plan.buckets``."""

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
    """Create, measure, warm and test the engines of a model. This takes seconds and partly holds the GIL.

    Args:
        model: a verified model.
        device: ``auto`` selects a GPU if it is available, else the CPU.
        lanes: number of sessions; 0 is measured.
        intra_op_threads: threads of a session; 0 is measured.
        buckets: batch sizes; empty is measured. The model's smallest batch is always added.
        cpus: number of CPUs; None uses all that the process may use.
        budget_s: time for optional measurements, seconds.
        make_engine: creates an engine.
        notes: first notes of the plan.

    Raises:
        StartupError: the device is not available, the model does not accept a batch size, or a run or the self-test
            fails.
    """
    entry = model.entry
    if invalid := [bucket for bucket in buckets if not entry.batch_min <= bucket <= entry.batch_max]:
        raise StartupError(
            f"Batch size {invalid[0]} is not possible: model '{entry.name}' accepts {entry.batch_min} to "
            f"{entry.batch_max}"
        )
    selected, plan_notes = choose_device(device), list(notes)
    if selected != "cpu":
        try:
            engines = [make_engine(model, selected, intra_op_threads or 1) for _ in range(lanes or 1)]
        except StartupError as exc:
            if device != "auto":
                raise
            selected = "cpu"
            plan_notes.append(f"running on the CPU: {exc}")
    trial = _Trial(model, budget_s)
    if selected == "cpu":
        layouts = _cpu_layouts(cpus or cpu_quota(), lanes, intra_op_threads)
        engines = trial.choose(layouts, make_engine)
    usable = [bucket for bucket in (CPU_BUCKETS if selected == "cpu" else GPU_BUCKETS) if bucket <= entry.batch_max]
    trial.add_buckets(engines, buckets or usable, only_faster=selected == "cpu" and not buckets)
    _self_test(trial, engines, model, buckets_requested=bool(buckets))
    plan = ExecutionPlan(
        device=selected,
        lanes=len(engines),
        intra_op_threads=trial.threads or intra_op_threads or 1,
        buckets=tuple(sorted(trial.cost_s)),
        cost_s=dict(sorted(trial.cost_s.items())),
        images_per_s=max(len(engines) * bucket / cost for bucket, cost in trial.cost_s.items()),
        notes=(*plan_notes, *trial.notes, *(note for engine in engines for note in getattr(engine, "notes", ()))),
    )
    fields = {"name": entry.name, "precision": entry.precision, **plan.to_dict()}
    logger.info("model measured", extra={"fields": fields})
    return LoadedEngines(tuple(engines), plan)


def _cpu_layouts(cpus: int, lanes: int, threads: int) -> list[tuple[int, int]]:
    """Return (sessions, threads of a session) to measure, the one with the lowest latency first."""
    if lanes or threads:
        return [(lanes or max(1, cpus // threads), threads or max(1, cpus // lanes))]
    return [(1, cpus), (cpus, 1)] if cpus > 1 else [(1, 1)]


def _self_test(trial: _Trial, engines: Sequence[WarmEngine], model: ModelFile, *, buckets_requested: bool) -> None:
    """Refuse a model with wrong output, and disable batches if their output differs from that of single images.

    Args:
        buckets_requested: the settings name the batch sizes, so wrong batches are refused instead of disabled.

    Raises:
        StartupError: a run failed, or an engine's golden output differs from the manifest's.
    """
    try:
        for bucket in trial.cost_s if 1 in trial.cost_s else ():
            if bucket > 1 and not batch_equals_singles(engines[0], model.entry.input, bucket):
                text = f"the output of a batch of {bucket} differs from that of single images"
                if buckets_requested:
                    raise StartupError(f"Model '{model.entry.name}': {text}; unset CLEARCUT_BUCKETS")
                trial.cost_s = {1: trial.cost_s[1]}
                trial.notes.append(f"batches are disabled: {text}")
                break
        for engine in engines:
            check_golden(engine, model, min(trial.cost_s))
    except StartupError:
        raise
    except Exception as exc:
        raise StartupError(f"Model '{model.entry.name}' fails its self-test: {exc}") from exc


class _Trial:
    """Measurements within a time budget. ``cost_s`` has the accepted buckets."""

    def __init__(self, model: ModelFile, budget_s: float) -> None:
        self._model = model
        self._until = time.monotonic() + budget_s
        self._window_s = budget_s / 10
        self._images = [golden_input(model.entry.input, variant) for variant in range(VARIANTS)]
        self.threads = 0
        self.cost_s: dict[int, float] = {}
        self.notes: list[str] = []

    def choose(self, layouts: Sequence[tuple[int, int]], make_engine: EngineMaker) -> list[WarmEngine]:
        """Return the engines of the layout with the highest throughput at the smallest batch."""
        best: list[WarmEngine] = []
        best_rate = 0.0
        smallest = self._model.entry.batch_min
        for lanes, threads in layouts:
            if best and time.monotonic() > self._until:
                self.notes.append(
                    f"{lanes} sessions of {threads} threads were not measured: the time for measurement ended"
                )
                break
            engines = [make_engine(self._model, "cpu", threads) for _ in range(lanes)]
            cost = self._run(engines, smallest)
            if lanes / cost > best_rate * (MIN_SPEEDUP if best else 1.0):
                best, best_rate = engines, lanes / cost
                self.threads, self.cost_s = threads, {smallest: cost}
        return best

    def add_buckets(self, engines: Sequence[WarmEngine], buckets: Sequence[int], *, only_faster: bool) -> None:
        """Warm and measure batch sizes in rising order.

        Args:
            engines: all engines of the plan.
            buckets: batch sizes.
            only_faster: stop at the first one that is not faster, or that would exceed the time budget.
        """
        smallest = self._model.entry.batch_min
        for bucket in sorted({smallest, *buckets} - set(self.cost_s)):
            last = max(self.cost_s, default=bucket)
            likely_s = 2 * self.cost_s.get(last, 0.0) * bucket / last
            if only_faster and time.monotonic() + likely_s > self._until:
                self.notes.append(f"batches of {bucket} and more were not measured: the time for measurement ended")
                return
            try:
                cost = self._run(engines, bucket)
            except StartupError:
                raise
            except Exception as exc:
                self.notes.append(f"batches of {bucket} and more are disabled: {exc}")
                return
            if only_faster and bucket / cost < MIN_SPEEDUP * max(size / each for size, each in self.cost_s.items()):
                return
            self.cost_s[bucket] = cost

    def _run(self, engines: Sequence[WarmEngine], bucket: int) -> float:
        """Warm all engines for a batch size, run them in parallel and return the median seconds of a run.

        Raises:
            StartupError: the smallest batch failed, or the device did. A larger batch raises the engine's exception.
        """
        batch = np.stack([self._images[index % len(self._images)] for index in range(bucket)])

        def measure(engine: WarmEngine) -> list[float]:
            until = time.perf_counter() + self._window_s
            runs: list[float] = []
            while not runs or time.perf_counter() < until:
                begun = time.perf_counter()
                engine.run(batch)
                runs.append(time.perf_counter() - begun)
            return runs

        try:
            with ThreadPoolExecutor(len(engines), thread_name_prefix="warm-up") as pool:
                # The first two runs plan and allocate memory: the second one takes half as long again as later ones.
                list(pool.map(lambda engine: engine.warm(batch), engines))
                if time.monotonic() < self._until:
                    list(pool.map(lambda engine: engine.run(batch), engines))
                return statistics.median([run for runs in pool.map(measure, engines) for run in runs])
        except Exception as exc:
            if bucket == self._model.entry.batch_min or isinstance(exc, FatalEngineError):
                raise StartupError(f"Model '{self._model.entry.name}' fails its first run: {exc}") from exc
            raise
