"""Which device the runtime runs on: what it needs, why it cannot be had, and each provider's options."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from .model_files import ModelFile

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
# Fixed shapes, each warmed: cuDNN's heuristic choice costs 2 ms a shape where the exhaustive search costs 600, and an
# arena that grows by what is needed wastes nothing. Convolutions may use TF32; the golden tolerances allow for it.
_CUDA_OPTIONS = {
    "device_id": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "cudnn_conv_use_max_workspace": "1",
    "arena_extend_strategy": "kSameAsRequested",
    "do_copy_in_default_stream": "1",
}


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """What only matters on a GPU."""

    graphs: bool = False
    """Replay each batch size as a CUDA graph: spares the launches of some hundred kernels, forbids any other use."""
    engine_cache: Path | None = None
    """Folder for TensorRT's engines, which take minutes to build; without one they are built at every start."""
    largest_batch: int = 32
    """For TensorRT's shape profile."""


def choose_device(wanted: Literal["cpu", "cuda", "tensorrt", "auto"]) -> Device:
    """``auto`` is CUDA where driver, libraries and build have it, else the CPU; anything else is taken at its word."""
    if wanted == "auto":
        return "cpu" if unavailable_reason("cuda") else "cuda"
    return wanted


def runtime_version() -> str:
    return str(ort.__version__)


def provider_list(device: Device, gpu: GpuOptions, model: ModelFile) -> list[Any]:
    """The provider asked for, then those that take the operators it has not."""
    if device == "cpu":
        return [PROVIDERS["cpu"]]
    cuda = (PROVIDERS["cuda"], _CUDA_OPTIONS | ({"enable_cuda_graph": "1"} if gpu.graphs and device == "cuda" else {}))
    if device == "cuda":
        return [cuda, PROVIDERS["cpu"]]
    return [(PROVIDERS["tensorrt"], _tensorrt_options(gpu, model)), cuda, PROVIDERS["cpu"]]


def _tensorrt_options(gpu: GpuOptions, model: ModelFile) -> dict[str, str]:
    """One engine for all batch sizes, kept on disk: the profile's shapes are the smallest, most usual and largest."""
    entry = model.entry
    name = ort.InferenceSession(model.data, providers=[PROVIDERS["cpu"]]).get_inputs()[0].name
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
    """Why ``device`` cannot be had, or None. Cheap where there is no GPU: the driver is looked for first."""
    if PROVIDERS[device] not in ort.get_available_providers():
        have = ", ".join(ort.get_available_providers())
        return f"this build of onnxruntime has no {PROVIDERS[device]} (it has {have}); install onnxruntime-gpu"
    if reason := _unloadable("libcuda.so.1"):
        return f"the NVIDIA driver is not installed or not passed into the container ({reason})"
    # CUDA and cuDNN may come from pip's nvidia-* wheels, which the loader does not search by itself. The function
    # prints what it does not find; the loads below say it in one line.
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


def first_line(what: object, limit: int = 300) -> str:
    """One line, without the runtime's source locations."""
    text = re.sub(r"\S*/onnxruntime\S*\.(cc|h):\d+ ?", "", " ".join(str(what).split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"
