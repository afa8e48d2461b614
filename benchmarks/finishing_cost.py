"""Cost of the finishing on one core, beside a plain resize of the matte in the same run.

Photographs with the network's own raw matte, enlarged. The figures are milliseconds of CPU time and of wall time, the
best of all rounds, because other work on the machine can only add time. The plain resize leaves the colors unchanged.
Times are from a process that is bound to one core and keeps freed memory, as the server does (``clearcut.system``).
The memory figure is from another process in which every buffer has its own pages.
"""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from clearcut.imaging.compose import compose
from clearcut.imaging.matting.refine import refine
from clearcut.imaging.options import RemoveOptions
from clearcut.imaging.types import F32, U8, DecodedImage, Matte, MatteOptions, RawMatte
from clearcut.inference.edge_model import load_edge_model
from clearcut.system import keep_freed_memory, release_free_memory

SIZES = {"1 MP": 1e6, "12 MP": 12e6}
ROUNDS = 25


def measure(photos: list[tuple[U8, F32]]) -> dict[str, dict[str, object]]:
    result: dict[str, dict[str, object]] = {}
    for label, pixels in SIZES.items():
        memory, rows = (
            apart(work, prepared, photos, pixels)
            for work, prepared in ((memory_of, map_every_buffer), (time_of, as_the_server))
        )
        for row, extra in zip(rows, memory, strict=True):
            row |= extra
        result[label] = {
            "median": {key: round(float(np.median([row[key] for row in rows])), 2) for key in rows[0]},
            "worst": {key: round(float(np.max([row[key] for row in rows])), 2) for key in rows[0]},
            "photos": len(rows),
        }
    return result


def apart(
    work: Callable[[tuple[U8, F32], float], dict[str, float]],
    prepared: Callable[[], None],
    photos: list[tuple[U8, F32]],
    pixels: float,
) -> list[dict[str, float]]:
    """Run ``work`` on each photo in a new process that was ``prepared``, one after the other."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), prepared) as process:
        return list(process.map(work, photos, itertools.repeat(pixels)))


def as_the_server() -> None:
    keep_freed_memory()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def memory_of(photo: tuple[U8, F32], pixels: float) -> dict[str, float]:
    """Return the memory of refining beyond its input, and with the composed output, as multiples of the image's
    bytes.
    """
    cv2.setNumThreads(1)
    image, matte = enlarged(*photo, pixels)
    edges = load_edge_model()
    steps: dict[str, Callable[[], object]] = {
        "refine": lambda: refine(matte, image, edges),
        "refine and compose": lambda: compose(image, refine(matte, image, edges), RemoveOptions()),
    }
    return {f"{name}, extra memory": extra_memory(step) / image.rgb.nbytes for name, step in steps.items()}


def enlarged(rgb: U8, raw: F32, pixels: float) -> tuple[DecodedImage, RawMatte]:
    scale = (pixels / (rgb.shape[0] * rgb.shape[1])) ** 0.5
    image = DecodedImage(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
    return image, RawMatte(raw)


def time_of(photo: tuple[U8, F32], pixels: float) -> dict[str, float]:
    """Return milliseconds by step, CPU time and wall time."""
    cv2.setNumThreads(1)
    image, matte = enlarged(*photo, pixels)
    edges, options = load_edge_model(), RemoveOptions()

    def naive() -> Matte:
        small = np.clip(matte.values * 255 + 0.5, 0, 255).astype(np.uint8)
        alpha = cv2.resize(small, (image.width, image.height), interpolation=cv2.INTER_LINEAR)
        return Matte(alpha, image.rgb, None, 1.0, 0.0)

    ours = refine(matte, image, edges)
    steps: dict[str, Callable[[], object]] = {
        "naive": naive,
        "naive and compose": lambda: compose(image, naive(), options),
        "refine without color": lambda: refine(matte, image, edges, MatteOptions(False, False)),
        "refine": lambda: refine(matte, image, edges),
        "refine without edge model": lambda: refine(matte, image),
        "refine and compose": lambda: compose(image, refine(matte, image, edges), options),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            cpu, clock = time.thread_time(), time.perf_counter()
            step()
            spent[name].append((time.thread_time() - cpu, time.perf_counter() - clock))
    row = {f"{name}, cpu": 1e3 * min(cpu for cpu, _ in rounds) for name, rounds in spent.items()}
    row |= {f"{name}, clock": 1e3 * min(clock for _, clock in rounds) for name, rounds in spent.items()}
    row["soft, %"] = 100 * float(((ours.alpha > 0) & (ours.alpha < 255)).mean())
    return row


def map_every_buffer() -> None:
    """Configure glibc to take buffers of a page or more from the system one by one and return them (mallopt(3))."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 12)  # M_MMAP_THRESHOLD


def extra_memory(step: Callable[[], object]) -> float:
    """Return by how many bytes the resident set peaks above its size before the step (Linux; 0 elsewhere)."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return 0.0
    step()  # what loads at the first call does not belong to the image
    release_free_memory()
    reset.write_text("5")
    before = resident("VmRSS")
    values = step()
    peak = resident("VmHWM")
    del values
    return max(0.0, peak - before)


def resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1]) * 1024
    return 0.0


def show(result: dict[str, dict[str, object]]) -> None:
    for label, row in result.items():
        print(f"\n{label:40s}{'median':>9s}{'worst':>9s}")
        for key, value in row["median"].items():
            print(f"{key:40s}{value:9.2f}{row['worst'][key]:9.2f}")
