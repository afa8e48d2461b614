"""Effect of a backlog of jobs on synchronous requests: p95 at half the capacity, without and with 1,000 waiting jobs.

``python -m benchmarks.job_backlog [--rounds 20] [--seconds 3]``. Two servers have the same settings, one without a job
and one with more than 1,000. The same open load goes to each in short turns while the other one is stopped (SIGSTOP),
so that other load on the machine affects both alike. The load, the images and the servers share the machine.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from benchmarks import report
from benchmarks.load import Load, Target, closed, opened
from benchmarks.photos import jpegs
from tests.support.callback_server import CallbackServer, callback_server
from tests.support.live_server import Server, served

BACKLOG, MARGIN = 1000, 700
MEGAPIXELS = 1.0
SETTLE_S = 0.3
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def order(server: Server, callbacks: CallbackServer, count: int) -> None:
    """Create this many jobs with an image URL."""

    def some(numbers: range) -> None:
        with httpx.Client(base_url=server.base_url, timeout=60, trust_env=False) as client:
            for number in numbers:
                answer = client.post("/api/v1/remove-bg", data={"image_url": f"{callbacks.base_url}/job.jpg?{number}"})
                assert answer.status_code == 202, answer.text

    with ThreadPoolExecutor(4) as many:
        list(many.map(some, [range(start, count, 4) for start in range(4)]))


def depth(server: Server) -> int:
    """Return the number of jobs that wait or run."""
    time.sleep(2.5)  # until the gauge is updated
    text = httpx.get(f"{server.base_url}/metrics", timeout=60, trust_env=False).text
    names = ("clearcut_jobs_queued ", "clearcut_jobs_processing ")
    return sum(int(float(line.split()[1])) for line in text.splitlines() if line.startswith(names))


def summary(load: Load) -> dict[str, float]:
    times = {f"{name}_ms": round(1000 * load.percentile(share), 1) for name, share in SHARES.items()}
    return {"rate": round(load.rate, 2), "statuses": dict(load.statuses), **times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3)
    args = parser.parse_args()
    machine = report.machine()
    images = jpegs(MEGAPIXELS)
    without, parallel = Load(), Load()
    with (
        tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second,
        callback_server(**{"job.jpg": images[0]}) as callbacks,
        served(jobs="sqlite", data_dir=first, fetch_allow=callbacks.allow) as idle,
        served(jobs="sqlite", data_dir=second, fetch_allow=callbacks.allow) as busy,
    ):  # fmt: skip
        targets = [Target("127.0.0.1", server.port, "/v1/remove?format=png") for server in (idle, busy)]
        for target in targets:
            closed(target, images, 4, 2.0)
        saturation = closed(targets[0], images, 8, 6.0).rate
        order(busy, callbacks, BACKLOG + MARGIN)
        depths = [depth(busy)]
        for _ in range(args.rounds):
            for load, target, other in ((without, targets[0], busy), (parallel, targets[1], idle)):
                other.signal(signal.SIGSTOP)
                time.sleep(SETTLE_S)
                round_ = opened(target, images, saturation / 2, args.seconds)
                other.signal(signal.SIGCONT)
                load.latencies += round_.latencies
                load.statuses += round_.statuses
                load.seconds += round_.seconds
        depths.append(depth(busy))
    growth = {
        name: round(parallel.percentile(share) / without.percentile(share) - 1, 3) for name, share in SHARES.items()
    }
    figures = {
        "megapixels": MEGAPIXELS, "saturation": round(saturation, 2), "turns": args.rounds, "seconds": args.seconds,
        "without": summary(without), "with": summary(parallel), "growth": growth,
        "backlog": {"before": depths[0], "after": depths[1]},
    }  # fmt: skip
    print(json.dumps(figures, indent=2))
    question = "How much slower is a synchronous call at half saturation while 1,000 jobs wait?"
    report.write("job_backlog", question, "python -m benchmarks.job_backlog", machine, figures)


if __name__ == "__main__":
    main()
