"""Input and output of a batch in the device's own memory, allocated once a batch size (ONNX Runtime's IO binding).

Without it every run allocates both on the device anew. A CUDA graph needs it, since what it replays reads and writes
fixed addresses. Host memory is pageable: the Python API has no pinned memory for the CUDA provider.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort

from .types import F32

_ROUNDS = 5
_ALIKE = 2e-3
"""Largest difference between bound and plain answers; TF32 may round differently."""


class IOBinding:
    """One batch size of one session.

    Args:
        names, shapes: of the one input and the one output, f32 both.
        device: "cuda", or "cpu" where a test has no GPU.
        graph: a number of its own for each batch size replays the run as a CUDA graph; the session must have been made
            with ``enable_cuda_graph``. None: no graph. The runtime keeps graphs by thread, so that the first two runs
            on another thread are a plain one and the capture.
    """

    def __init__(
        self,
        session: Any,
        names: tuple[str, str],
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
        device: str,
        graph: int | None = None,
    ) -> None:
        self._session = session
        self._input, self._output = (
            ort.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32, device) for shape in shapes
        )
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(names[0], self._input)
        self._binding.bind_ortvalue_output(names[1], self._output)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(-1 if graph is None else graph))

    def run(self, batch: F32) -> F32:
        """The output for ``batch``, C-contiguous and of the bound shape; a fresh array."""
        self._input.update_inplace(batch)
        self._session.run_with_iobinding(self._binding, self._options)
        return np.array(self._output.numpy(), np.float32)


def is_better(bound: IOBinding, plain: Callable[[F32], F32], batch: F32) -> bool:
    """Whether it gives the same answers in no more time: medians of paired runs, after those that allocate and capture.

    Raises:
        Exception: whatever the runtime raises when it cannot bind.
    """
    for _ in range(3):
        answer = bound.run(batch)
    if not np.allclose(answer, plain(batch), atol=_ALIKE):
        return False
    return statistics.median(_seconds(bound.run, batch) / _seconds(plain, batch) for _ in range(_ROUNDS)) <= 1.0


def _seconds(run: Callable[[F32], F32], batch: F32) -> float:
    begun = time.perf_counter()
    run(batch)
    return time.perf_counter() - begun
