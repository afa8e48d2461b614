"""Which of a model's files runs here: 32-bit floats, or a variant of fewer bits where the device is good at that.

A GPU takes the fp16 variant. A CPU takes the int8 variant if it has VNNI (dot products of bytes: without them int8 is
no quicker than floats), if a paired measurement says that a run takes at most ``at_most`` times fp32's time, and if its
golden answer is right. Else it is fp32, and the plan's notes say why.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST, ModelEntry, Precision, find_entry, models_folder, read_manifest
from clearcut.inference.model_files import ModelFile, load_model, locate
from clearcut.inference.providers import Device, choose_device
from clearcut.inference.session import OnnxEngine

from .autotune import EngineMaker, LoadedEngines, load_engines
from .self_test import golden_input

ROUNDS = 7
"""Pairs of runs that decide; with the default network some 0.15 s."""
_VNNI = {"avx512_vnni", "avx_vnni", "avx10", "asimddp", "i8mm"}
"""Flags of /proc/cpuinfo, x86's and Arm's; sources: the kernel's cpufeatures.h and arm64's elf_hwcaps documentation."""


def load_best(
    name: str,
    wanted: Literal["auto", "fp32", "fp16", "int8"],
    device: Literal["cpu", "cuda", "tensorrt", "auto"] = "auto",
    *,
    models_dir: Path | None = None,
    extra_dir: Path | None = None,
    cpuinfo: Path = Path("/proc/cpuinfo"),
    make_engine: EngineMaker = OnnxEngine,
    **options: Any,
) -> tuple[ModelFile, LoadedEngines]:
    """The model and its engines, ready to serve.

    Args:
        wanted: a precision by name is taken or refused; ``auto`` chooses.
        options: passed on to ``load_engines``.

    Raises:
        StartupError: as ``load_model`` and ``load_engines``; in ``auto`` a variant's failed self-test is only noted.
    """

    def load(precision: Precision, notes: tuple[str, ...] = ()) -> tuple[ModelFile, LoadedEngines]:
        model = load_model(name, models_dir, extra_dir, precision)
        return model, load_engines(model, device, make_engine=make_engine, notes=notes, **options)

    if wanted != "auto":
        return load(wanted)
    folder = models_dir or models_folder()
    entry = find_entry(read_manifest(folder / MANIFEST), name)
    folders = [folder] if extra_dir is None else [folder, extra_dir]
    chosen = choose_device(device)
    notes: list[str] = []
    for variant in _candidates(entry, chosen, folders):
        model = load_model(name, models_dir, extra_dir, variant.precision)
        try:
            if chosen == "cpu" and (reason := _not_worth_it(model, load_model(name, models_dir, extra_dir), cpuinfo)):
                notes.append(f"{variant.precision} is not used: {reason}")
                continue
            loaded = load_engines(model, device, make_engine=make_engine, **options)
        except StartupError as exc:
            notes.append(f"{variant.precision} is not used: {exc}")
            continue
        if loaded.plan.device == chosen:
            return model, loaded
        notes.append(f"{variant.precision} is not used: {'; '.join(loaded.plan.notes)}")
    return load("fp32", tuple(notes))


def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies and adds bytes in one instruction; False where that cannot be found out."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    return any(_VNNI & set(line.split()) for line in lines if line.lower().startswith(("flags", "features")))


def _candidates(entry: ModelEntry, device: Device, folders: list[Path]) -> Iterator[ModelEntry]:
    """The variants meant for the device, except for those that are made locally and have not been."""
    variant = entry.variants.get("int8" if device == "cpu" else "fp16")
    if variant is not None and (locate(variant, folders) is not None or not variant.recipe):
        yield variant


def _not_worth_it(variant: ModelFile, plain: ModelFile, cpuinfo: Path) -> str | None:
    """Why fp32 is the better choice on this CPU, or None."""
    if not has_vnni(cpuinfo):
        return "this CPU has no VNNI"
    ratio = paired_ratio(variant, plain)
    if ratio > variant.entry.at_most:
        return f"a run takes {ratio:.2f} of fp32's time here, at most {variant.entry.at_most:g} is worth it"
    return None


def paired_ratio(variant: ModelFile, plain: ModelFile, rounds: int = ROUNDS) -> float:
    """A run's time on one thread over the other's: the median of pairs, so that a busy moment hits both.

    Raises:
        StartupError: one of them cannot be loaded.
    """
    engines = [OnnxEngine(model, "cpu", 1) for model in (variant, plain)]
    picture = np.repeat(golden_input(plain.entry.input)[None], plain.entry.batch_min, axis=0)
    try:
        for engine in engines:
            engine.warm(picture)
        return statistics.median(_seconds(engines[0], picture) / _seconds(engines[1], picture) for _ in range(rounds))
    except Exception as exc:
        raise StartupError(f"Model '{plain.entry.name}' fails its first run: {exc}") from exc


def _seconds(engine: OnnxEngine, picture: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    begun = time.perf_counter()
    engine.run(picture)
    return time.perf_counter() - begun
