"""Correct responses and stable memory under a mixed load with clients that disconnect.

Real photos (public domain, from scikit-image) at 0.2 to 8 megapixels, mirrored and with exchanged color channels so
that no two are alike, as PNG, JPEG (baseline, progressive) and WebP (lossy, lossless), with ten kinds of options, as
forms and as raw bodies, from several concurrent clients. A tenth of the requests disconnect during the upload, while
waiting or during the download, half of them with a reset.

Every photo is first cut out alone, and that result is checked against the photo. Each response under load is checked
against its own photo and that reference: request id, original size, output size and format, the matte, and the color
(bit-equal to the photo at alpha 255 for a lossless input at full size). This detects responses of other requests, and
changes by other images of the same batch.

Resident memory is read when idle: after the first 200 requests and after the last. Descriptors and threads are read
before the load and at the end.

Run: ``python -m benchmarks.mixed_load [--requests 2000] [--concurrency 16]``; writes results/mixed_load.json.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import math
import queue
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from benchmarks import report
from benchmarks.http_request import get
from benchmarks.mixed_cases import (
    ENCODINGS,
    Case,
    Photo,
    Reference,
    cases,
    decoded,
    own_colors,
    photos,
    wrong,
)
from tests.support.live_server import Server, served
from tests.support.raw_http import RawConnection, request

SETTLED_AFTER = 200


@dataclass(slots=True)
class Tally:
    statuses: collections.Counter[str] = field(default_factory=collections.Counter)
    hang_ups: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


# --- the photos ------------------------------------------------------------------------------------------------------


def hang_up(server: Server, case: Case) -> None:
    connection = RawConnection(server.port)
    with closing(connection.socket):
        message = case.connection()
        try:
            if case.hang_up == "mid-upload":
                connection.send(message[: int(len(message) * case.share)])
            else:
                connection.send(message)
                if case.hang_up == "waiting":
                    time.sleep(case.patience_s)
                else:
                    connection.socket.recv(1 + int(case.share * 200_000))
        except ConnectionError:
            pass  # this request disconnects on purpose
        if case.reset:
            connection.abort()


def ask(connection: RawConnection, case: Case, reference: Reference, tally: Tally) -> None:
    begun = time.perf_counter()
    connection.send(case.connection())
    answer = connection.read_response()
    seconds = time.perf_counter() - begun
    code = "" if answer.status == 200 else f" {answer.error()['code']}"
    fault = wrong(case, reference, answer.headers, answer.body) if answer.status == 200 else ""
    with tally.lock:
        tally.statuses[f"{answer.status}{code}"] += 1
        tally.seconds.append(seconds)
        if fault:
            tally.wrong.append(f"{case.id} {case.photo.name} {case.options}: {fault}")


def client(server: Server, todo: queue.SimpleQueue[Case], references: dict[str, Reference], tally: Tally) -> None:
    """A client with its own keep-alive connection, and new connections for requests that disconnect."""
    connection: RawConnection | None = None
    try:
        while True:
            try:
                case = todo.get_nowait()
            except queue.Empty:
                return
            if case.hang_up:
                hang_up(server, case)
                with tally.lock:
                    tally.hang_ups[case.hang_up] += 1
                continue
            try:
                connection = connection or RawConnection(server.port)
                ask(connection, case, references[case.photo.name], tally)
            except (OSError, http.client.HTTPException) as exc:
                with tally.lock:
                    tally.statuses[f"no answer: {type(exc).__name__}"] += 1
                if connection is not None:
                    connection.socket.close()
                connection = None
    finally:
        if connection is not None:
            connection.socket.close()


def run(server: Server, work: list[Case], references: dict[str, Reference], concurrency: int, tally: Tally) -> float:
    """Send all requests and return the seconds that they took."""
    todo: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in work:
        todo.put(case)
    begun = time.perf_counter()
    threads = [
        threading.Thread(target=client, args=(server, todo, references, tally))
        for _ in range(min(concurrency, len(work)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun


def references_of(server: Server, catalogue: list[Photo]) -> dict[str, Reference]:
    """Return each photo's response when it is sent alone.

    Raises:
        AssertionError: A response is not a cut-out of its photo.
    """
    answers = {}
    with RawConnection(server.port) as connection:
        for photo in catalogue:
            connection.send(request(photo.data, "image/*"))
            answer = connection.read_response()
            assert answer.status == 200, (photo.name, answer.body[:300])
            rgba = decoded(answer.body)
            assert rgba.shape[1::-1] == photo.size, photo.name
            assert not (fault := own_colors(photo, rgba)), (photo.name, fault)
            left, top, wide, high = (
                int(answer.headers.get(f"x-foreground-{side}", size))
                for side, size in zip(("left", "top", "width", "height"), (0, 0, *photo.size), strict=True)
            )
            answers[photo.name] = Reference(rgba, (left, top, left + wide, top + high))
    return answers


def metrics(server: Server) -> dict[str, float]:
    """Return every metric sample by name and labels."""
    text = get(server, "/metrics").body.decode()
    return {
        sample.name + "".join(f" {label}={value}" for label, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@dataclass(frozen=True, slots=True)
class Footprint:
    rss_mib: float
    descriptors: int
    threads: int


def footprint(server: Server, patience_s: float = 60.0) -> Footprint:
    """Return the resources of the idle process, once all connections are closed."""
    end = time.monotonic() + patience_s
    while (used := metrics(server)["clearcut_slots_used"]) and time.monotonic() < end:
        time.sleep(0.05)
    assert not used, f"{used:g} slots still held {patience_s:g} s after the last client left"
    while server.process_info.net_connections("tcp")[1:] and time.monotonic() < end:  # the listening socket stays
        time.sleep(0.05)
    process = server.process_info
    return Footprint(round(process.memory_info().rss / 2**20, 1), process.num_fds(), process.num_threads())


class Peak:
    """Records the largest resident memory, sampled ten times a second."""

    def __init__(self, server: Server) -> None:
        self.rss_mib = 0.0
        self._process = server.process_info
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.rss_mib = max(self.rss_mib, round(self._process.memory_info().rss / 2**20, 1))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def measure(
    server: Server, requests: int, concurrency: int, catalogue_size: int = 45, seed: int = 20261120
) -> dict[str, Any]:
    rng = random.Random(seed)
    catalogue = photos(catalogue_size, rng)
    references = references_of(server, catalogue)
    tally = Tally()
    settled_after = min(SETTLED_AFTER, requests // 2)
    smallest = min(catalogue, key=lambda photo: photo.pixels.size)
    # Thread pools start their threads on demand. Start all of them before counting.
    run(
        server, [Case(-1 - n, smallest, {}, raw=True) for n in range(2 * concurrency)], references, concurrency, Tally()
    )
    before = footprint(server)
    with Peak(server) as peak:
        work = cases(requests, catalogue, rng)
        took = run(server, work[:settled_after], references, concurrency, tally)
        settled = footprint(server)
        rest = work[settled_after:]
        course = [settled.rss_mib]
        for part in _parts(rest, max(1, min(9, len(rest) // 100))):
            took += run(server, part, references, concurrency, tally)
            course.append(footprint(server).rss_mib)
    after = footprint(server)
    counted = metrics(server)
    ordered = sorted(tally.seconds)
    return {
        "requests": requests,
        "concurrency": concurrency,
        "seed": seed,
        "photos": {
            "count": len(catalogue),
            "megapixels": [round(math.prod(photo.size) / 1e6, 2) for photo in catalogue],
            "encodings": list(ENCODINGS),
        },
        "answers": dict(sorted(tally.statuses.items())),
        "hung_up": dict(sorted(tally.hang_ups.items())),
        "wrong_answers": tally.wrong,
        "seconds": round(took, 1),
        "requests_per_s": round(requests / took, 2),
        "latency_s": {
            "median": round(statistics.median(ordered), 3),
            "p95": round(ordered[int(0.95 * len(ordered))], 3),
            "max": round(ordered[-1], 3),
        },
        "cancelled_by_stage": {
            name.split("=", 1)[1]: value
            for name, value in counted.items()
            if name.startswith("clearcut_cancelled_total ")
        },
        "rss_mib": {
            "before": before.rss_mib,
            f"after_{settled_after}": settled.rss_mib,
            "course": course,
            "end": after.rss_mib,
            "growth": round(after.rss_mib / settled.rss_mib - 1, 4),
            "peak": peak.rss_mib,
        },
        "descriptors": {"before": before.descriptors, "end": after.descriptors},
        "threads": {"before": before.threads, "end": after.threads},
    }


def _parts(work: list[Case], count: int) -> Iterator[list[Case]]:
    size = max(1, math.ceil(len(work) / count))
    for start in range(0, len(work), size):
        yield work[start : start + size]


def faults(result: dict[str, Any]) -> list[str]:
    """Return the requirements that were not met."""
    values = [status for status in result["answers"] if status.startswith(("200", "503"))]
    found = [f"{count} x {status}" for status, count in result["answers"].items() if status not in values]
    found += result["wrong_answers"]
    if result["rss_mib"]["growth"] > 0.10:
        found.append(f"resident memory grew by {result['rss_mib']['growth']:.1%}")
    for held in ("descriptors", "threads"):
        if result[held]["end"] > result[held]["before"]:
            found.append(f"{held}: {result[held]['before']} before, {result[held]['end']} at the end")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=16)
    args = parser.parse_args()
    machine = report.machine()
    with served() as server:
        result = measure(server, args.requests, args.concurrency)
    missed = faults(result)
    report.write(
        "mixed_load",
        "correct responses and stable memory under a mixed load with clients that disconnect",
        f"python -m benchmarks.mixed_load --requests {args.requests} --concurrency {args.concurrency}",
        machine,
        {**result, "missed": missed},
    )
    memory = result["rss_mib"]
    sizes = [memory["before"], memory["course"][0], memory["end"], memory["peak"]]
    rows = [
        ("answers", ", ".join(f"{count} x {status}" for status, count in result["answers"].items())),
        ("hung up", ", ".join(f"{count} {moment}" for moment, count in result["hung_up"].items())),
        ("wrong answers", str(len(result["wrong_answers"]))),
        ("requests/s", f"{result['requests_per_s']} ({result['seconds']} s)"),
        ("latency median, p95, max", " / ".join(f"{value} s" for value in result["latency_s"].values())),
        ("RSS before, settled, end, peak", " / ".join(f"{size} MiB" for size in sizes)),
        ("RSS growth since settled", f"{memory['growth']:+.1%}"),
        ("descriptors before, end", f"{result['descriptors']['before']} / {result['descriptors']['end']}"),
        ("threads before, end", f"{result['threads']['before']} / {result['threads']['end']}"),
        ("missed", "; ".join(missed) or "nothing"),
    ]
    for name, value in rows:
        print(f"{name:<32}{value}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
