"""The second pass through the API: a second run for a small subject in one request."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace

import numpy as np
import pytest

from clearcut.inference.types import F32
from tests.support import fakes
from tests.support.cutouts import decoded
from tests.support.fakes import BrightIsSubject, stage
from tests.support.samples import png

SIZE = 640
LEFT, RIGHT, SPLIT = 240, 400, 318
"""Ends of the subject, and the start of a gap of 8 pixels in it. A value of the fake model is 10 pixels wide."""


class Counting(BrightIsSubject):
    """Counts the images of all runs."""

    images = 0
    fail_from = block_from = 10**9
    seconds = 0.0

    def run(self, batch: F32) -> F32:
        self.images += len(batch)
        time.sleep(self.seconds)
        if self.images >= self.block_from:
            self.gate.clear()
        if self.images >= self.fail_from:
            raise RuntimeError("broken")
        return super().run(batch)


def image_with_gap(left: int = LEFT, right: int = RIGHT) -> bytes:
    """A bright square with a gap on a dark, noisy background."""
    pixels = np.random.default_rng(1).integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
    pixels[left:right, left:right] = 250
    pixels[left:right, SPLIT : SPLIT + 8] = 20
    return png(pixels)


def run(
    image: bytes, monkeypatch: pytest.MonkeyPatch, engine: Counting, form: dict[str, str] | None = None, **environ: str
):
    """Send the image to a service with this engine and a second pass."""
    monkeypatch.setattr(fakes, "ENTRY", replace(fakes.ENTRY, second_pass=0.7))
    monkeypatch.setattr(fakes, "BrightIsSubject", lambda: engine)

    async def scenario():
        async with stage(**environ) as server:
            files, data = {"image_file": ("a.png", image, "image/png")}, {"plain_background": "off"} | (form or {})
            return await server.client.post("/v1/remove", files=files, data=data)

    return asyncio.run(scenario())


def test_small_subject_gets_a_second_run(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, once = Counting(), Counting()
    response = run(image_with_gap(), monkeypatch, engine)
    coarse = run(image_with_gap(), monkeypatch, once, second_pass="false")
    assert (engine.images, once.images) == (2, 1)
    fine, rough = decoded(response)[..., 3], decoded(coarse)[..., 3]
    body = np.s_[LEFT:RIGHT, LEFT:SPLIT]
    assert 255 - fine[body].mean() < 0.3 * (255 - rough[body].mean())
    assert np.delete(np.delete(fine, np.s_[LEFT - 6 : RIGHT + 6], 0), np.s_[LEFT - 6 : RIGHT + 6], 1).max() == 0


def test_large_subject_gets_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    assert run(image_with_gap(40, 600), monkeypatch, engine).status_code == 200
    assert engine.images == 1


def test_timing_adds_both_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    engine.seconds = 0.02
    response = run(image_with_gap(), monkeypatch, engine)
    durations = dict(re.findall(r"(\w+);dur=([0-9.]+)", response.headers["server-timing"]))
    assert float(durations["inference"]) >= 2 * 20


def test_outputs_of_one_request_share_the_second_run(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    response = run(image_with_gap(), monkeypatch, engine, {"variants": '[{}, {"channels": "alpha"}]'})
    assert response.status_code == 200
    assert engine.images == 2


def test_second_run_has_the_deadline_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    engine.block_from = 2
    response = run(image_with_gap(), monkeypatch, engine, deadline_s="0.5")
    assert response.status_code == 504
    assert engine.images == 2


def test_failure_of_second_run_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Counting()
    engine.fail_from = 2
    response = run(image_with_gap(), monkeypatch, engine)
    assert response.status_code == 500
    assert response.json()["request_id"] == response.headers["x-request-id"]
