"""The memory of request bodies and fetched files stays within the estimate of ``check``."""

import asyncio
import base64
import json
import random
import re
import tracemalloc
from urllib.parse import quote

import pytest

from clearcut.settings import MIB, Settings
from clearcut.startup_checks.models import memory_finding
from clearcut.web.apis.removebg import UPLOAD
from clearcut.web.request.body import Body
from clearcut.web.request.limits import parsing_bytes, request_bytes
from clearcut.web.request.upload import read_upload
from tests.support.upload_bodies import feed

MAX = 3 * MIB
TEXT = base64.b64encode(random.Random(1).randbytes(MAX))
WRAPPED = b"\r\n".join(TEXT[at : at + 76] for at in range(0, len(TEXT), 76))
BODIES = {
    "JSON": ("application/json", json.dumps({"image_file_b64": TEXT.decode()}).encode()),
    "wrapped JSON": ("application/json", json.dumps({"image_file_b64": WRAPPED.decode()}).encode()),
    "urlencoded": ("application/x-www-form-urlencoded", b"image_file_b64=" + quote(TEXT).encode()),
    "wrapped urlencoded": ("application/x-www-form-urlencoded", b"image_file_b64=" + quote(WRAPPED).encode()),
}


def chunks(body):
    return [body[at : at + 65_536] for at in range(0, len(body), 65_536)]


@pytest.mark.parametrize(("kind", "content"), BODIES.values(), ids=BODIES)
def test_text_body_memory_stays_within_estimate(kind, content):
    """Trace memory before and during each step on a thread."""
    waiting, peaks = [], []

    async def on_pool(work):
        waiting.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.reset_peak()
        try:
            return work()
        finally:
            peaks.append(tracemalloc.get_traced_memory()[1])

    async def scenario():
        body = Body(feed(chunks(content)), 10, lambda: 10)
        return await read_upload({"content-type": kind}, b"", body, MAX, UPLOAD, on_pool)

    tracemalloc.start()
    try:
        upload = asyncio.run(scenario())
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(upload.image) == MAX
    counted = request_bytes(MAX, fetching=False)
    growth = len(content) // 8  # what a bytearray reserves beyond its size is not resident
    assert max(waiting) <= counted + growth
    assert max(peaks) <= counted + growth + parsing_bytes(MAX)
    assert left <= counted


@pytest.mark.parametrize("fetch", [False, True])
def test_check_counts_text_bodies_and_fetched_files(fetch):
    settings = Settings(fetch=fetch, slots=100, inflight_megapixels=100)
    found = memory_finding(settings, 0, 100_000 * MIB, workers=2)
    counted = int(re.search(r"(\d+) MiB for 100 requests", found.text)[1])
    assert counted >= 100 * (60 if fetch else 30)


def test_check_counts_files_of_jobs():
    def counted(jobs):
        found = memory_finding(Settings(jobs=jobs, slots=10), 0, 100_000 * MIB, workers=2)
        return int(re.search(r"(\d+) MiB for 10 requests", found.text)[1])

    assert counted("sqlite") - counted("off") >= 10 * 30 + 16 * 20
