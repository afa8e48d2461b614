"""ONNX Runtime, and the only place that knows it: one session on exactly the device that was asked for."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort

from app.errors import StartupError
from app.inference.bound import Bound, is_better
from app.inference.files import Model
from app.inference.types import F32, FatalEngineError

Device = Literal["cpu", "cuda", "tensorrt"]

_PROVIDERS: dict[Device, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_LIBRARIES: dict[Device, str] = {
    "cuda": "libonnxruntime_providers_cuda.so",
    "tensorrt": "libonnxruntime_providers_tensorrt.so",
}
# Fixed shapes, each warmed: cuDNN's heuristic choice costs 2 ms a shape where the exhaustive search costs 600, and an
# arena that grows by what is needed wastes nothing. Convolutions may use TF32; the golden tolerances allow for it.
_CUDA_OPTIONS = {
    "device_id": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "cudnn_conv_use_max_workspace": "1",
    "arena_extend_strategy": "kSameAsRequested",
    "do_copy_in_default_stream": "1",
}
_DEVICE_LOST = re.compile(r"\b(CUDA|CUDNN|CUBLAS) (failure|error)|CUDNN_STATUS|CUBLAS_STATUS|cudaError", re.I)
_OUT_OF_MEMORY = re.compile(r"failed to allocate|out of memory|ALLOC_FAILED", re.I)
_ERRORS_ONLY = 3
_FATAL_ONLY = 4


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """What only matters on a GPU."""

    graphs: bool = False
    """Replay each batch size as a CUDA graph: spares the launches of some hundred kernels, forbids any other use."""
    engine_cache: Path | None = None
    """Folder for TensorRT's engines, which take minutes to build; without one they are built at every start."""
    largest_batch: int = 32
    """For TensorRT's shape profile."""


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
        model: Model,
        device: Device,
        intra_op_threads: int,
        gpu: GpuOptions = GpuOptions(),
        *,
        bind: bool | None = None,
    ) -> None:
        entry = model.entry
        self.device: Device = device
        self._side = entry.input.side
        self._output_kind = entry.output
        self._warmed: set[int] = set()
        self._bind = device != "cpu" if bind is None else bind
        self._graphs = gpu.graphs and device == "cuda"
        self._bound: dict[int, Bound] = {}
        self.notes: list[str] = []
        """What did not go as hoped, for the operator."""
        if device != "cpu" and (missing := _missing(device)):
            raise StartupError(f"Device '{device}' was asked for and cannot be had: {missing}")
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
                providers = _provider_list(device, gpu, model)
                self._session = ort.InferenceSession(model.data, options, providers=providers)
        except Exception as exc:
            text = f"Model '{entry.name}': {model.path} cannot be loaded on {device}: {_short(exc)}"
            raise StartupError(text) from exc
        got = self._session.get_providers()[0]
        if got != _PROVIDERS[device]:
            reason = _short(said.getvalue()) or "its start failed without a reason"
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
            made = Bound(self._session, (self._input, self._output), shapes, device, count if self._graphs else None)
            if is_better(made, self._plain, batch):
                self._bound[count] = made
        except Exception as exc:
            if _DEVICE_LOST.search(str(exc)):
                raise
            self.notes.append(f"batches of {count} are not bound to device memory: {_short(exc)}")

    def _plain(self, batch: F32) -> F32:
        return np.asarray(self._session.run([self._output], {self._input: batch}, self._no_graph)[0], np.float32)

    def _infer(self, batch: F32) -> F32:
        bound = self._bound.get(batch.shape[0])
        try:
            answer = bound.run(batch) if bound is not None else self._plain(batch)
        except Exception as exc:
            text = str(exc)
            if _OUT_OF_MEMORY.search(text):
                raise OutOfDeviceMemory(_short(exc)) from exc
            if self.device != "cpu" and _DEVICE_LOST.search(text):
                raise FatalEngineError(_short(exc)) from exc
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


def choose_device(wanted: Literal["cpu", "cuda", "tensorrt", "auto"]) -> Device:
    """``auto`` is CUDA where driver, libraries and build have it, else the CPU; anything else is taken at its word."""
    if wanted == "auto":
        return "cpu" if _missing("cuda") else "cuda"
    return wanted


def runtime_version() -> str:
    return str(ort.__version__)


def _provider_list(device: Device, gpu: GpuOptions, model: Model) -> list[Any]:
    """The provider asked for, then those that take the operators it has not."""
    if device == "cpu":
        return [_PROVIDERS["cpu"]]
    cuda = (_PROVIDERS["cuda"], _CUDA_OPTIONS | ({"enable_cuda_graph": "1"} if gpu.graphs and device == "cuda" else {}))
    if device == "cuda":
        return [cuda, _PROVIDERS["cpu"]]
    return [(_PROVIDERS["tensorrt"], _tensorrt_options(gpu, model)), cuda, _PROVIDERS["cpu"]]


def _tensorrt_options(gpu: GpuOptions, model: Model) -> dict[str, str]:
    """One engine for all batch sizes, kept on disk: the profile's shapes are the smallest, most usual and largest."""
    entry = model.entry
    name = ort.InferenceSession(model.data, providers=[_PROVIDERS["cpu"]]).get_inputs()[0].name
    largest = min(gpu.largest_batch, entry.batch_max)
    shape = f"3x{entry.input.side}x{entry.input.side}"
    options = {
        "device_id": "0",
        "trt_fp16_enable": "1",
        "trt_layer_norm_fp32_fallback": "1",
        "trt_profile_min_shapes": f"{name}:{entry.batch_min}x{shape}",
        "trt_profile_opt_shapes": f"{name}:{max(entry.batch_min, largest // 2)}x{shape}",
        "trt_profile_max_shapes": f"{name}:{largest}x{shape}",
    }
    if gpu.engine_cache is not None:
        folder = str(gpu.engine_cache)
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": folder}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": folder}
    return options


def _missing(device: Device) -> str | None:
    """Why ``device`` cannot be had, or None. Cheap where there is no GPU: the driver is looked for first."""
    if _PROVIDERS[device] not in ort.get_available_providers():
        have = ", ".join(ort.get_available_providers())
        return f"this build of onnxruntime has no {_PROVIDERS[device]} (it has {have}); install onnxruntime-gpu"
    if reason := _unloadable("libcuda.so.1"):
        return f"the NVIDIA driver is not installed or not passed into the container ({reason})"
    # CUDA and cuDNN may come from pip's nvidia-* wheels, which the loader does not search by itself. The function
    # prints what it does not find; the loads below say it in one line.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ort.preload_dlls()
    folder = Path(ort.__file__).parent / "capi"
    for library in ("libonnxruntime_providers_shared.so", _LIBRARIES[device]):
        if reason := _unloadable(str(folder / library)):
            return f"a library of {_PROVIDERS[device]} is missing ({reason}); see onnxruntime's CUDA requirements"
    return None


def _unloadable(library: str) -> str | None:
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError as exc:
        return _short(exc)
    return None


def _short(what: object, limit: int = 300) -> str:
    """One line, without the runtime's source locations."""
    text = re.sub(r"\S*/onnxruntime\S*\.(cc|h):\d+ ?", "", " ".join(str(what).split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"
