"""CPU time of a request outside the model, here and in another commit.

Both services run at once, with one model thread each, and get the same photos alternately: JPEG in, PNG out, full size,
one request at a time. The kernel's CPU times of the process and of the model's thread are read before and after each
round, so other work on the machine hardly changes the result. The thread of the model is the one that uses most CPU
time for small photos.

    python -m benchmarks.request_cpu --base 93f6627

Writes results/request_cpu.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import report
from benchmarks.check import BASE, ROOT, check_out, remove_base
from benchmarks.photos import jpegs
from tests.support.live_server import Server, served

SMALL_MEGAPIXELS = 0.05
_PROCESS_CLOCK = 2
"""Kind of the clock that counts the CPU time of a process in ns (Linux: CPUCLOCK_SCHED)."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU time in ns since the start of a service."""

    process: int
    """Of all threads, including those that have ended."""
    model: int
    """Of the model's thread."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of a request in ms."""

    model: float
    outside_model: float


def compile_libraries(tree: Path) -> None:
    """Compile the optional libraries of a tree.

    Raises:
        RuntimeError: a library is missing although a C compiler is installed; the service would run without it.
    """
    has_compiler = any(shutil.which(each) for each in ("cc", "gcc", "clang"))
    for source in tree.glob("app/**/*.c"):
        library = source.relative_to(tree).with_suffix(".so")
        subprocess.run(["make", "--silent", str(library)], cwd=tree, check=True)
        if has_compiler and not (tree / library).exists():
            raise RuntimeError(f"{library} was not compiled in {tree}")


def serve(tree: Path, model: str, stack: ExitStack) -> Server:
    """Start the service of a tree with one model thread in fp32."""
    compile_libraries(tree)
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


def thread_times(pid: int) -> dict[int, int]:
    """Return the CPU time of each running thread in ns (Linux: proc(5), ``schedstat``)."""
    times = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            times[int(thread.name)] = int((thread / "schedstat").read_text().split()[0])
        except OSError:  # the thread has ended
            continue
    return times


def read_cpu_times(pid: int, model_thread: int) -> CpuTimes:
    """Return the CPU times of a process (Linux: clock_getcpuclockid(3)) and of its model thread.

    Raises:
        RuntimeError: the model thread has ended.
    """
    process = time.clock_gettime_ns(~pid << 3 | _PROCESS_CLOCK)
    threads = thread_times(pid)
    if model_thread not in threads:
        raise RuntimeError(f"the model thread {model_thread} of process {pid} has ended")
    return CpuTimes(process, threads[model_thread])


def cost_of_requests(before: CpuTimes, after: CpuTimes, requests: int) -> Cost:
    """Return the cost of each of ``requests`` requests between two readings."""
    process, model = after.process - before.process, after.model - before.model
    return Cost(model / requests / 1e6, (process - model) / requests / 1e6)


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
    before = thread_times(server.pid)
    send(client, 2 * images)
    after = thread_times(server.pid)
    return max(after, key=lambda thread: after[thread] - before.get(thread, 0))


def measure(servers: Sequence[Server], megapixels: float, rounds: int, repeats: int) -> list[list[Cost]]:
    """Return the costs of the servers, a list for each round."""
    images = jpegs(megapixels)
    clients = [HTTPConnection(server.host, server.port) for server in servers]
    threads = [find_model_thread(*pair) for pair in zip(servers, clients, strict=True)]
    for client in clients:
        send(client, images)
    result = []
    for _ in range(rounds):
        before = [read_cpu_times(server.pid, thread) for server, thread in zip(servers, threads, strict=True)]
        for number in range(repeats):
            for image in images:
                for client in clients if number % 2 else reversed(clients):
                    send(client, [image])
        after = [read_cpu_times(server.pid, thread) for server, thread in zip(servers, threads, strict=True)]
        requests = repeats * len(images)
        result.append([cost_of_requests(*pair, requests) for pair in zip(before, after, strict=True)])
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
                ratios = [now.outside_model / base.outside_model for base, now in rounds]
                row = {
                    "ms_outside_model_base": round(statistics.median(base.outside_model for base, _ in rounds), 2),
                    "ms_outside_model": round(statistics.median(now.outside_model for _, now in rounds), 2),
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
