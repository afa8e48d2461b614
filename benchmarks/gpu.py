"""Speed on a GPU, and the share of the CPU. One command, no downloads.

* raw: images/s of one session over batches of 1 to 64, for every precision whose file exists, plain, with bound
device memory where that is faster, and as a CUDA graph.
* service: images/s, p50 and p95 over HTTP at 1 to 256 concurrent requests, 1 megapixel JPEG in, PNG out.
* stages: share of each stage in a request's time (Server-Timing, one at a time and at the busiest setting).

    python -m benchmarks.gpu [--device cuda|cpu] [--quick]

``--device cpu --quick`` is the dry run for a machine without a GPU. Writes results/gpu_DEVICE.json.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from benchmarks import report
from benchmarks.load import Target, closed
from benchmarks.photos import jpegs
from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST, find_entry, models_folder, read_manifest
from clearcut.inference.model_files import load_model
from clearcut.inference.providers import Device, GpuOptions
from clearcut.inference.session import OnnxEngine, OutOfDeviceMemory
from tests.support.live_server import served

BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONCURRENCY = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WAYS = {"plain": {"bind": False}, "bound": {"bind": True}, "graph": {"bind": True, "gpu": GpuOptions(graphs=True)}}
COMMAND = "python -m benchmarks.gpu"


def raw(name: str, device: Device, batches: Sequence[int], seconds: float) -> dict[str, dict[str, object]]:
    """Return images per second by precision and method over the batch size. Others give the reason."""
    entry = find_entry(read_manifest(models_folder() / MANIFEST), name)
    curves: dict[str, dict[str, object]] = {}
    for precision in ("fp32", *entry.variants):
        for way, options in WAYS.items():
            if way == "graph" and device != "cuda":
                continue
            try:
                engine = OnnxEngine(load_model(name, precision=precision), device, 1, **options)  # type: ignore[arg-type]
                curves[f"{precision}, {way}"] = curve(engine, entry.input.side, batches, seconds)
            except StartupError as exc:
                curves[f"{precision}, {way}"] = {"not had": str(exc)}
    return curves


def curve(engine: OnnxEngine, side: int, batches: Sequence[int], seconds: float) -> dict[str, object]:
    rows: dict[str, object] = {}
    random = np.random.default_rng(1)
    for count in batches:
        batch = random.normal(0, 1, (count, 3, side, side)).astype(np.float32)
        try:
            engine.warm(batch)
        except OutOfDeviceMemory as exc:
            rows[str(count)] = f"out of memory: {exc}"
            break
        except Exception as exc:  # one failing method must not lose the figures of the others
            rows[str(count)] = f"failed: {exc}"
            break
        took: list[float] = []
        until = time.perf_counter() + seconds
        while len(took) < 3 or time.perf_counter() < until:
            begun = time.perf_counter()
            engine.run(batch)
            took.append(time.perf_counter() - begun)
        rows[str(count)] = round(count / statistics.median(took), 1)
    return rows | {"bound batches": sorted(engine.bound)}


def stages(target: Target, image: bytes, times: int) -> dict[str, float]:
    """Return the median milliseconds of each stage of one request at a time, from Server-Timing."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=120)
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(times):
        connection.request("POST", target.path, image, {"Content-Type": target.content_type})
        response = connection.getresponse()
        response.read()
        for part in response.headers["Server-Timing"].split(","):
            name, *parameters = part.strip().split(";")
            duration = next(p.removeprefix("dur=") for p in parameters if p.startswith("dur="))
            took[name].append(float(duration))
    connection.close()
    return {name: round(statistics.median(values), 2) for name, values in took.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--model", default="clearcut-m")
    parser.add_argument("--quick", action="store_true", help="a few settings, a second each")
    args = parser.parse_args()
    facts = report.machine()
    batches, levels, seconds = (BATCHES[:3], CONCURRENCY[:4:3], 1.0) if args.quick else (BATCHES, CONCURRENCY, 6.0)
    curves = raw(args.model, args.device, batches, seconds / 4)
    for way, rows in curves.items():
        print(f"{way:16}", rows, flush=True)
    images = jpegs(1)
    rows: dict[str, object] = {}
    with served(device=args.device, model=args.model, slots="512", deadline_s="120") as server:
        target = Target(server.host, server.port, "/v1/remove")
        closed(target, images, 4, seconds / 2)
        alone = stages(target, images[0], 5 if args.quick else 30)
        for level in levels:
            load = closed(target, images, level, seconds)
            assert set(load.statuses) == {200}, load.statuses
            rows[str(level)] = {
                "images_per_s": round(load.rate, 1),
                **{f"p{share}_ms": round(1000 * load.percentile(share / 100), 1) for share in (50, 95)},
            }
            print(f"{level:4} at once  ", rows[str(level)], flush=True)
    total = alone.pop("total")
    shares = {name: round(value / total, 3) for name, value in alone.items()}
    print(f"stages, ms of {total}:", alone)
    figures = {
        "device": args.device,
        "raw_images_per_s": curves,
        "service_1mp": rows,
        "stages_ms": alone,
        "shares": shares,
    }
    question = "raw session and service on a GPU, and where the rest of the time goes"
    command = f"{COMMAND} --device {args.device}{' --quick' if args.quick else ''}"
    report.write(f"gpu_{args.device}", question, command, facts, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
