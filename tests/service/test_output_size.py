"""Outputs with a size that depends on the subject are checked and counted before they are made."""

import json

import pytest

from clearcut import cutout
from tests.support.cutouts import decoded, sample_image
from tests.support.fakes import on_stage

WIDE = {"crop": "true", "padding": "2000px"}
"""An image of 64 x 48 pixels with this is larger than 16 megapixels."""


def send(data, image=None, **environ):
    async def scenario(on):
        files = {"image_file": ("a.png", image or sample_image(64, 48), "image/png")}
        return await on.client.post("/v1/remove", files=files, data=data)

    return on_stage(scenario, **environ)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (WIDE, "padding"),
        ({"crop": "true", "crop_margin": "2000px"}, "crop_margin"),
        ({"crop": "true", "width": "3000"}, "width"),
        ({"crop": "true", "height": "3000"}, "height"),
        ({"width": "3000", "height": "3000"}, "width"),
        ({"width": "3000"}, "width"),
    ],
)
def test_canvas_is_limited_by_max_megapixels(data, field):
    response = send(data, max_megapixels="2")
    assert response.status_code == 400
    assert f"'{field}'" in response.json()["details"]
    assert "within 2 megapixels" in response.json()["details"]


def test_crop_is_limited_by_its_real_height():
    image = sample_image(2, 1000)  # the subject is 1 x 500
    response = send({"crop": "true", "width": "400"}, image, max_megapixels="20")
    assert response.status_code == 400
    assert "within 20 megapixels" in response.json()["details"]


def test_variants_are_limited_by_their_total_size():
    response = send({"variants": json.dumps([WIDE] * 7)})
    assert response.status_code == 400
    assert "'variants'" in response.json()["details"]
    assert "outputs of at most 100 megapixels together; these are 11" in response.json()["details"]


def test_budget_holds_pixels_of_crop(monkeypatch):
    held = []

    async def scenario(on):
        original = cutout.compose_for_file
        monkeypatch.setattr(
            cutout, "compose_for_file", lambda *args: held.append(on.service.pixels.used) or original(*args)
        )
        files = {"image_file": ("a.png", sample_image(64, 48), "image/png")}
        response = await on.client.post("/v1/remove", files=files, data=WIDE | {"format": "jpg"})
        return response, on.service.pixels.used

    response, left = on_stage(scenario)
    assert response.status_code == 200
    size = decoded(response).shape
    assert size[0] * size[1] > 16_000_000
    assert held[0] >= size[0] * size[1]
    assert left == 0


@pytest.mark.parametrize(
    ("form", "pixels"),
    [
        ({"format": "png"}, 64 * 48),
        ({"format": "avif"}, 2 * 64 * 48),
        ({"format": "webp"}, 64 * 48 + round(0.4 * 64 * 48)),
        ({"format": "avif", "width": "400", "height": "300"}, 2 * 400 * 300),
        ({"variants": '[{"format": "avif"}, {"format": "webp"}]'}, 4 * 64 * 48),
        ({"format": "avif", "crop": "true", "width": "900"}, 2 * 900 * 675),
    ],
)
def test_budget_holds_memory_of_encoder(monkeypatch, form, pixels):
    """The AVIF encoder needs as much memory as the image and its output."""
    held = []

    async def scenario(on):
        original = cutout.encode
        monkeypatch.setattr(cutout, "encode", lambda *args: held.append(on.service.pixels.used) or original(*args))
        files = {"image_file": ("a.png", sample_image(64, 48), "image/png")}
        response = await on.client.post("/v1/remove", files=files, data=form)
        return response, on.service.pixels.used

    response, left = on_stage(scenario)
    assert response.status_code == 200, response.text
    assert held[0] == pixels
    assert left == 0


def test_exact_size_within_limit():
    response = send({"width": "1400", "height": "1400", "format": "jpg"}, max_megapixels="2")
    assert response.status_code == 200
    assert decoded(response).shape[:2] == (1400, 1400)


@pytest.mark.parametrize(("kind", "most"), [("rgba", 13), ("blur", 4)])
def test_small_variants_count_as_the_image(kind, most):
    """Each variant reads the whole image: 16 blurred variants of 9 megapixels take four seconds."""

    def sent(count):
        variants = [{"size": "preview", "background_type": kind}] * count
        return send({"variants": json.dumps(variants)}, sample_image(500, 600), max_megapixels="1")

    assert sent(most).status_code == 200
    response = sent(most + 1)
    assert response.status_code == 400
    assert "'variants'" in response.json()["details"]
    assert "each counts at least as much as the image" in response.json()["details"]


def test_jpeg_variants_count_as_decoded():
    variants = [{"size": "preview"}] * 16
    response = send({"variants": json.dumps(variants)}, sample_image(1400, 700, fmt="JPEG"), max_megapixels="1")
    assert response.status_code == 200
