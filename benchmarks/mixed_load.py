"""Does the service keep its answers apart and its memory level under a mixed load with clients that hang up?

Real photos (public domain, out of scikit-image) at 0.2 to 8 megapixels, flipped and with their colour channels
exchanged so that no two are alike, as PNG, JPEG (baseline, progressive) and WebP (lossy, lossless), with ten kinds of
options, as forms and as raw bodies, from a number of clients at once. A tenth of the requests hang up: in the middle
of the upload, while waiting, or in the middle of the download, half of them with a reset.

Every photo is cut out once, alone, before the load, and that answer is checked against the photo itself. Each answer
under load is then checked against its own request's photo and that reference: request id, original size, output size
and format, the matte, and the colour (bit-equal to the photo at alpha 255 for a lossless input at full size). So an
answer that belongs to another request is found, and so is one that a neighbour in its batch has changed.

Resident memory is read when all is quiet: after the first 200 requests and after the last. Descriptors and threads
are read before the load and at the end.

Run: ``python -m benchmarks.mixed_load [--requests 2000] [--concurrency 16]``; writes results/mixed_load.json.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import http.client
import importlib.metadata
import io
import json
import math
import os
import platform
import queue
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tests import samples
from tests.live.wire import Wire, multipart, request
from tests.served import Server, served

RESULT = Path(__file__).parent / "results" / "mixed_load.json"
SETTLED_AFTER = 200
HANG_UPS = ("mid-upload", "waiting", "mid-download")
MEGAPIXELS = (0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 4.0, 8.0)
ENCODINGS = ("png", "jpeg", "jpeg-progressive", "webp", "webp-lossless")
TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"size": "medium"},
    {"size": "preview", "format": "webp"},
    {"format": "webp"},
    {"format": "jpg", "bg_color": "#2060a0"},
    {"channels": "rgb", "bg_color": "tomato"},
    {"channels": "alpha"},
    {"crop": "true"},
    {"crop": "true", "size": "small"},
    {"width": "400"},
)
GROUNDS = {"#2060a0": (0x20, 0x60, 0xA0), "tomato": (255, 99, 71)}


@dataclass(frozen=True, slots=True)
class Photo:
    name: str
    data: bytes
    pixels: np.ndarray
    lossless: bool

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, slots=True)
class Reference:
    """The answer that a photo got when it was alone."""

    rgba: np.ndarray
    box: tuple[int, int, int, int]
    """left, top, right, bottom of the subject."""


@dataclass(frozen=True, slots=True)
class Case:
    number: int
    photo: Photo
    options: dict[str, str]
    raw: bool
    hang_up: str = ""
    patience_s: float = 0.0
    share: float = 0.0
    """How much of the body is sent, or of the answer read, before hanging up."""
    reset: bool = False

    @property
    def id(self) -> str:
        return f"load-{self.number}"

    def wire(self) -> bytes:
        if self.raw:
            return request(self.photo.data, "image/*", f"/v1/remove?{urlencode(self.options)}", X_Request_ID=self.id)
        body, kind = multipart(self.photo.data, self.options, name=("image_file", "file", "image")[self.number % 3])
        return request(body, kind, X_Request_ID=self.id)


@dataclass(slots=True)
class Tally:
    statuses: collections.Counter[str] = field(default_factory=collections.Counter)
    hang_ups: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


# --- the photos ------------------------------------------------------------------------------------------------------


def encode(pixels: np.ndarray, encoding: str) -> bytes:
    match encoding:
        case "png":
            return samples.png(pixels)
        case "jpeg":
            return samples.jpeg(pixels, quality=90)
        case "jpeg-progressive":
            return samples.jpeg(pixels, quality=92, progressive=True)
        case "webp":
            return samples.webp(pixels, quality=85)
    return samples.webp(pixels, lossless=True)


def photos(count: int, rng: random.Random) -> list[Photo]:
    """``count`` photos of which no two have the same size."""
    made: list[Photo] = []
    for index in range(count):
        name = samples.PHOTOS[index % len(samples.PHOTOS)]
        small = samples.photo(name)
        megapixels = MEGAPIXELS[index % len(MEGAPIXELS)] * rng.uniform(0.9, 1.0)
        ratio = small.shape[1] / small.shape[0]
        width = round(math.sqrt(megapixels * 1e6 * ratio))
        pixels = samples.photo(name, width, round(width / ratio) + index)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        pixels = np.ascontiguousarray(pixels[..., rng.sample(range(3), 3)])
        encoding = ENCODINGS[index % len(ENCODINGS)]
        data = encode(pixels, encoding)
        lossless = encoding in ("png", "webp-lossless")
        if not lossless:
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        made.append(Photo(f"{name} {pixels.shape[1]}x{pixels.shape[0]} {encoding}", data, pixels, lossless))
    assert len({photo.size for photo in made}) == count
    return made


# --- is it the right answer? -----------------------------------------------------------------------------------------


def decoded(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)))


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean()) if one.size else 0.0


def own_colours(photo: Photo, rgba: np.ndarray) -> str:
    """Empty if a full-size cut-out shows its photo's colours inside the subject and nothing outside."""
    inside, outside = rgba[..., 3] == 255, rgba[..., 3] == 0
    if rgba[outside].any():
        return "colour under alpha 0"
    if not inside.any():
        return ""
    off = np.abs(rgba[..., :3][inside].astype(np.int16) - photo.pixels[inside])
    if photo.lossless and off.any():
        return f"not bit-equal inside: up to {off.max()}"
    if off.mean() > 1.0:
        return f"colour inside differs by {off.mean():.1f}"
    return ""


