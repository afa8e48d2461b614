"""Effect of two accounts that flood the service on a third one: its p95 without and during the flood.

``python -m benchmarks.fairness [--turns 12] [--synchronous 2] [--per-minute 0]``. Two servers alternate, one of them
flooded, so that other load on the machine affects both alike. Each flooding account sends at once: jobs with URLs of
a failing server and webhooks that stall, jobs with uploaded images, and slow uploads to every kind of route, always
as many as the service accepts. ``--synchronous`` adds synchronous requests. The third account sends one request at a
time. The flood runs in its own process with the lowest priority, because it shares the machine with the server.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection

import httpx
import numpy as np

from benchmarks import report
from benchmarks.photos import jpegs
from tests.support.account_clients import Accounts
from tests.support.callback_server import CallbackServer, callback_server
from tests.support.live_server import served
from tests.support.raw_http import RawConnection

MEGAPIXELS = 1.0
STALL_S = 20.0
BACKLOG_S, SETTLE_S = 10.0, 1.0
SLOW_UPLOADS = 8
UPLOADS = ("/v1/remove", "/v1.0/improve", "/api/v1/remove-bg")


class Caller:
    """Requests of one account."""

    def __init__(self, port: int, callbacks: CallbackServer, key: str, image: bytes) -> None:
        base_url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=base_url, timeout=120, trust_env=False, headers={"x-api-key": key})
        self.callbacks, self.key, self.image, self.port = callbacks, key, image, port
        self.statuses: Counter[str] = Counter()

    def cut_out(self) -> httpx.Response:
        return self._noted(
            "synchronous",
            self.client.post("/v1/remove", content=self.image, headers={"content-type": "image/jpeg"}),
        )

    def order(self, image: str, webhook: str) -> httpx.Response:
        body = {
            "model": "851-bg-remove", "lab851BgRemoveParams": {"image": image},
            "webhook_url": f"{self.callbacks.base_url}{webhook}",
        }  # fmt: skip
        return self._noted("jobs", self.client.post("/v2/images/background-remove", json=body))

    def job(self, number: int) -> tuple[float, float]:
        """Return the seconds from the request to the finished job, and to its webhook."""
        hook, begun = f"/hook/{self.key[-8:]}/{number}", time.perf_counter()
        job = self.order(f"{self.callbacks.base_url}/photo.jpg", hook).raise_for_status().json()["jobId"]
        while self.client.get(f"/v2/jobs/{job}").json()["status"] not in ("COMPLETED", "FAILED"):
            time.sleep(0.01)
        done = time.perf_counter() - begun
        while not any(path == hook for path, _, _ in self.callbacks.calls):
            time.sleep(0.01)
        return done, time.perf_counter() - begun

    def _noted(self, what: str, answer: httpx.Response) -> httpx.Response:
        self.statuses[f"{what} {answer.status_code}"] += 1
        return answer


def flood(pipe: Connection, image: bytes, synchronous: int) -> None:
    """Run everything that two flooding callers can do, between two messages of ``pipe``. Runs in its own process."""
    os.nice(19)
    over = threading.Event()
    threads: list[threading.Thread] = []

    def repeat(work: Callable[[], object]) -> None:
        def run() -> None:
            while not over.is_set():
                with suppress(httpx.HTTPError, OSError):
                    answer = work()
                    if isinstance(answer, httpx.Response) and answer.status_code in (429, 503):
                        over.wait(0.05)

        threads.append(threading.Thread(target=run, daemon=True))

    def trickle(caller: Caller, path: str) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: clearcut\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n"
        with RawConnection(caller.port) as connection:
            connection.send(f"{head}x-api-key: {caller.key}\r\n\r\n".encode())
            for _ in range(100):
                connection.send(b"x")
                if over.wait(0.2):
                    return

    with callback_server(**{"photo.jpg": image}) as callbacks:
        callbacks.statuses["/slow.jpg"] = 503
        callbacks.respond = lambda path, _: (over.wait(STALL_S), 204)[1]
        pipe.send(callbacks.allow)
        port, keys = pipe.recv()
        callers = [Caller(port, callbacks, key, image) for key in keys]
        for caller in callers:
            data = "data:image/jpeg;base64," + base64.b64encode(image).decode()
            for _ in range(2):
                repeat(lambda caller=caller: caller.order(f"{callbacks.base_url}/slow.jpg", "/stall"))
                repeat(lambda caller=caller: caller.order(f"{callbacks.base_url}/photo.jpg", "/stall"))
            for _ in range(synchronous):
                repeat(caller.cut_out)
            repeat(lambda caller=caller, data=data: caller.order(data, "/stall"))
            for path, _ in itertools.product(UPLOADS, range(SLOW_UPLOADS)):
                repeat(lambda caller=caller, path=path: trickle(caller, path))
        for thread in threads:
            thread.start()
        pipe.recv()
        over.set()
        pipe.send(sum((caller.statuses for caller in callers), Counter()))


Times = dict[str, list[float]]


def measure(caller: Caller, numbers: range, times: Times) -> None:
    """Send a synchronous request and a job for each number, and append the seconds to ``times``."""
    for number in numbers:
        begun = time.perf_counter()
        caller.cut_out().raise_for_status()
        times["cut_out"].append(time.perf_counter() - begun)
        done, notified_s = caller.job(number)
        times["job"].append(done)
        times["webhook"].append(notified_s)


def percentiles(times: Times) -> dict[str, float]:
    return {
        f"{name}_p{share}_ms": round(1000 * float(np.percentile(each, share)), 1)
        for name, each in times.items()
        for share in (50, 95)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=8, help="cut-outs and jobs in a turn of each server")
    parser.add_argument("--concurrent", type=int, default=2, help="CLEARCUT_CONCURRENT")
    parser.add_argument("--per-minute", type=int, default=600, help="CLEARCUT_REQUESTS_PER_MINUTE; 0: no limit")
    parser.add_argument("--synchronous", type=int, default=0, help="clients of each flooding account")
    args = parser.parse_args()
    machine = report.machine()
    image = jpegs(MEGAPIXELS)[0]
    processes = multiprocessing.get_context("spawn")
    pipe, other_end = processes.Pipe()
    flooding = processes.Process(target=flood, args=(other_end, image, args.synchronous), daemon=True)
    flooding.start()
    quiet, during = ({name: [] for name in ("cut_out", "job", "webhook")} for _ in range(2))
    with (
        tempfile.TemporaryDirectory() as folder,
        callback_server(**{"photo.jpg": image}) as callbacks,
        ExitStack() as stack,
    ):
        allow, callers, servers = f"{callbacks.allow},{pipe.recv()}", [], []
        for name in ("quiet", "flooded"):
            accounts = Accounts(f"sqlite:///{folder}/{name}.db")
            stack.callback(accounts.close)
            environ = {
                "jobs": "sqlite", "data_dir": f"{folder}/{name}", "database_url": accounts.url, "fetch_allow": allow,
                "concurrent": str(args.concurrent), "requests_per_minute": str(args.per_minute), "slots": "32",
            }  # fmt: skip
            server = stack.enter_context(served(**environ))
            first, second, key = accounts.make(3, 10**6)
            servers.append(server)
            callers.append(Caller(server.port, callbacks, key, image))
            measure(callers[-1], range(5), {name: [] for name in quiet})
        pipe.send((servers[1].port, [first, second]))
        time.sleep(BACKLOG_S)
        stopped = [servers[1].pid, flooding.pid]
        for turn in range(1, args.turns + 1):
            numbers = range(args.rounds * turn, args.rounds * (turn + 1))
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            measure(callers[0], numbers, quiet)
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            time.sleep(SETTLE_S)
            measure(callers[1], numbers, during)
        pipe.send(None)
        statuses = pipe.recv()
    before, after = percentiles(quiet), percentiles(during)
    figures = {
        "samples": args.turns * args.rounds, "concurrent": args.concurrent, "per_minute": args.per_minute,
        "synchronous": args.synchronous, "quiet": before, "flooded": after,
        "ratio": {name: round(after[name] / before[name], 2) for name in before},
        "flood": dict(sorted(statuses.items())),
    }  # fmt: skip
    question = "How much slower is an account while two others flood jobs, webhooks and uploads?"
    command = f"python -m benchmarks.fairness --concurrent {args.concurrent} --synchronous {args.synchronous}"
    command += f" --per-minute {args.per_minute}"
    name = "fairness_synchronous" if args.synchronous else "fairness"
    print(report.write(name, question, command, machine, figures).read_text())


if __name__ == "__main__":
    main()
