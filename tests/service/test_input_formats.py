"""Every dialect accepts every input format as a file, a mask and a background; the page and OpenAPI list them."""

import base64

import numpy as np
import pytest
from PIL import Image

from clearcut.imaging.formats.heif import heic
from clearcut.imaging.formats.registry import INPUT_FORMATS
from tests.support import heif_files, samples
from tests.support.fakes import on_stage
from tests.support.format_files import FILES, PHOTO

ROUTES = {
    "/v1/remove": "image_file",
    "/v1.0/removebg": "image_file",
    "/api/remove": "file",
    "/v1/segment": "image_file",
}


def test_every_dialect_accepts_every_format():
    async def scenario(on):
        for path, field in ROUTES.items():
            for name, data in FILES.items():
                response = await on.client.post(path, files={field: ("photo", data)}, data={"size": "full"})
                assert response.status_code == 200, (path, name, response.text)
        for name, data in FILES.items():
            body = {"image_file_b64": base64.b64encode(data).decode(), "size": "full"}
            assert (await on.client.post("/v1.0/removebg", json=body)).status_code == 200, name
            response = await on.client.post(
                "/v1/remove", content=data, headers={"Content-Type": f"image/{name.lower()}"}
            )
            assert response.status_code == 200, name
            assert (response.headers["x-original-width"], response.headers["x-original-height"]) == ("64", "48")

    on_stage(scenario)


def test_masks_and_backgrounds_accept_every_format():
    async def scenario(on):
        white = Image.fromarray(np.full((48, 64, 3), 255, np.uint8))
        for name, data in FILES.items():
            mask = heif_files.heic(np.asarray(white)) if name == "HEIC" else samples.saved(white, name)
            files = {"image_file": ("a", data), "mask": ("m", mask), "bg_image": ("b", data)}
            response = await on.client.post("/v1/remove", files=files, data={"background_type": "image"})
            assert response.status_code == 200, (name, response.text)

    on_stage(scenario)


@pytest.mark.parametrize("name", FILES)
def test_pixels_reach_the_output(name):
    """With a white mask the output has the decoded pixels of the input."""
    from io import BytesIO

    async def scenario(on):
        mask = samples.png(np.full((48, 64), 255, np.uint8))
        files = {"image_file": ("a", FILES[name]), "mask": ("m", mask)}
        return await on.client.post("/v1/remove", files=files)

    found = np.asarray(Image.open(BytesIO(on_stage(scenario).content)).convert("RGB"))
    if name == "HEIC":  # stores one color for four pixels; test_heic.py compares its pixels exactly
        assert np.abs(found.mean(axis=2) - PHOTO.mean(axis=2)).mean() < 3
    else:
        np.testing.assert_array_equal(found, np.asarray(Image.open(BytesIO(FILES[name])).convert("RGB")))


def test_avif_output_of_every_dialect():
    async def scenario(on):
        for path in ("/v1/remove", "/v1.0/removebg", "/v1/segment"):
            files, options = {"image_file": ("a", samples.png(PHOTO))}, {"format": "avif"}
            response = await on.client.post(path, files=files, data=options)
            assert response.headers["content-type"] == "image/avif", (path, response.text)
            assert response.content[4:12] == b"ftypavif"

    on_stage(scenario)


def test_heic_without_decoder_names_the_way_out(monkeypatch):
    async def scenario(on):
        return await on.client.post("/v1/remove", files={"image_file": ("a", heif_files.heic(PHOTO))})

    monkeypatch.setattr(heic, "find_library", lambda: None)
    response = on_stage(scenario)
    assert response.status_code == 400
    assert "no HEIC decoder (extra heif, on Linux); export it as JPEG" in response.json()["details"]


def test_page_and_openapi_list_the_formats():
    async def scenario(on):
        page = (await on.client.get("/", headers={"Accept": "text/html"})).text
        return page, (await on.client.get("/openapi.json")).json()

    page, document = on_stage(scenario)
    assert 'accept="image/*,.avif,.bmp,.dib,.gif,' in page
    assert ".tif," in page
    assert "AVIF, BMP, GIF, JPEG, PNG, TIFF or WebP" in page or "HEIC" in page
    accepted = document["paths"]["/v1/remove"]["post"]["requestBody"]["content"]
    assert {each.media_type for each in INPUT_FORMATS} <= accepted.keys()
