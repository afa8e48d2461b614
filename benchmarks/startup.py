"""How long from starting the process to ``/readyz`` answering 200?

Five warm starts, after one that is not counted and fills the file cache. Between asking and asking again lie 5 ms:
the result is at most that much too long.

Run: ``python -m benchmarks.startup``; writes results/startup.json.
"""

from __future__ import annotations

import datetime
import http.client
import json
import statistics
import time
from pathlib import Path

from benchmarks.mixed_load import machine, versions
from tests.served import Server, started

RESULT = Path(__file__).parent / "results" / "startup.json"
STARTS = 5
TARGET_S = 3.0


def ready(server: Server) -> bool:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def start() -> dict[str, float]:
    """Seconds from the start of the process to listening, and to ready."""
    begun = time.perf_counter()
    with started() as server:
        server.listening()
        listening = time.perf_counter()
        while not ready(server):
            time.sleep(0.005)
        done = time.perf_counter()
        assert server.stop() == 0, server.transcript()
    return {"listening_s": listening - begun, "ready_s": done - begun}


def main() -> int:
    facts = machine()
    start()
    runs = [start() for _ in range(STARTS)]
    median = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    result = {
        "question": "from starting the process to /readyz answering 200",
        "command": "python -m benchmarks.startup",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": facts,
        "versions": versions(),
        "median": median,
        "target_s": TARGET_S,
        "runs_ready_s": [round(run["ready_s"], 3) for run in runs],
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{'listening, median':<32}{median['listening_s']} s")
    print(f"{'ready, median of ' + str(STARTS):<32}{median['ready_s']} s (target: under {TARGET_S:g} s)")
    print(f"{'ready, each':<32}{', '.join(str(value) for value in result['runs_ready_s'])}")
    return 0 if median["ready_s"] < TARGET_S else 1


if __name__ == "__main__":
    raise SystemExit(main())
