"""One ONNX Runtime session, on exactly the device that was asked for."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import onnxruntime as ort

from clearcut.errors import StartupError

from .io_binding import IOBinding, is_better
from .model_files import ModelFile
from .providers import PROVIDERS, Device, GpuOptions, first_line, provider_list, unavailable_reason
from .types import F32, FatalEngineError

_DEVICE_LOST = re.compile(r"\b(CUDA|CUDNN|CUBLAS) (failure|error)|CUDNN_STATUS|CUBLAS_STATUS|cudaError", re.I)
_OUT_OF_MEMORY = re.compile(r"failed to allocate|out of memory|ALLOC_FAILED", re.I)
_ERRORS_ONLY = 3
_FATAL_ONLY = 4


class OutOfDeviceMemory(Exception):
    """A batch did not fit. Unlike other device errors this leaves the session usable."""


class OnnxEngine:
    """One session and the batch sizes it has been warmed for. Implements ``types.Engine``.

    Args:
        model: a verified model.
        device: where it runs; never somewhere else instead.
        intra_op_threads: threads inside one run; explicit, since the runtime's own default is one a physical core
            with affinity, whatever the container's quota is.
        gpu: only looked at where ``device`` is one.
        bind: keep input and output in device memory where that is measured no slower: on a GPU. For a test: anywhere.

    Raises:
        StartupError: the device cannot be had (the text says what is missing) or the file is no usable model.
    """

    def __init__(
        self,
        model: ModelFile,
        device: Device,
        intra_op_threads: int,
        gpu: GpuOptions | None = None,
        *,
        bind: bool | None = None,
    ) -> None:
        entry, gpu = model.entry, gpu or GpuOptions()
        self.device: Device = device
        self._side = entry.input.side
        self._output_kind = entry.output
        self._warmed: set[int] = set()
        self._bind = device != "cpu" if bind is None else bind
        self._graphs = gpu.graphs and device == "cuda"
        self._bound: dict[int, IOBinding] = {}
        self.notes: list[str] = []
        """What did not go as hoped, for the operator."""
        if device != "cpu" and (lacking := unavailable_reason(device)):
            raise StartupError(f"Device '{device}' was asked for and cannot be had: {lacking}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERRORS_ONLY if device == "cpu" else _FATAL_ONLY
        # Idle threads that spin would take the cores from decoding and encoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        said = io.StringIO()
        try:
            # When a provider fails the wrapper prints a banner and falls back: neither is wanted.
            with contextlib.redirect_stdout(said):
                providers = provider_list(device, gpu, model)
                self._session = ort.InferenceSession(model.data, options, providers=providers)
        except Exception as exc:
            text = f"Model '{entry.name}': {model.path} cannot be loaded on {device}: {first_line(exc)}"
            raise StartupError(text) from exc
        got = self._session.get_providers()[0]
        if got != PROVIDERS[device]:
            reason = first_line(said.getvalue()) or "its start failed without a reason"
            raise StartupError(f"Device '{device}' was asked for and the runtime fell back to {got}: {reason}")
        self._no_graph = ort.RunOptions()
        self._no_graph.add_run_config_entry("gpu_graph_id", "-1")
        self._input = self._only_input(entry.name)
        self._output = self._session.get_outputs()[0].name

    def _only_input(self, model: str) -> str:
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            got = ", ".join(f"{each.name} {each.type}{each.shape}" for each in inputs)
            raise StartupError(f"Model '{model}': expected one input f32[n,3,{self._side},{self._side}], got {got}")
        return str(inputs[0].name)

    @property
    def warmed(self) -> frozenset[int]:
        """Batch sizes that ``run`` takes."""
        return frozenset(self._warmed)

    def warm(self, batch: F32) -> F32:
        """Run a batch of a size not seen before, and from then on let ``run`` take that size.

        Raises:
            OutOfDeviceMemory: it does not fit; smaller sizes still can.
        """
        values = self._infer(batch)
        if self._bind and batch.shape[0] not in self._bound:
            self._try_to_bind(batch)
        self._warmed.add(batch.shape[0])
        return values

    def run(self, batch: F32) -> F32:
        """f32[n,3,S,S] normalised -> f32[n,S,S] in 0..1, a fresh array; n one of ``warmed``.

        Raises:
            ValueError: n was not warmed (it would cost a GPU seconds to plan for), or the answer is not finite.
            OutOfDeviceMemory, FatalEngineError
        """
        if batch.shape[0] not in self._warmed:
            raise ValueError(f"batch of {batch.shape[0]} was not warmed up; warmed: {sorted(self._warmed)}")
        return self._infer(batch)

    @property
    def bound(self) -> frozenset[int]:
        """Batch sizes whose input and output stay in device memory."""
        return frozenset(self._bound)

    def _try_to_bind(self, batch: F32) -> None:
        count = batch.shape[0]
        shapes = batch.shape, np.shape(self._plain(batch))
        device = "cpu" if self.device == "cpu" else "cuda"
        try:
            made = IOBinding(
                self._session, (self._input, self._output), shapes, device, count if self._graphs else None
            )
            if is_better(made, self._plain, batch):
                self._bound[count] = made
        except Exception as exc:
            if _DEVICE_LOST.search(str(exc)):
                raise
            self.notes.append(f"batches of {count} are not bound to device memory: {first_line(exc)}")

    def _plain(self, batch: F32) -> F32:
        return np.asarray(self._session.run([self._output], {self._input: batch}, self._no_graph)[0], np.float32)

    def _infer(self, batch: F32) -> F32:
        bound = self._bound.get(batch.shape[0])
        try:
            answer = bound.run(batch) if bound is not None else self._plain(batch)
        except Exception as exc:
            text = str(exc)
            if _OUT_OF_MEMORY.search(text):
                raise OutOfDeviceMemory(first_line(exc)) from exc
            if self.device != "cpu" and _DEVICE_LOST.search(text):
                raise FatalEngineError(first_line(exc)) from exc
            raise
        count = batch.shape[0]
        values: F32 = np.asarray(answer, dtype=np.float32)
        if values.size != count * self._side * self._side:
            raise ValueError(f"expected {count} mattes of {self._side}x{self._side}, got shape {values.shape}")
        values = values.reshape(count, self._side, self._side)
        if not np.isfinite(values).all():
            raise ValueError("the model's answer has values that are not finite")
        if self._output_kind == "logit":
            values = 0.5 * (1.0 + np.tanh(0.5 * values))  # the sigmoid, in a form that cannot overflow
        elif self._output_kind == "minmax":
            values = stretched(values)
        return np.clip(values, 0.0, 1.0)


def stretched(values: F32) -> F32:
    """Each matte of f32[n,S,S] from its least and largest value to 0 and 1, if there is a subject (at least 0.5)."""
    least, most = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
    return np.where(most >= 0.5, (values - least) / np.maximum(most - least, 1e-6), values)