def wrong(case: Case, reference: Reference, headers: http.client.HTTPMessage, body: bytes) -> str:
    """Why this answer is not the one to this request; empty if it is."""
    photo, options = case.photo, case.options
    if headers["x-request-id"] != case.id:
        return f"request id {headers['x-request-id']}"
    if (int(headers["x-original-width"]), int(headers["x-original-height"])) != photo.size:
        return f"original size {headers['x-original-width']}x{headers['x-original-height']}"
    if headers["content-type"] != TYPES[options.get("format", "png")]:
        return f"content type {headers['content-type']}"
    picture = decoded(body)
    height, width = picture.shape[:2]
    if (int(headers["x-image-width"]), int(headers["x-image-height"])) != (width, height):
        return f"{width}x{height} is not what its headers say"
    expected = Image.fromarray(reference.rgba)
    if options.get("crop"):
        expected = expected.crop(reference.box)
    target = expected.size
    limit = {"preview": 256, "small": 512, "medium": 1024}.get(options.get("size", ""), max(target))
    scale = int(options["width"]) / target[0] if "width" in options else min(1.0, limit / max(target))
    target = round(target[0] * scale), round(target[1] * scale)
    if max(abs(width - target[0]), abs(height - target[1])) > (2 if options.get("crop") else 1):
        return f"{width}x{height} instead of {target[0]}x{target[1]}"
    if expected.size != (width, height):
        expected = expected.convert("RGBa").resize((width, height), Image.Resampling.BOX).convert("RGBA")
    return unlike(picture, np.asarray(expected), options) or (
        own_colours(photo, picture) if options in ({}, {"format": "png"}) else ""
    )


def unlike(picture: np.ndarray, expected: np.ndarray, options: dict[str, str]) -> str:
    """How ``picture`` differs from the reference put into the same form; empty if it does not, but for rounding."""
    alpha = expected[..., 3]
    if options.get("channels") == "alpha":
        off = mean_difference(picture, alpha)
        return f"matte differs by {off:.2f}" if picture.ndim != 2 or off > 2 else ""
    if ground := options.get("bg_color"):
        share = alpha[..., None] / np.float32(255)
        expected = expected[..., :3] * share + np.array(GROUNDS[ground], np.float32) * (1 - share)
        off = mean_difference(picture, expected) if picture.shape == expected.shape else 255
        return f"picture differs by {off:.2f}" if off > 4 else ""
    if picture.shape != expected.shape:
        return f"shape {picture.shape} instead of {expected.shape}"
    if (off := mean_difference(picture[..., 3], alpha)) > 2:
        return f"matte differs by {off:.2f}"
    both = (picture[..., 3] == 255) & (alpha == 255)
    off = mean_difference(picture[both][:, :3], expected[both][:, :3])
    return f"colour differs by {off:.2f}" if off > 6 else ""


# --- the load --------------------------------------------------------------------------------------------------------


def cases(count: int, catalogue: list[Photo], rng: random.Random, first: int = 0) -> list[Case]:
    """Small photos are asked for more often than large ones, as people do; every tenth request hangs up."""
    weights = [1 / math.sqrt(photo.pixels.size) for photo in catalogue]
    made = []
    for number in range(first, first + count):
        photo, options = rng.choices(catalogue, weights)[0], rng.choice(OPTIONS)
        hang_up = rng.choice(HANG_UPS) if number % 10 == 5 else ""
        made.append(
            Case(
                number, photo, options, rng.random() < 0.4, hang_up, rng.uniform(0, 0.5), rng.random(),
                rng.random() < 0.5,
            )
        )  # fmt: skip
    return made


