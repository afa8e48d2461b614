"""Several models in one service: choice by request, the queue of a further model, and what names the model."""

from __future__ import annotations

import asyncio
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.support.cutouts import decoded, sample_image
from tests.support.fakes import FURTHER, DarkIsSubject, Stage, on_stage, until
from tests.support.samples import png


def textured_image() -> bytes:
    """Return ``sample_image`` with a noisy background. A plain one would correct the matte of ``dark``."""
    pixels = np.array(Image.open(io.BytesIO(sample_image())))
    noise = np.random.default_rng(1).integers(0, 90, pixels.shape, dtype=np.uint8)
    return png(np.where(pixels.max(axis=2, keepdims=True) < 90, noise, pixels))


IMAGE = textured_image()
FILES = {"image_file": ("a.png", IMAGE, "image/png")}


def with_dark(scenario, **environ):
    return on_stage(scenario, further=DarkIsSubject(), **environ)


def cut_by(response) -> str:
    """Return the model that made the pixels: ``fake`` keeps the bright rectangle, ``dark`` the rest."""
    alpha = decoded(response)[..., 3]
    inside, outside = alpha[30, 40], alpha[2, 2]
    assert {int(inside), int(outside)} == {0, 255}
    return "fake" if inside else FURTHER


@pytest.mark.parametrize("name", ["fake", FURTHER, None])
def test_request_chooses_model(name):
    async def scenario(on: Stage):
        chosen = {"model": name} if name else {}
        form = await on.client.post("/v1/remove", files=FILES, data=chosen)
        raw = await on.post(IMAGE, **chosen)
        rembg = await on.client.post("/api/remove", files={"file": ("a.png", IMAGE)}, data=chosen)
        return form, raw, rembg

    for response in with_dark(scenario):
        assert response.status_code == 200
        assert response.headers["x-model"] == (name or "fake") == cut_by(response)
        assert "x-ignored-fields" not in response.headers


def test_all_variants_use_the_chosen_model():
    async def scenario(on: Stage):
        data = {"model": FURTHER, "variants": json.dumps([{}, {"channels": "alpha"}])}
        wrong = {"variants": json.dumps([{"model": FURTHER}])}
        return (await on.client.post("/v1/remove", files=FILES, data=data),
                await on.client.post("/v1/remove", files=FILES, data=wrong))  # fmt: skip

    response, refused = with_dark(scenario)
    assert response.headers["x-model"] == FURTHER
    assert refused.status_code == 400
    assert "'variants[0].model'" in refused.json()["details"]


def test_unknown_model_is_refused_with_the_served_ones():
    async def scenario(on: Stage):
        unknown = await on.post(sample_image(), model="u2net")
        return unknown, await on.post(sample_image(), model="no/name"), on.engine.entered.is_set()

    unknown, invalid, ran = with_dark(scenario)
    assert (unknown.status_code, invalid.status_code, ran) == (400, 400, False)
    assert unknown.json()["details"] == "Invalid value for 'model'. Expected: fake, dark"
    assert unknown.json()["code"] == "validation_error"
    assert "x-model" not in unknown.headers


@pytest.mark.parametrize("name", ["u2net", "u2netp", "silueta", "isnet-general-use", "birefnet-general", "bria-rmbg"])
def test_rembg_names_for_general_use_run_the_default(name):
    async def scenario(on: Stage):
        return await on.client.post("/api/remove", files={"file": ("a.png", sample_image())}, data={"model": name})

    response = with_dark(scenario)
    assert response.headers["x-model"] == "fake" == cut_by(response)
    assert response.headers["x-ignored-fields"] == "model"


@pytest.mark.parametrize("name", ["u2net_cloth_seg", "isnet-anime", "sam", "u2net_custom", "nothing"])
def test_rembg_names_for_other_tasks_are_refused(name):
    async def scenario(on: Stage):
        return await on.client.post("/api/remove", files={"file": ("a.png", sample_image())}, data={"model": name})

    response = with_dark(scenario)
    assert response.status_code == 400
    assert "'model'" in response.json()["detail"]
    assert "fake, dark" in response.json()["detail"]


