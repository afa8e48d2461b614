"""Speed on a GPU, and the share of the CPU, in less than ten minutes. One command, no downloads.

* check: driver, device and execution provider. Without a usable GPU the benchmark stops here with the reason.
* raw: images/s of one session over batches of 1 to 64 in fp32 and fp16: plain runs, bound device memory, CUDA graphs.
* service: images/s, p50 and p95 over HTTP at 1 to 256 concurrent requests. 1 megapixel JPEG in, PNG out, at full size
and with ``size=medium``. The best rate with ``size=medium`` is compared with the best of the same precision in ``raw``.
* stages: milliseconds of each stage of a request (Server-Timing), one request at a time.

    python -m benchmarks.gpu [--device cuda|cpu] [--quick]

``--device cpu --quick`` is the dry run for a machine without a GPU. Measurements that no longer fit into ``--seconds``
are left out and reported. Writes results/gpu_DEVICE.json and results/gpu_DEVICE.png.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Sequence

import onnxruntime as ort

from benchmarks import gpu_plot, report
from benchmarks.gpu_sessions import Deadline, best, curves
from benchmarks.load import Target, closed
from benchmarks.photos import jpegs
from clearcut.inference.manifest import MANIFEST, find_entry, models_folder, read_manifest
from clearcut.inference.model_files import ModelFile, load_model
from clearcut.inference.providers import Device, unavailable_reason
from tests.support.live_server import served

BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONCURRENCY = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SIZES = {"full": "/v1/remove", "medium": "/v1/remove?size=medium"}
PRECISIONS: dict[Device, tuple[str, ...]] = {"cuda": ("fp32", "fp16"), "cpu": ("fp32", "fp16", "int8")}
RAW_SHARE = 0.45
"""Share of the time for the sessions; the rest is for the service."""
_SMI = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader")


def device_info(device: Device) -> dict[str, object]:
    """Return driver, device and providers, and the reason why the device cannot be used, or None."""
    try:
        shown = subprocess.run(_SMI, capture_output=True, text=True, timeout=20, check=False)
        gpus = shown.stdout.strip().splitlines() or [shown.stderr.strip() or "no output"]
    except (OSError, subprocess.TimeoutExpired) as exc:
        gpus = [f"nvidia-smi: {exc}"]
    return {
        "gpus": gpus,
        "runtime": ort.__version__,
        "providers": ort.get_available_providers(),
        "unavailable": None if device == "cpu" else unavailable_reason(device),
    }


def model_files(name: str, device: Device) -> list[ModelFile]:
    """Return the files of a model in the precisions that are measured on a device."""
    entry = find_entry(read_manifest(models_folder() / MANIFEST), name)
    precisions = ["fp32", *(each for each in PRECISIONS[device] if each in entry.variants)]
    return [load_model(name, precision=each) for each in precisions]  # type: ignore[arg-type]


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


def concurrency_row(target: Target, images: Sequence[bytes], level: int, seconds: float) -> dict[str, object]:
    """Return throughput and latency of ``level`` concurrent requests, with the statuses if some are not 200."""
    load = closed(target, images, level, seconds)
    row: dict[str, object] = {"images_per_s": round(load.rate, 1)}
    if load.latencies:
        row |= {f"p{share}_ms": round(1000 * load.percentile(share / 100), 1) for share in (50, 95)}
    if set(load.statuses) != {200}:
        row["statuses"] = dict(load.statuses)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--model", default="clearcut-m")
    parser.add_argument("--quick", action="store_true", help="a few settings, a second each")
    parser.add_argument("--seconds", type=float, default=520, help="time for all measurements")
    args = parser.parse_args()
    found = device_info(args.device)
    print(json.dumps(found, indent=2), flush=True)
    if found["unavailable"]:
        print(f"The device {args.device} cannot be used: {found['unavailable']}")
        return 1
    machine = report.machine() | found
    batches, levels, window = (BATCHES[:3], CONCURRENCY[:4:3], 1.0) if args.quick else (BATCHES, CONCURRENCY, 5.0)
    whole, raw_part = Deadline(args.seconds), Deadline(args.seconds * RAW_SHARE)
    raw = curves(model_files(args.model, args.device), args.device, batches, window / 5, raw_part)
    images = jpegs(1)
    service: dict[str, dict[str, object]] = {name: {} for name in SIZES}
    with served(device=args.device, model=args.model, slots="512", deadline_s="120") as server:
        targets = {name: Target(server.host, server.port, path) for name, path in SIZES.items()}
        closed(targets["full"], images, 4, window / 2)
        alone = stages(targets["full"], images[0], 5 if args.quick else 30)
        for level in levels:
            for name, target in targets.items():
                if whole.left() < window:
                    print(f"{level:4} at once, {name}: not measured, no time left", flush=True)
                    continue
                service[name][str(level)] = concurrency_row(target, images, level, window)
                print(f"{level:4} at once, {name:7}", service[name][str(level)], flush=True)
        connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
        connection.request("GET", "/v1/info")
        served_model = json.loads(connection.getresponse().read())["model"]
        connection.close()
    total = alone.pop("total")
    precision = served_model["precision"]
    limit = best(raw, precision)
    peak = max((float(str(row["images_per_s"])) for row in service["medium"].values()), default=0.0)
    figures = {
        "device": args.device,
        "model": args.model,
        "precision_of_the_service": precision,
        "raw_images_per_s": raw,
        "service": service,
        "service_over_raw_at_medium": round(peak / limit, 3) if limit else None,
        "stages_ms": alone,
        "shares": {name: round(value / total, 3) for name, value in alone.items()},
    }
    print(f"service over raw, size=medium, {precision}: {figures['service_over_raw_at_medium']}")
    print(f"stages, ms of {total}:", alone)
    question = "raw session and service on a GPU, and where the rest of the time goes"
    command = f"python -m benchmarks.gpu --device {args.device}{' --quick' if args.quick else ''}"
    report.write(f"gpu_{args.device}", question, command, machine, figures)
    gpu_plot.write(figures, report.RESULTS / f"gpu_{args.device}.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
