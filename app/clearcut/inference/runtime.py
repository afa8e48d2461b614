"""Sessions of ONNX Runtime and texts of its errors."""

from __future__ import annotations

import re
from typing import Any

import onnxruntime as ort

ERRORS_ONLY = 3
FATAL_ONLY = 4
"""Values of ``log_severity_level``."""
_SOURCE_LOCATION = re.compile(r"\S*/onnxruntime\S*\.(cc|h):\d+ ?")


def runtime_version() -> str:
    """Return the version of ONNX Runtime."""
    return str(ort.__version__)


def session_options(threads: int, *, log_level: int = ERRORS_ONLY) -> ort.SessionOptions:
    """Return options of a session that runs operators one after the other.

    Args:
        threads: threads of one run. The default of the runtime is one for each physical core, whatever the quota is.
        log_level: minimum severity of the runtime's log lines.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = log_level
    # Spinning idle threads would take CPU time from decoding and encoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class CpuSession:
    """A session with one thread on the CPU. Several threads may call ``run`` at once."""

    def __init__(self, data: bytes, *, arena: bool = True) -> None:
        """
        Args:
            data: content of an ONNX file with one input and one output.
            arena: keep a memory pool. It grows with the number of concurrent calls and never shrinks.

        Raises:
            Exception: the runtime cannot load the file.
        """
        options = session_options(1)
        options.enable_cpu_mem_arena = arena
        self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.input_name = str(self._session.get_inputs()[0].name)

    def run(self, values: Any) -> Any:
        """Return the first output for an input array."""
        return self._session.run(None, {self.input_name: values})[0]


def first_line(message: object, limit: int = 300) -> str:
    """Return a message as one line, without the runtime's source locations.

    Args:
        message: an exception or a text.
        limit: maximum length in characters.
    """
    text = _SOURCE_LOCATION.sub("", " ".join(str(message).split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"
