"""Cost of each option with the most expensive mattes that a caller can send.

Every option of ``/v1/remove``, and translucent backgrounds of ``/v1.0/removebg``, with the caller's own mattes: masks
and alpha channels of every second pixel, noise, stripes and a gradient, and the model's matte of a noisy image,
square and of the longest allowed side, at 1, 4 and 9 megapixels. Each is sent alone, after a pause that returns freed
memory. CPU time and the growth of resident memory are the server's. A thread requests ``/livez`` all the time: its
longest wait is the wait of other clients on the event loop.

``held_mib`` is the memory that the service reserves for the request: pixels of its images, and of its outputs beyond
the image's size, its body, and ``THREAD_MIB`` of the memory that ``python -m clearcut check`` counts for each thread.
"""

from __future__ import annotations

import functools
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from benchmarks.http_request import post
from clearcut.admission.memory_budget import BYTES_PER_PIXEL
from clearcut.imaging.formats.registry import WRITERS
from clearcut.imaging.types import U8
from tests.support.hostile.hostile_forms import KIND, Part, form
from tests.support.hostile.oracle import cpu_seconds, resident_mib
from tests.support.live_server import Server

MAX_CPU_S, MAX_WAIT_S = 1.5, 0.3
MEGAPIXELS = (1, 4, 9)
REPEATS = 4
"""Further measurements of a request that exceeds a limit."""
PAUSE_S = 1.3
"""Longest pause before a request in seconds. The pause ends once freed memory has been returned."""
THREAD_MIB = 16
"""Working memory of a thread for any size in MiB, such as reduced backdrops and the network's activations."""
LISTED = 15
MIB = 1 << 20

OPTIONS: dict[str, str] = {
    "none": "",
    **{f"format={name}": f"format={name}" for name in ("jpg", "webp", "avif", "zip")},
    **{f"channels={name}": f"channels={name}" for name in ("rgb", "alpha")},
    **{
        f"background_type={name}": f"background_type={name}"
        for name in ("map", "green", "white", "blur", "overlay", "image")
    },
    "bg_color": "format=jpg&bg_color=red",
    "quality=100": "format=jpg&quality=100",
    "webp, quality=100": "format=webp&quality=100",
    "size=preview": "size=preview",
    "size=large": "size=large",
    "crop": "crop=true",
    "crop to a ratio": "crop=16:9",
    "padding": "crop=true&padding=5%25",
    "width": "width={side}",
    "width and height": "width={side}&height={side}",
    "cover": "width={side}&height={half}&fit=cover",
    "scale": "scale=90%25",
    "position": "position=50%25+100%25",
    "roi": "roi=5%25+5%25+95%25+95%25",
    "threshold": "threshold=0.5",
    "reverse": "reverse=true",
    "shadow": "shadow=true",
    "shadow on blur": "shadow=true&background_type=blur",
    "despill=false": "despill=false",
    "small variants": "variants={plain}",
    "small variants with blur": "variants={drawn}",
    "translucent background": "/v1.0/removebg?size=full&format=png&bg_color=ff000080",
    "translucent, shadow": "/v1.0/removebg?size=full&format=png&bg_color=ff000080&add_shadow=true",
}
"""Queries by name. ``{side}`` and ``{half}`` describe a square with as many pixels as the image, ``{plain}`` and
``{drawn}`` the largest accepted number of small variants.
"""


@dataclass(frozen=True, slots=True)
class Cost:
    option: str
    matte: str
    megapixels: int
    status: int
    cpu_s: float
    grown_mib: float
    held_mib: float
    wait_s: float


def _every_second(height: int, width: int) -> U8:
    alpha = np.zeros((height, width), np.uint8)
    alpha[::2, ::2] = 255
    return alpha


def _noise(height: int, width: int) -> U8:
    return np.random.default_rng(1).integers(0, 256, (height, width), dtype=np.uint8)