def hang_up(server: Server, case: Case) -> None:
    wire = Wire(server.port)
    with closing(wire.socket):
        message = case.wire()
        try:
            if case.hang_up == "mid-upload":
                wire.send(message[: int(len(message) * case.share)])
            else:
                wire.send(message)
                if case.hang_up == "waiting":
                    time.sleep(case.patience_s)
                else:
                    wire.socket.recv(1 + int(case.share * 200_000))
        except ConnectionError:
            pass  # hanging up is what it came for
        if case.reset:
            wire.abort()


def ask(wire: Wire, case: Case, reference: Reference, tally: Tally) -> None:
    begun = time.perf_counter()
    wire.send(case.wire())
    answer = wire.answer()
    seconds = time.perf_counter() - begun
    code = "" if answer.status == 200 else f" {answer.error()['code']}"
    fault = wrong(case, reference, answer.headers, answer.body) if answer.status == 200 else ""
    with tally.lock:
        tally.statuses[f"{answer.status}{code}"] += 1
        tally.seconds.append(seconds)
        if fault:
            tally.wrong.append(f"{case.id} {case.photo.name} {case.options}: {fault}")


def client(server: Server, todo: queue.SimpleQueue[Case], references: dict[str, Reference], tally: Tally) -> None:
    """One of the callers: a kept-alive connection of its own, and new ones to hang up on."""
    wire: Wire | None = None
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
                wire = wire or Wire(server.port)
                ask(wire, case, references[case.photo.name], tally)
            except (OSError, http.client.HTTPException) as exc:
                with tally.lock:
                    tally.statuses[f"no answer: {type(exc).__name__}"] += 1
                if wire is not None:
                    wire.socket.close()
                wire = None
    finally:
        if wire is not None:
            wire.socket.close()


def run(server: Server, work: list[Case], references: dict[str, Reference], concurrency: int, tally: Tally) -> float:
    """Do all the work; the seconds it took."""
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
    """Each photo's answer when it is alone.

    Raises:
        AssertionError: one of them is not a cut-out of its photo.
    """
    answers = {}
    with Wire(server.port) as wire:
        for photo in catalogue:
            wire.send(request(photo.data, "image/*"))
            answer = wire.answer()
            assert answer.status == 200, (photo.name, answer.body[:300])
            rgba = decoded(answer.body)
            assert rgba.shape[1::-1] == photo.size, photo.name
            assert not (fault := own_colours(photo, rgba)), (photo.name, fault)
            left, top, wide, high = (
                int(answer.headers.get(f"x-foreground-{side}", size))
                for side, size in zip(("left", "top", "width", "height"), (0, 0, *photo.size), strict=True)
            )
            answers[photo.name] = Reference(rgba, (left, top, left + wide, top + high))
    return answers


def metrics(server: Server) -> dict[str, float]:
    """Every sample by name and labels."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    with closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
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
    """What the process holds once no request is in the house and the last connections are closed."""
    end = time.monotonic() + patience_s
    while (used := metrics(server)["clearcut_slots_used"]) and time.monotonic() < end:
        time.sleep(0.05)
    assert not used, f"{used:g} slots still held {patience_s:g} s after the last client left"
    while server.facts.net_connections("tcp")[1:] and time.monotonic() < end:  # the listener stays
        time.sleep(0.05)
    facts = server.facts
    return Footprint(round(facts.memory_info().rss / 2**20, 1), facts.num_fds(), facts.num_threads())


class Peak:
    """Largest resident memory, looked at ten times a second."""

    def __init__(self, server: Server) -> None:
        self.rss_mib = 0.0
        self._facts = server.facts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.rss_mib = max(self.rss_mib, round(self._facts.memory_info().rss / 2**20, 1))

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
    # A pool starts its threads one by one, as work comes in: let it have them all before they are counted.
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


def machine() -> dict[str, Any]:
    """The machine, as far as a reader of the result needs to know it."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cpus": len(os.sched_getaffinity(0)), "load_1min": round(os.getloadavg()[0], 2)}


def versions() -> dict[str, str]:
    names = ("onnxruntime-gpu", "opencv-python-headless", "pillow", "numpy", "uvicorn", "starlette")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def faults(result: dict[str, Any]) -> list[str]:
    """What of the promise is not kept."""
    kept = [status for status in result["answers"] if status.startswith(("200", "503"))]
    found = [f"{count} x {status}" for status, count in result["answers"].items() if status not in kept]
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
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    facts = machine()
    with served() as server:
        result = measure(server, args.requests, args.concurrency)
    missed = faults(result)
    report = {
        "question": "answers kept apart and memory level under a mixed load with clients that hang up",
        "command": f"python -m benchmarks.mixed_load --requests {args.requests} --concurrency {args.concurrency}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": facts,
        "versions": versions(),
        **result,
        "missed": missed,
    }
    args.output.write_text(json.dumps(report, indent=2) + "\n")
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
