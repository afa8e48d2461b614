"""Input and output buffers in device memory, allocated once for each batch size (ONNX Runtime's IO binding).

Without it, each run allocates both buffers on the device. A CUDA graph requires it, because the graph reads and writes
fixed memory locations. Host memory is pageable: the Python API has no pinned memory for the CUDA provider.
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
_TOLERANCE = 2e-3
"""Maximum difference between the outputs of bound and plain runs. TF32 may round differently."""


class IOBinding:
    """Bound input and output of one session at one batch size."""

    def __init__(
        self,
        session: Any,
        names: tuple[str, str],
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
        device: str,
        graph: int | None = None,
    ) -> None:
        """
        Args:
            session: an ONNX Runtime session with one input and one output, both f32.
            names: of the input and the output.
            shapes: of the input and the output.
            device: "cuda", or "cpu" in tests.
            graph: number of the CUDA graph, different for each batch size; None runs without a graph. The session must
                have been created with ``enable_cuda_graph``. The runtime stores graphs for each thread, so the first
                two runs on another thread are a plain one and the capture.
        """
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
        """Return the output as a new array.

        Args:
            batch: C-contiguous and of the bound shape.
        """
        self._input.update_inplace(batch)
        self._session.run_with_iobinding(self._binding, self._options)
        return np.array(self._output.numpy(), np.float32)


def is_better(bound: IOBinding, plain: Callable[[F32], F32], batch: F32) -> bool:
    """Return whether bound runs give the same output as plain runs in at most the same time (median of paired runs).

    Raises:
        Exception: the runtime cannot bind the memory.
    """
    for _ in range(3):  # the first runs allocate memory and capture the graph
        output = bound.run(batch)
    if not np.allclose(output, plain(batch), atol=_TOLERANCE):
        return False
    return statistics.median(_seconds(bound.run, batch) / _seconds(plain, batch) for _ in range(_ROUNDS)) <= 1.0


def _seconds(run: Callable[[F32], F32], batch: F32) -> float:
    begun = time.perf_counter()
    run(batch)
    return time.perf_counter() - begun
