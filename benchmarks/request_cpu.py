"""CPU time of a request outside the model, here and in another commit.

Both services run at once, with one model thread each, and get the same photos alternately: JPEG in, PNG out, full size,
one request at a time. The kernel's CPU times of the threads are read before and after each round, so other work on the
machine hardly changes the result. The thread of the model is the one that uses most CPU time for small photos.

    python -m benchmarks.request_cpu --base 93f6627

Writes results/request_cpu.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import report
from benchmarks.check import BASE, ROOT, check_out, remove_base
from benchmarks.photos import jpegs
from tests.support.live_server import Server, served

SMALL_MEGAPIXELS = 0.05
Times = Mapping[int, int]
"""CPU time of each thread in ns."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of a request in ms."""

    model: float
    rest: float


def serve(tree: Path, model: str, stack: ExitStack) -> Server:
    """Start the service of a tree with one model thread in fp32."""
    for source in tree.glob("app/**/*.c"):
        library = source.relative_to(tree).with_suffix(".so")
        subprocess.run(["make", "--silent", str(library)], cwd=tree, check=True)
    package = "clearcut" if (tree / "app" / "clearcut").exists() else "app"
    return stack.enter_context(
        served(
            run=[sys.executable, "-m", package, "serve"],
            cwd=tree,
            extra_environment={"PYTHONPATH": os.pathsep.join([str(tree / "app"), str(tree)])},
            model=model,
            precision="fp32",
            lanes="1",
            intra_op_threads="1",
            buckets="1",
        )
    )


def thread_times(server: Server) -> Times:
    """Return the CPU time of each thread (Linux: proc(5), ``schedstat``)."""
    times = {}
    for thread in Path(f"/proc/{server.pid}/task").iterdir():
        try:
            times[int(thread.name)] = int((thread / "schedstat").read_text().split()[0])
        except OSError:  # the thread has ended
            continue
    return times


def spent(before: Times, after: Times) -> dict[int, int]:
    """Return the CPU time of each thread between two readings, ns."""
    return {thread: time - before.get(thread, 0) for thread, time in after.items()}


def send(client: HTTPConnection, images: Sequence[bytes]) -> None:
    """Send each image once, one after the other.

    Raises:
        RuntimeError: a response is not 200.
    """
    for image in images:
        client.request("POST", "/v1/remove", image, {"Content-Type": "image/jpeg"})
        response = client.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {body[:200]!r}")


def find_model_thread(server: Server, client: HTTPConnection) -> int:
    """Return the thread that uses most CPU time for small photos."""
    images = jpegs(SMALL_MEGAPIXELS)
    send(client, images)
    before = thread_times(server)
    send(client, 2 * images)
    times = spent(before, thread_times(server))
    return max(times, key=lambda thread: times[thread])


def measure(servers: Sequence[Server], megapixels: float, rounds: int, repeats: int) -> list[list[Cost]]:
    """Return the costs of the servers, a list for each round."""
    images = jpegs(megapixels)
    clients = [HTTPConnection(server.host, server.port) for server in servers]
    threads = [find_model_thread(*pair) for pair in zip(servers, clients, strict=True)]
    for client in clients:
        send(client, images)
    result = []
    for _ in range(rounds):
        before = [thread_times(server) for server in servers]
        for number in range(repeats):
            for image in images:
                for client in clients if number % 2 else reversed(clients):
                    send(client, [image])
        costs = []
        for server, thread, times in zip(servers, threads, before, strict=True):
            own = spent(times, thread_times(server))
            count = 1e6 * repeats * len(images)
            costs.append(Cost(own[thread] / count, (sum(own.values()) - own[thread]) / count))
        result.append(costs)
    for client in clients:
        client.close()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HEAD", help="commit to compare with")
    parser.add_argument("--model", default="clearcut-s", help="a model that both trees have")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 10])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="requests for each photo in a round")
    args = parser.parse_args()
    facts, rows = report.machine(), {}
    check_out(args.base)
    try:
        with ExitStack() as stack:
            servers = [serve(tree, args.model, stack) for tree in (BASE, ROOT)]
            for megapixels in args.megapixels:
                rounds = measure(servers, megapixels, args.rounds, args.repeats)
                ratios = [now.rest / base.rest for base, now in rounds]
                row = {
                    "ms_outside_model_base": round(statistics.median(base.rest for base, _ in rounds), 2),
                    "ms_outside_model": round(statistics.median(now.rest for _, now in rounds), 2),
                    "ms_model_base": round(statistics.median(base.model for base, _ in rounds), 2),
                    "ms_model": round(statistics.median(now.model for _, now in rounds), 2),
                    "ratio": round(statistics.median(ratios), 3),
                    "ratios": [round(each, 3) for each in ratios],
                }
                rows[f"{megapixels:g} MP"] = row
                print(f"{megapixels:g} MP", row, flush=True)
    finally:
        remove_base()
    report.write(
        "request_cpu",
        "CPU time of a request outside the model against a commit, JPEG to PNG at full size",
        f"python -m benchmarks.request_cpu --base {args.base} --model {args.model}",
        facts,
        {"base": args.base, "model": args.model, "sizes": rows},
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
