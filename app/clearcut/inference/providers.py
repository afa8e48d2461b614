"""Execution providers of ONNX Runtime: selection of the device, availability, and options."""

from __future__ import annotations

import contextlib
import ctypes
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from .model_files import ModelFile
from .runtime import CpuSession, first_line

Device = Literal["cpu", "cuda", "tensorrt"]

PROVIDERS: dict[Device, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_LIBRARIES: dict[Device, str] = {
    "cuda": "libonnxruntime_providers_cuda.so",
    "tensorrt": "libonnxruntime_providers_tensorrt.so",
}
# Shapes are fixed and warmed up. cuDNN's heuristic choice takes 2 ms for each shape, its exhaustive search 600 ms. The
# arena grows by the requested size only. Convolutions may use TF32; the golden tolerances permit it.
_CUDA_OPTIONS = {
    "device_id": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "cudnn_conv_use_max_workspace": "1",
    "arena_extend_strategy": "kSameAsRequested",
    "do_copy_in_default_stream": "1",
}


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """Options that have an effect only on a GPU."""

    graphs: bool = False
    """Run each batch size as a CUDA graph, which replaces hundreds of kernel launches by one."""
    engine_cache: Path | None = None
    """Folder for TensorRT engines. None builds them at each start, which takes minutes."""
    largest_batch: int = 32
    """Largest batch in TensorRT's shape profile."""


def choose_device(requested: Literal["cpu", "cuda", "tensorrt", "auto"]) -> Device:
    """Return the requested device. ``auto`` selects CUDA if it is available, else the CPU."""
    if requested == "auto":
        return "cpu" if unavailable_reason("cuda") else "cuda"
    return requested


def provider_list(device: Device, gpu: GpuOptions, model: ModelFile) -> list[Any]:
    """Return the provider of a device, then those that run the operators it does not support."""
    if device == "cpu":
        return [PROVIDERS["cpu"]]
    cuda = (PROVIDERS["cuda"], _CUDA_OPTIONS | ({"enable_cuda_graph": "1"} if gpu.graphs and device == "cuda" else {}))
    if device == "cuda":
        return [cuda, PROVIDERS["cpu"]]
    return [(PROVIDERS["tensorrt"], _tensorrt_options(gpu, model)), cuda, PROVIDERS["cpu"]]


def _tensorrt_options(gpu: GpuOptions, model: ModelFile) -> dict[str, str]:
    """Return options for one TensorRT engine that covers all batch sizes."""
    entry = model.entry
    name = CpuSession(model.data).input_name
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


def unavailable_reason(device: Device) -> str | None:
    """Return why a device is not available, or None. Without a GPU this is fast: the driver is checked first."""
    if PROVIDERS[device] not in ort.get_available_providers():
        available = ", ".join(ort.get_available_providers())
        return f"this build of onnxruntime has no {PROVIDERS[device]} (it has {available}); install onnxruntime-gpu"
    if reason := _unloadable("libcuda.so.1"):
        return f"the NVIDIA driver is not installed or not passed into the container ({reason})"
    # CUDA and cuDNN may be in pip's nvidia-* wheels, which the loader does not search by itself. ``preload_dlls``
    # prints missing libraries; the checks below report them in one line.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ort.preload_dlls()
    folder = Path(ort.__file__).parent / "capi"
    for library in ("libonnxruntime_providers_shared.so", _LIBRARIES[device]):
        if reason := _unloadable(str(folder / library)):
            return f"a library of {PROVIDERS[device]} is missing ({reason}); see onnxruntime's CUDA requirements"
    return None


def _unloadable(library: str) -> str | None:
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError as exc:
        return first_line(exc)
    return None
