"""Time from the start of the process until ``/readyz`` returns 200.

Five warm starts, after one uncounted start that fills the file cache. The probe waits 5 ms between requests, so the
result is at most 5 ms too long.

Run: ``python -m benchmarks.startup``; writes results/startup.json.
"""

from __future__ import annotations

import statistics
import time

from benchmarks import report
from benchmarks.http_request import get
from tests.support.live_server import Server, started

STARTS = 5
TARGET_S = 3.0


def ready(server: Server) -> bool:
    return get(server, "/readyz", timeout_s=10).status == 200


def start() -> dict[str, float]:
    """Return the seconds from the start of the process to listening, and to ready."""
    begun = time.perf_counter()
    with started() as server:
        server.port = server.event("starting")["port"]
        listening = time.perf_counter()
        while not ready(server):
            time.sleep(0.005)
        done = time.perf_counter()
        assert server.stop() == 0, server.transcript()
    return {"listening_s": listening - begun, "ready_s": done - begun}


def main() -> int:
    machine = report.machine()
    start()
    runs = [start() for _ in range(STARTS)]
    median = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    each = [round(run["ready_s"], 3) for run in runs]
    report.write(
        "startup",
        "time from the start of the process until /readyz returns 200",
        "python -m benchmarks.startup",
        machine,
        {"median": median, "target_s": TARGET_S, "runs_ready_s": each},
    )
    print(f"{'listening, median':<32}{median['listening_s']} s")
    print(f"{'ready, median of ' + str(STARTS):<32}{median['ready_s']} s (target: under {TARGET_S:g} s)")
    print(f"{'ready, each':<32}{', '.join(str(value) for value in each)}")
    return 0 if median["ready_s"] < TARGET_S else 1


if __name__ == "__main__":
    raise SystemExit(main())