def _stripes(height: int, width: int) -> U8:
    alpha = np.zeros((height, width), np.uint8)
    alpha[:, ::2] = 255
    return alpha


def _slope(height: int, width: int) -> U8:
    """Return a matte that is soft everywhere, so that every pixel's color is estimated."""
    return np.ascontiguousarray(np.broadcast_to(np.linspace(1, 254, width).astype(np.uint8), (height, width)))


MATTES: dict[str, Callable[[int, int], U8]] = {
    "every second pixel": _every_second,
    "noise": _noise,
    "stripes": _stripes,
    "slope": _slope,
}


def _png(pixels: U8) -> bytes:
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def _photo(height: int, width: int, block: int = 1) -> U8:
    """Return noise, BGR, in blocks of ``block`` x ``block`` pixels."""
    size = -(-height // block), -(-width // block), 3
    few = np.random.default_rng(2).integers(0, 256, size, dtype=np.uint8)
    return few.repeat(block, 0).repeat(block, 1)[:height, :width]


_BACKDROP_SIDE = 300
_BACKDROP = bytes(cv2.imencode(".jpg", _photo(_BACKDROP_SIDE, _BACKDROP_SIDE))[1])


@dataclass(frozen=True, slots=True)
class Form:
    matte: str
    body: bytes
    pixels: int
    """Pixels of the image."""
    all_pixels: int
    """Pixels with its mask and its backdrop."""


@functools.lru_cache(maxsize=1)
def forms(megapixels: int) -> list[Form]:
    """Yield one request body for each matte."""
    side = round((megapixels * 1e6) ** 0.5)
    jpeg = bytes(cv2.imencode(".jpg", _photo(side, side), [cv2.IMWRITE_JPEG_QUALITY, 60])[1])
    found = [_form("the model's", jpeg, None, side * side)]
    for name, make in MATTES.items():
        found.append(_form(f"mask, {name}", jpeg, _png(make(side, side)), side * side))
        # In blocks, so that the file stays below 20 MB.
        own = _png(cv2.merge([_photo(side, side, 4), make(side, side)]))
        found.append(_form(f"own alpha, {name}", own, None, side * side))
    long, thin = 16_000, int(megapixels * 1e6) // 16_000
    jpeg = bytes(cv2.imencode(".jpg", _photo(thin, long), [cv2.IMWRITE_JPEG_QUALITY, 60])[1])
    return [*found, _form("mask, 16,000 pixels long", jpeg, _png(_every_second(thin, long)), long * thin)]


def _form(name: str, image: bytes, mask: bytes | None, pixels: int) -> Form:
    parts = [Part("image_file", image, "a"), Part("bg_image", _BACKDROP, "b")]
    if mask is not None:
        parts.append(Part("mask", mask, "m"))
    return Form(name, form(parts), pixels, (1 if mask is None else 2) * pixels + _BACKDROP_SIDE**2)


class Waits:
    """Requests ``/livez`` repeatedly and keeps the longest wait in seconds."""

    def __init__(self, port: int) -> None:
        self.longest = 0.0
        self._port, self._stop = port, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Waits:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            begun = time.perf_counter()
            connection.request("GET", "/livez")
            connection.getresponse().read()
            self.longest = max(self.longest, time.perf_counter() - begun)
            self._stop.wait(0.005)
        connection.close()


def _send(server: Server, target: str, body: bytes) -> tuple[int, int]:
    """Return (status, pixels of the outputs)."""
    response = post(server, target, body, content_type=KIND)
    size = [int(response.headers.get(f"X-{name}", 0)) for name in ("Image-Width", "Image-Height")]
    return response.status, size[0] * size[1]


def costs(server: Server) -> Iterator[Cost]:
    for megapixels in MEGAPIXELS:
        side = round((megapixels * 1e6) ** 0.5)
        filled = {
            "{side}": str(side),
            "{half}": str(side // 2),
            "{plain}": _variants(200 // megapixels, "rgba"),
            "{drawn}": _variants(200 // (3 * megapixels), "blur"),
        }
        for each in forms(megapixels):
            for option, query in OPTIONS.items():
                target = query if query.startswith("/") else "/v1/remove?" + query
                for name, value in filled.items():
                    target = target.replace(name, value)
                yield _lowest_cost(server, option, each, megapixels, target)


def _rested(pid: int) -> float:
    """Wait until freed memory is returned, which takes the service up to a second, and return the resident MiB."""
    resident = resident_mib(pid)[0]
    for _ in range(round(PAUSE_S / 0.05)):
        time.sleep(0.05)
        last, resident = resident, resident_mib(pid)[0]
        if resident < last - 5:
            break
    return resident


def _variants(count: int, kind: str) -> str:
    return quote(json.dumps([{"size": "small", "background_type": kind}] * min(16, count)))


def _lowest_cost(server: Server, option: str, sent: Form, megapixels: int, target: str) -> Cost:
    """Measure a request. Repeat one above a limit, and return its lowest figures: other work only adds to them."""
    cost = _cost(server, option, sent, megapixels, target)
    for _ in range(REPEATS):
        if cost.status != 200 or not beyond(cost):
            break
        again = _cost(server, option, sent, megapixels, target)
        cost = replace(
            cost,
            cpu_s=min(cost.cpu_s, again.cpu_s),
            grown_mib=min(cost.grown_mib, again.grown_mib),
            wait_s=min(cost.wait_s, again.wait_s),
        )
    return cost


def _cost(server: Server, option: str, sent: Form, megapixels: int, target: str) -> Cost:
    before = _rested(server.pid)
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # resets the high-water mark
    spent = cpu_seconds(server.pid)
    with Waits(server.port) as waits:
        status, made = _send(server, target, sent.body)
        spent = cpu_seconds(server.pid) - spent
    factor = next((writer.memory_factor for name, writer in WRITERS.items() if name in option), 1)
    pixels = sent.all_pixels + max(0, made - sent.pixels) + round((factor - 1) * max(made, sent.pixels))
    return Cost(
        option=option,
        matte=sent.matte,
        megapixels=megapixels,
        status=status,
        cpu_s=round(spent, 3),
        grown_mib=round(resident_mib(server.pid)[1] - before, 1),
        held_mib=round((pixels * BYTES_PER_PIXEL + len(sent.body)) / MIB + THREAD_MIB, 1),
        wait_s=round(waits.longest, 3),
    )


def measure(server: Server) -> dict[str, Any]:
    """Return the highest cost of each option, the most expensive requests, and the requests beyond the limits."""
    _send(server, "/v1/remove", forms(1)[0].body)
    found = []
    for cost in costs(server):
        found.append(cost)
        if beyond(cost):
            print(cost, flush=True)
    accepted = [cost for cost in found if cost.status == 200]
    worst = {
        option: {
            "cpu_s": max(cost.cpu_s for cost in of),
            "grown_share_of_held": max(round(cost.grown_mib / cost.held_mib, 2) for cost in of),
            "wait_s": max(cost.wait_s for cost in of),
        }
        for option in OPTIONS
        if (of := [cost for cost in accepted if cost.option == option])
    }
    return {
        "requests": len(found),
        "accepted": len(accepted),
        "limits": {"cpu_s": MAX_CPU_S, "grown_share_of_held": 1, "wait_s": MAX_WAIT_S},
        "worst_of_option": worst,
        "most_cpu": [asdict(cost) for cost in sorted(accepted, key=lambda cost: -cost.cpu_s)[:LISTED]],
        "beyond": [asdict(cost) for cost in accepted if beyond(cost)],
    }


def beyond(cost: Cost) -> bool:
    return cost.cpu_s > MAX_CPU_S or cost.grown_mib > cost.held_mib or cost.wait_s > MAX_WAIT_S
