"""A session of the matting model on exactly the requested device."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import onnxruntime as ort

from clearcut.errors import StartupError

from .io_binding import IOBinding, is_better
from .model_files import ModelFile
from .providers import PROVIDERS, Device, GpuOptions, provider_list, unavailable_reason
from .runtime import ERRORS_ONLY, FATAL_ONLY, first_line, session_options
from .session_thread import SessionThread, call
from .types import F32, FatalEngineError

_DEVICE_LOST = re.compile(r"\b(CUDA|CUDNN|CUBLAS) (failure|error)|CUDNN_STATUS|CUBLAS_STATUS|cudaError", re.I)
_OUT_OF_MEMORY = re.compile(r"failed to allocate|out of memory|ALLOC_FAILED", re.I)
LARGE_SIDE = 1024
"""Input side from which a session on the CPU keeps no memory pool. A pool doubles the peak of ISNet, 2.2 instead of
1.1 GB, and keeps this memory between runs."""


class OutOfDeviceMemory(Exception):
    """A batch does not fit into device memory. The session stays usable."""


class OnnxEngine:
    """One session and the batch sizes for which it is warmed. Implements ``types.Engine``."""

    def __init__(
        self,
        model: ModelFile,
        device: Device,
        intra_op_threads: int,
        gpu: GpuOptions | None = None,
        thread: SessionThread | None = None,
    ) -> None:
        """
        Args:
            model: a verified model.
            device: the session never runs on another one.
            intra_op_threads: threads of one run.
            gpu: options for a GPU device.
            thread: creates and runs the session; None uses the calling threads.

        Raises:
            StartupError: the device is not available, or the file is not a usable model.
        """
        entry, gpu = model.entry, gpu or GpuOptions()
        self.device: Device = device
        self._side = entry.input.side
        self._output_kind = entry.output
        self._warmed: set[int] = set()
        self._bind = device != "cpu"
        self._graphs = gpu.graphs and device == "cuda"
        self._bound: dict[int, IOBinding] = {}
        self._on_thread = call if thread is None else thread.call
        self.notes: list[str] = []
        """Warnings for the operator."""
        if device != "cpu" and (reason := unavailable_reason(device)):
            raise StartupError(f"Device '{device}' was requested and is not available: {reason}")
        options = session_options(intra_op_threads, log_level=ERRORS_ONLY if device == "cpu" else FATAL_ONLY)
        if device == "cpu" and entry.input.side >= LARGE_SIDE:
            options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        output = io.StringIO()
        try:
            # If a provider fails, the wrapper prints a message and falls back to another provider.
            with contextlib.redirect_stdout(output):
                providers = provider_list(device, gpu, model)
                self._session = self._on_thread(ort.InferenceSession, model.data, options, providers=providers)
        except Exception as exc:
            text = f"Model '{entry.name}': {model.path} cannot be loaded on {device}: {first_line(exc)}"
            raise StartupError(text) from exc
        actual = self._session.get_providers()[0]
        if actual != PROVIDERS[device]:
            reason = first_line(output.getvalue()) or "its start failed without a reason"
            raise StartupError(f"Device '{device}' was requested and the runtime fell back to {actual}: {reason}")
        self._no_graph = ort.RunOptions()
        self._no_graph.add_run_config_entry("gpu_graph_id", "-1")
        self._input = self._only_input(entry.name)
        self._output = self._session.get_outputs()[0].name

    def _only_input(self, model: str) -> str:
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            actual = ", ".join(f"{each.name} {each.type}{each.shape}" for each in inputs)
            raise StartupError(f"Model '{model}': expected one input f32[n,3,{self._side},{self._side}], got {actual}")
        return str(inputs[0].name)

    def warm(self, batch: F32) -> F32:
        """Run a batch and permit its size in ``run``.

        Args:
            batch: f32[n,3,S,S], normalized.

        Raises:
            OutOfDeviceMemory: the batch does not fit; smaller ones may.
        """
        values = self._infer(batch)
        if self._bind and batch.shape[0] not in self._bound:
            self._bind_if_faster(batch)
        self._warmed.add(batch.shape[0])
        return values

    def run(self, batch: F32) -> F32:
        """Return the mattes of a batch, f32[n,S,S] in 0..1, as a new array.

        Args:
            batch: f32[n,3,S,S], normalized; n is a warmed size.

        Raises:
            ValueError: n is not warmed (planning takes seconds on a GPU), or the output is not finite.
            OutOfDeviceMemory: the batch does not fit.
            FatalEngineError: the device is lost.
        """
        if batch.shape[0] not in self._warmed:
            raise ValueError(f"batch of {batch.shape[0]} was not warmed up; warmed: {sorted(self._warmed)}")
        return self._infer(batch)

    @property
    def bound(self) -> frozenset[int]:
        """Batch sizes with input and output buffers in device memory."""
        return frozenset(self._bound)

    def _bind_if_faster(self, batch: F32) -> None:
        count = batch.shape[0]
        shapes = batch.shape, np.shape(self._plain(batch))
        device = "cpu" if self.device == "cpu" else "cuda"
        try:
            binding = IOBinding(
                self._session, (self._input, self._output), shapes, device, count if self._graphs else None
            )
            if is_better(binding, self._plain, batch):
                self._bound[count] = binding
        except Exception as exc:
            if _DEVICE_LOST.search(str(exc)):
                raise
            self.notes.append(f"batches of {count} are not bound to device memory: {first_line(exc)}")

    def _plain(self, batch: F32) -> F32:
        return np.asarray(self._session.run([self._output], {self._input: batch}, self._no_graph)[0], np.float32)

    def _infer(self, batch: F32) -> F32:
        bound = self._bound.get(batch.shape[0])
        try:
            output = self._on_thread(bound.run if bound is not None else self._plain, batch)
        except Exception as exc:
            text = str(exc)
            if _OUT_OF_MEMORY.search(text):
                raise OutOfDeviceMemory(first_line(exc)) from exc
            if self.device != "cpu" and _DEVICE_LOST.search(text):
                raise FatalEngineError(first_line(exc)) from exc
            raise
        count = batch.shape[0]
        values: F32 = np.asarray(output, dtype=np.float32)
        if values.size != count * self._side * self._side:
            raise ValueError(f"expected {count} mattes of {self._side}x{self._side}, got shape {values.shape}")
        values = values.reshape(count, self._side, self._side)
        if not np.isfinite(values).all():
            raise ValueError("the model's output has values that are not finite")
        if self._output_kind == "logit":
            values = 0.5 * (1.0 + np.tanh(0.5 * values))  # sigmoid, in a form that cannot overflow
        elif self._output_kind == "minmax":
            values = stretch_min_max(values)
        return np.clip(values, 0.0, 1.0)


def stretch_min_max(values: F32) -> F32:
    """Stretch each matte from its minimum and maximum to 0 and 1, if its maximum is at least 0.5.

    Args:
        values: f32[n,S,S].
    """
    low, high = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
    return np.where(high >= 0.5, (values - low) / np.maximum(high - low, 1e-6), values)
