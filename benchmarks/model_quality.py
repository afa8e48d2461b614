"""Quality of the default and a further model, side by side by request, and of the mean of both mattes.

    python -m benchmarks.model_quality --data DIR --model-dir FOLDER [--further isnet-general-use] [--cache FOLDER]

One server serves both models. Each benchmark photo is sent unchanged to ``/v1/remove`` with ``model=NAME``, ``X-Model``
is checked, and the alpha of the PNG is scored as in ``benchmarks.quality``. "mean" is the mean of both alphas. An
interrupted run continues with the alphas in ``--cache``. Also measured: CPU time of a run on one thread, alternating
with the other models, and the peak memory of a session. Writes results/model_quality.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.model_server import add_arguments, remove, served_models
from benchmarks.quality import MEASURES, Photo, as_u8, at_640, bench_photos
from clearcut.errors import StartupError
from clearcut.inference.model_files import ModelFile, load_model
from clearcut.inference.session import OnnxEngine
from clearcut.inference.startup.self_test import golden_input
from clearcut.system import peak_memory
from models.scoring.benchmark import by_group
from models.scoring.segmentation import Scores, score
from tests.support.live_server import Server

U8 = NDArray[np.uint8]
ROUNDS = 5
TIMED = (("clearcut-s", "fp32"), ("clearcut-s", "int8"), ("clearcut-m", "fp32"), ("clearcut-m", "int8"))


def alpha_of(server: Server, photo: Photo, model: str, cache: Path) -> U8:
    """Return the alpha u8[H,W] of a photo, from the cache or from the server.

    Raises:
        RuntimeError: as ``remove``.
    """
    stored = cache / model / f"{photo.stem}.npy"
    if stored.is_file():
        return as_u8(np.load(stored))
    body = remove(server, photo.data, model)
    alpha = as_u8(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)[..., 3])
    stored.parent.mkdir(parents=True, exist_ok=True)
    np.save(stored, alpha)
    return alpha


def costs(models: list[ModelFile]) -> dict[str, dict[str, float]]:
    """Return the median CPU milliseconds of a run on one thread and the peak MB of a session, by model."""
    engines, memory, seconds = {}, {}, defaultdict(list)
    for model in models:
        name = f"{model.entry.name}:{model.entry.precision}"
        with peak_memory() as growth:
            batch = golden_input(model.entry.input)[None]
            engines[name] = OnnxEngine(model, "cpu", 1), batch
            engines[name][0].warm(batch)
        memory[name] = growth[0] / 1e6
    for _ in range(ROUNDS):
        for name, (engine, batch) in engines.items():
            begun = time.thread_time()
            engine.run(batch)
            seconds[name].append(time.thread_time() - begun)
    return {
        name: {"cpu_ms": round(1000 * statistics.median(runs), 1), "memory_mb": round(memory[name])}
        for name, runs in seconds.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder holding bench/")
    add_arguments(parser)
    parser.add_argument("--peers", type=Path, default=Path("../shared/models"), help="folder with u2netp.onnx")
    parser.add_argument("--cache", type=Path, default=Path("demo/model_quality"))
    args = parser.parse_args()
    machine = report.machine()
    rows: dict[str, dict[str, list[Scores]]] = defaultdict(lambda: defaultdict(list))
    photos = list(bench_photos(args.data / "bench"))
    with served_models(args.further, args.model_dir) as (server, default):
        for photo in photos:
            pair = [alpha_of(server, photo, name, args.cache) for name in (default, args.further)]
            mean = as_u8(np.round(np.mean([alpha.astype(np.float32) for alpha in pair], axis=0)))
            for name, alpha in zip((default, args.further, "mean"), (*pair, mean), strict=True):
                rows[name][photo.group].append(score(at_640(alpha), at_640(photo.matte)))
    timed = [load_model(name, precision=precision) for name, precision in TIMED]  # type: ignore[arg-type]
    for name, folder in (("u2netp", args.peers), (args.further, args.model_dir)):
        try:
            timed.append(load_model(name, extra_dir=folder))
        except StartupError as exc:
            print(exc)
    found: dict[str, Any] = {
        "photos": len(photos),
        "models": {
            name: {
                group: {key: round(value, 4) for key, value in zip(MEASURES, values, strict=True)}
                for group, values in by_group(scores).items()
            }
            for name, scores in rows.items()
        },
        "costs": costs(timed),
    }
    report.write(
        "model_quality", "quality of the default and a further model side by side, and of the mean of both mattes",
        "python -m benchmarks.model_quality --model-dir FOLDER", machine, found,
    )  # fmt: skip
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
