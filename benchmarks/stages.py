"""CPU time of each stage of a request on one thread, JPEG to PNG at full size, with ``clearcut-s`` in fp32.

Milliseconds of CPU time: the median of the rounds for each photo, then the mean over the four photos. HTTP and the
batcher are not included; ``benchmarks.request_cpu`` measures a whole request.

    python -m benchmarks.stages

Writes results/stages.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np

from benchmarks import report
from benchmarks.photos import jpegs
from clearcut.imaging.compose import compose_for_file
from clearcut.imaging.decode import decode
from clearcut.imaging.encode import encode
from clearcut.imaging.matting.refine import refine
from clearcut.imaging.matting.subject_facts import subject_facts
from clearcut.imaging.options import RemoveOptions
from clearcut.imaging.prepare import prepare
from clearcut.imaging.probe import probe
from clearcut.imaging.types import EdgeModel, ProbeLimits, RawMatte
from clearcut.inference.edge_model import load_edge_model
from clearcut.inference.model_files import load_model
from clearcut.inference.session import OnnxEngine
from clearcut.system import keep_freed_memory

T = TypeVar("T")
MODEL = "clearcut-s"


def measure(image: bytes, engine: OnnxEngine, edge_model: EdgeModel, rounds: int) -> dict[str, float]:
    """Return the median CPU time of each stage in ms."""
    times = defaultdict[str, list[float]](list)
    spec, options, limits = load_model(MODEL).entry.input, RemoveOptions(), ProbeLimits()

    def stage(name: str, work: Callable[[], T]) -> T:
        begun = time.thread_time()
        result = work()
        times[name].append(1e3 * (time.thread_time() - begun))
        return result

    for _ in range(rounds):
        header = stage("probe", lambda: probe(image, limits))
        decoded = stage("decode", lambda header=header: decode(image, header))
        tensor = stage("prepare", lambda decoded=decoded: prepare(decoded, spec)).tensor
        raw = RawMatte(stage("inference", lambda tensor=tensor: engine.run(tensor[None]))[0])
        matte = stage(
            "refine",
            lambda raw=raw, decoded=decoded: refine(raw, decoded, edge_model, options.matte, in_place=True),
        )
        cutout = stage("compose", lambda decoded=decoded, matte=matte: compose_for_file(decoded, matte, options))
        stage("encode", lambda cutout=cutout: encode(cutout, "png"))
        stage("subject facts", lambda decoded=decoded, matte=matte: subject_facts(decoded, matte))
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 10])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    facts = report.machine()
    cv2.setNumThreads(1)
    keep_freed_memory()
    engine = OnnxEngine(load_model(MODEL), "cpu", 1)
    side = load_model(MODEL).entry.input.side
    engine.warm(np.zeros((1, 3, side, side), np.float32))
    edge_model = load_edge_model()
    table = {}
    for megapixels in args.megapixels:
        photos = [measure(image, engine, edge_model, args.rounds) for image in jpegs(megapixels)]
        means = {name: round(statistics.mean(photo[name] for photo in photos), 2) for name in photos[0]}
        table[f"{megapixels:g} MP"] = means
        print(f"{megapixels:g} MP", means, flush=True)
    report.write("stages", "CPU time of each stage in ms", "python -m benchmarks.stages", facts, {"ms": table})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
