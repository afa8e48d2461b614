"""Selection of the model file: 32-bit floats, or a variant with fewer bits if the device runs it well.

A GPU uses the fp16 variant. A CPU uses the int8 variant if the variant passes the self-test there, and if a paired
measurement shows that a run takes at most ``at_most`` of the time of fp32. Otherwise fp32 is used, and the notes of the
plan state why.

x86 CPUs without VNNI (dot products of bytes) add pairs of products in 16 bits, which can overflow. Some models have
correct output there and others have not, so the self-test decides.
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
from .self_test import check_golden, golden_input

Requested = Literal["auto", "fp32", "fp16", "int8"]
ROUNDS = 7
"""Number of paired runs; 0.15 s in total with the default model."""
_VNNI = {"avx512_vnni", "avx_vnni", "avx10", "asimddp", "i8mm"}
"""Flags of /proc/cpuinfo on x86 and Arm. Sources: cpufeatures.h and the arm64 elf_hwcaps documentation of Linux."""


def load_best(
    name: str,
    requested: Requested,
    device: Literal["cpu", "cuda", "tensorrt", "auto"] = "auto",
    *,
    models_dir: Path | None = None,
    extra_dir: Path | None = None,
    make_engine: EngineMaker = OnnxEngine,
    **options: Any,
) -> tuple[ModelFile, LoadedEngines]:
    """Load a model in its best precision, measured, warmed and tested.

    Args:
        name: of the model.
        requested: ``auto`` selects a precision. Any other value is used or refused.
        device: as for ``load_engines``.
        models_dir: as for ``load_model``.
        extra_dir: as for ``load_model``.
        make_engine: as for ``load_engines``.
        options: further arguments of ``load_engines``.

    Raises:
        StartupError: as for ``load_model`` and ``load_engines``. With ``auto``, a failed self-test of a variant only
            causes a note.
    """

    def load(precision: Precision, notes: tuple[str, ...] = ()) -> tuple[ModelFile, LoadedEngines]:
        model = load_model(name, models_dir, extra_dir, precision)
        return model, load_engines(model, device, make_engine=make_engine, notes=notes, **options)

    if requested != "auto":
        return load(requested)
    folder = models_dir or models_folder()
    entry = find_entry(read_manifest(folder / MANIFEST), name)
    folders = [folder] if extra_dir is None else [folder, extra_dir]
    chosen = choose_device(device)
    notes: list[str] = []
    for variant in _candidates(entry, chosen, folders):
        model = load_model(name, models_dir, extra_dir, variant.precision)
        try:
            if chosen == "cpu" and (reason := _slow_reason(model, load_model(name, models_dir, extra_dir))):
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


def further_precision(name: str, requested: Requested, extra_dir: Path | None = None) -> Requested:
    """Return the precision of a model beside the default one: the requested one, or fp32 if the model has no such file.

    Raises:
        StartupError: the manifest has no such model.
    """
    folder = models_folder()
    entry = find_entry(read_manifest(folder / MANIFEST), name)
    if requested in ("auto", "fp32"):
        return requested
    variant = entry.variants.get(requested)
    folders = [folder] if extra_dir is None else [folder, extra_dir]
    return "fp32" if variant is None or locate(variant, folders) is None else requested


def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPU multiplies and adds bytes in one instruction; False if that is unknown."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    return any(_VNNI & set(line.split()) for line in lines if line.lower().startswith(("flags", "features")))


def _candidates(entry: ModelEntry, device: Device, folders: list[Path]) -> Iterator[ModelEntry]:
    """Yield the variant for the device, unless it is made locally and does not exist."""
    variant = entry.variants.get("int8" if device == "cpu" else "fp16")
    if variant is not None and (locate(variant, folders) is not None or not variant.recipe):
        yield variant


def _slow_reason(variant: ModelFile, fp32: ModelFile) -> str | None:
    """Return why fp32 is the better choice on this CPU, or None.

    Raises:
        StartupError: as for ``paired_ratio``.
    """
    ratio = paired_ratio(variant, fp32)
    if ratio > variant.entry.at_most:
        return f"a run takes {ratio:.2f} of the time of fp32, and the maximum is {variant.entry.at_most:g}"
    return None


def paired_ratio(variant: ModelFile, reference: ModelFile, rounds: int = ROUNDS) -> float:
    """Return the time of a run of ``variant`` on one thread, divided by that of ``reference``.

    Each model gets images of its own input size. The result is the median of paired runs, because other load then
    affects both models equally.

    Raises:
        StartupError: one of the models cannot be loaded or run, or ``variant`` fails the self-test.
    """
    models = (variant, reference)
    engines = [OnnxEngine(model, "cpu", 1) for model in models]
    size = reference.entry.batch_min
    batches = [np.repeat(golden_input(model.entry.input)[None], size, axis=0) for model in models]
    runs = list(zip(engines, batches, strict=True))
    try:
        for engine, batch in runs:
            engine.warm(batch)
        check_golden(engines[0], variant, size)
        return statistics.median(_seconds(*runs[0]) / _seconds(*runs[1]) for _ in range(rounds))
    except StartupError:
        raise
    except Exception as exc:
        raise StartupError(f"Model '{reference.entry.name}' fails its first run: {exc}") from exc


def _seconds(engine: OnnxEngine, batch: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    begun = time.perf_counter()
    engine.run(batch)
    return time.perf_counter() - begun
