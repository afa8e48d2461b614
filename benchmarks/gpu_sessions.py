"""Throughput of ONNX Runtime sessions alone: plain runs, bound device memory and CUDA graphs, over the batch size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from clearcut.inference.io_binding import IOBinding
from clearcut.inference.model_files import ModelFile
from clearcut.inference.providers import PROVIDERS, Device, GpuOptions, provider_list
from clearcut.inference.runtime import first_line, session_options

WAYS = ("plain", "bound", "graph")
LEAST_RUNS = 3
Run = Callable[[np.ndarray], object]


class Deadline:
    """A point in time after which no further measurement starts."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + seconds

    def left(self) -> float:
        """Return the remaining seconds, 0 or more."""
        return max(0.0, self._until - self._clock())


def open_session(model: ModelFile, device: Device, way: str) -> Any:
    """Return a session of ``model`` on exactly ``device``.

    Raises:
        RuntimeError: the runtime fell back to another provider.
    """
    providers = provider_list(device, GpuOptions(graphs=way == "graph"), model)
    session = ort.InferenceSession(model.data, session_options(1), providers=providers)
    actual = session.get_providers()[0]
    if actual != PROVIDERS[device]:
        raise RuntimeError(f"the runtime fell back to {actual}")
    return session


def runner(session: Any, device: Device, way: str, batch: np.ndarray) -> Run:
    """Return a function that runs one batch, including the copies to and from the device."""
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", "-1")
    if way == "plain":
        return lambda values: session.run([output], {name: values}, options)
    shape = np.shape(session.run([output], {name: batch}, options)[0])
    memory = "cpu" if device == "cpu" else "cuda"
    graph = len(batch) if way == "graph" else None
    return IOBinding(session, (name, output), (batch.shape, shape), memory, graph).run


def rate(run: Run, batch: np.ndarray, seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the images per second of ``run``, from the median of its runs after three runs that do not count."""
    for _ in range(3):  # allocation, choice of algorithms, capture of the graph
        run(batch)
    took: list[float] = []
    until = clock() + seconds
    while len(took) < LEAST_RUNS or clock() < until:
        begun = clock()
        run(batch)
        took.append(clock() - begun)
    return len(batch) / max(statistics.median(took), 1e-9)


def curve(
    make_run: Callable[[np.ndarray], Run], side: int, batches: Iterable[int], seconds: float, deadline: Deadline
) -> dict[str, object]:
    """Return images per second by batch size. A failure ends the curve with its reason, not the benchmark."""
    rows: dict[str, object] = {}
    random = np.random.default_rng(1)
    for count in batches:
        if not deadline.left():
            rows[str(count)] = "not measured: no time left"
            break
        batch = random.normal(0, 1, (count, 3, side, side)).astype(np.float32)
        try:
            rows[str(count)] = round(rate(make_run(batch), batch, seconds), 1)
        except Exception as exc:
            rows[str(count)] = f"failed: {first_line(exc)}"
            break
    return rows


def curves(
    models: Sequence[ModelFile], device: Device, batches: Sequence[int], seconds: float, deadline: Deadline
) -> dict[str, dict[str, object]]:
    """Return the curves by precision and method. A method that fails has its reason."""
    found: dict[str, dict[str, object]] = {}
    for model in models:
        for way in WAYS:
            if way == "graph" and device != "cuda":
                continue
            try:
                session = open_session(model, device, way)
            except Exception as exc:  # one failing method must not lose the figures of the others
                rows: dict[str, object] = {"failed": first_line(exc)}
            else:
                rows = curve(
                    lambda batch, session=session, way=way: runner(session, device, way, batch),  # type: ignore[misc]
                    model.entry.input.side,
                    batches,
                    seconds,
                    deadline,
                )
            found[f"{model.entry.precision}, {way}"] = rows
            print(f"{model.entry.precision}, {way:8}", rows, flush=True)
    return found


def best(rows: dict[str, dict[str, object]], precision: str) -> float:
    """Return the highest images per second of a precision, or 0."""
    numbers = [
        value
        for name, curve in rows.items()
        if name.startswith(f"{precision},")
        for value in curve.values()
        if isinstance(value, float)
    ]
    return max(numbers, default=0.0)