def test_full_queue_leaves_the_default_available():
    async def scenario(on: Stage):
        further = on.service.loaded[1].engines[0]
        further.gate.clear()
        waiting = [asyncio.create_task(on.post(sample_image(), model=FURTHER)) for _ in range(4)]
        queue = on.service.models.find(FURTHER).queue
        await until(lambda: queue.waiting + queue.active == 4)
        refused = await on.post(sample_image(), model=FURTHER)
        default = [await on.post(sample_image()) for _ in range(3)]
        pixels, metrics = on.service.pixels.used, (await on.client.get("/metrics")).text
        further.gate.set()
        return refused, default, [await each for each in waiting], pixels, metrics

    refused, default, finished, pixels, metrics = with_dark(scenario, cost_s=3.0, slots="8")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "15"  # the time of five runs
    assert "Model 'dark' has 4 requests" in refused.json()["details"]
    assert {(each.status_code, each.headers["x-model"]) for each in default} == {(200, "fake")}
    assert {(each.status_code, each.headers["x-model"]) for each in finished} == {(200, FURTHER)}
    assert pixels == 2 * 80 * 60, "only the running request and the next one are decoded"
    assert 'clearcut_queue_depth{model="dark"} 3.0' in metrics
    assert 'clearcut_queue_depth{model="fake"} 0.0' in metrics


def test_request_beyond_its_deadline_is_refused_at_once():
    async def scenario(on: Stage):
        return await on.post(sample_image(), model=FURTHER), await on.post(sample_image())

    refused, default = with_dark(scenario, cost_s=30.0, deadline_s="20")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
    assert "needs about 30 s" in refused.json()["details"]
    assert (default.status_code, default.headers["x-model"]) == (200, "fake")


def test_cancelled_request_leaves_the_queue():
    async def scenario(on: Stage):
        further = on.service.loaded[1].engines[0]
        further.gate.clear()
        queue = on.service.models.find(FURTHER).queue
        tasks = [asyncio.create_task(on.post(sample_image(), model=FURTHER)) for _ in range(3)]
        await until(lambda: (queue.waiting, queue.active) == (1, 2))
        tasks[2].cancel()
        await until(lambda: queue.waiting == 0)
        further.gate.set()
        responses = [await each for each in tasks[:2]]
        return responses, (queue.waiting, queue.active), await on.post(sample_image(), model=FURTHER)

    responses, counts, later = with_dark(scenario, cost_s=3.0, slots="8")
    assert [each.headers["x-model"] for each in (*responses, later)] == [FURTHER] * 3
    assert counts == (0, 0)


def test_further_model_has_its_own_series_and_description():
    async def scenario(on: Stage):
        assert (await on.post(sample_image(), model=FURTHER)).headers["x-model"] == FURTHER
        for _ in range(500):  # the worker records a run after it has delivered the result
            text = (await on.client.get("/metrics")).text
            if 'clearcut_batch_seconds_count{bucket="1",model="dark"} 1.0' in text:
                break
            await asyncio.sleep(0.01)
        return text, (await on.client.get("/v1/info")).json()

    text, info = with_dark(scenario)
    assert 'clearcut_batch_size_count{model="dark"} 1.0' in text
    assert 'clearcut_batch_size_count{model="fake"} 0.0' in text
    assert 'clearcut_batch_seconds_count{bucket="1",model="dark"} 1.0' in text
    assert all(f'clearcut_model_info{{device="cpu",edges="no",file="fake.onnx",licence="none",name="{name}"' in text
               for name in ("fake", FURTHER))  # fmt: skip
    assert [each["name"] for each in info["models"]] == ["fake", FURTHER]
    assert info["models"][1]["memory_bytes"] == 5_000_000
    assert info["model"]["name"] == "fake"


def test_failed_further_model_fails_the_process():
    async def scenario(on: Stage):
        on.service.loaded[1].engines[0].fault = SystemExit("device lost")
        response = await on.post(sample_image(), model=FURTHER)
        await until(on.service.failed.is_set)
        return response, await on.client.get("/livez")

    response, live = with_dark(scenario)
    assert (response.status_code, live.status_code) == (503, 503)


def test_mask_needs_no_model_but_a_known_name():
    async def scenario(on: Stage):
        files = {**FILES, "mask": ("m.png", sample_image())}
        used = await on.client.post("/v1/remove", files=files, data={"model": FURTHER})
        return used, await on.client.post("/v1/remove", files=files, data={"model": "u2net"})

    used, refused = with_dark(scenario)
    assert (used.status_code, refused.status_code) == (200, 400)
    assert "x-model" not in used.headers
    assert np.asarray(decoded(used)).shape == (60, 80, 4)
