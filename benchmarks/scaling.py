"""Throughput and latency by concurrency, megapixels and load, including overload.

Closed loop over concurrency and megapixels, then an open loop (constant arrival rate, timed from the scheduled start
of each request) at 70 % of the measured peak and in three runs at 300 % of it. Goodput at 3x is the median of the
three ratios of successful responses per second to the mean of the peaks before and after the run. The client runs on
the same CPUs and needs more of them at 3x than at the peak; ``goodput_per_free_cpu`` is the same ratio per CPU that
the client leaves. Writes a table, results/scaling.json and results/scaling.png.

Run: ``python -m benchmarks.scaling``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import urllib.request
from typing import Any

import cv2
import numpy as np

from benchmarks import report
from benchmarks.http_load import summarize
from benchmarks.load import Load, Target, closed, opened
from benchmarks.photos import jpegs
from tests.support.live_server import served

CONCURRENCY = (1, 2, 4, 8, 16, 32)
MEGAPIXELS = (0.3, 1, 4, 10, 24)


def plot(curve: dict[int, dict[str, object]]) -> np.ndarray:
    """Return images per second over concurrency as a bar chart, u8[H,W,3]."""
    canvas = np.full((320, 520, 3), 255, np.uint8)
    top = max(float(str(row["images_per_s"])) for row in curve.values())
    for place, (concurrency, row) in enumerate(curve.items()):
        rate = float(str(row["images_per_s"]))
        left, height = 40 + place * 78, round(220 * rate / top)
        cv2.rectangle(canvas, (left, 270 - height), (left + 50, 270), (160, 90, 40), -1)
        cv2.putText(
            canvas, f"{rate:.0f}", (left, 262 - height), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA
        )
        cv2.putText(
            canvas, str(concurrency), (left + 12, 290), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA
        )
    title = "images/s, 1 MP, default model, by requests at once"
    cv2.putText(canvas, title, (40, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def per_cpu(load: Load, cpus: int) -> float:
    """Return the successful responses per second and CPU that the client does not use."""
    return load.rate / (cpus - load.client_cpu_s / load.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    args = parser.parse_args()
    machine = report.machine()
    images = {megapixels: jpegs(megapixels) for megapixels in MEGAPIXELS}
    with served() as server:
        target = Target(server.host, server.port, "/v1/remove")
        with urllib.request.urlopen(f"{server.base_url}/v1/info") as response:
            plan = json.load(response)["inference"]
        closed(target, images[1], 4, 3)
        by_concurrency = {n: summarize(closed(target, images[1], n, args.seconds)) for n in CONCURRENCY}
        by_megapixels = {m: summarize(closed(target, images[m], 4, args.seconds)) for m in MEGAPIXELS}
        peak = statistics.median(closed(target, images[1], 8, args.seconds).rate for _ in range(3))
        steady = opened(target, images[1], 0.7 * peak, 3 * args.seconds)
        peaks, floods = [], []
        for _ in range(3):  # alternating, because the speed of a shared machine changes within a minute
            peaks.append(closed(target, images[1], 8, args.seconds))
            floods.append(opened(target, images[1], 3 * peak, 2 * args.seconds))
        peaks.append(closed(target, images[1], 8, args.seconds))
    turns = list(zip(floods, peaks, peaks[1:], strict=False))
    goodput = statistics.median(2 * flood.rate / (before.rate + after.rate) for flood, before, after in turns)
    cpus = len(os.sched_getaffinity(0))
    per_free_cpu = statistics.median(
        2 * per_cpu(flood, cpus) / (per_cpu(before, cpus) + per_cpu(after, cpus)) for flood, before, after in turns
    )
    figures: dict[str, Any] = {
        "plan": plan,
        "by_concurrency_1mp": {str(n): row for n, row in by_concurrency.items()},
        "by_megapixels_4_at_once": {str(m): row for m, row in by_megapixels.items()},
        "peak_images_per_s": round(peak, 2),
        "at_70_percent": summarize(steady)
        | {"p95_over_p50": round(steady.percentile(0.95) / steady.percentile(0.5), 2)},
        "at_3x": summarize(floods[-1])
        | {
            "goodput_over_peak": round(goodput, 3),
            "goodput_per_free_cpu": round(per_free_cpu, 3),
            "client_cpus": round(statistics.median(each.client_cpu_s / each.seconds for each in floods), 3),
            "client_cpus_at_peak": round(statistics.median(each.client_cpu_s / each.seconds for each in peaks), 3),
        },
    }
    report.write("scaling", "throughput and latency against load", "python -m benchmarks.scaling", machine, figures)
    cv2.imwrite(str(report.RESULTS / "scaling.png"), plot(by_concurrency))
    for name, rows in figures.items():
        if isinstance(rows, dict) and name.startswith("by_"):
            print(name, *[f"  {key:>5}: {row}" for key, row in rows.items()], sep="\n")
        else:
            print(f"{name:<20}{rows}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
