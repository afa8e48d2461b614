"""Several outputs from one inference, background and mask files, and engine options over HTTP."""

import email
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.support.cutouts import SUBJECT, decoded, sample_image, send
from tests.support.fakes import Stage, on_stage


def ask(variants, headers=None, **data):
    """(response, runs of the network) for one request with variants."""

    async def scenario(on: Stage):
        response = await on.client.post(
            "/v1/remove",
            files={"image_file": ("a.png", sample_image())},
            data={"variants": json.dumps(variants), **data},
            headers=headers or {},
        )
        text = (await on.client.get("/metrics")).text
        return response, text

    response, text = on_stage(scenario)
    runs = [line for line in text.splitlines() if line.startswith("clearcut_batch_size_count")]
    return response, float(runs[0].split()[1])


def parts(response):
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    return list(email.message_from_bytes(head + response.content).get_payload())


def test_unknown_field_is_ignored_with_its_position():
    async def scenario(on):
        variants = '[{}, {"fromat": "jpg"}]'
        response = await on.client.post(
            "/v1/remove", files={"image_file": ("a.png", sample_image())}, data={"variants": variants, "colour": "red"}
        )
        assert response.headers["x-ignored-fields"] == "colour, variants[1].fromat"

    on_stage(scenario)


def test_each_variant_is_one_part_from_one_inference():
    response, runs = ask([{}, {"format": "jpg", "bg_color": "#00f"}, {"channels": "alpha", "crop": True}])
    assert response.status_code == 200
    assert runs == 1
    full, jpg, matte = parts(response)
    assert [part.get_content_type() for part in (full, jpg, matte)] == ["image/png", "image/jpeg", "image/png"]
    assert Image.open(io.BytesIO(full.get_payload(decode=True))).mode == "RGBA"
    corner = np.asarray(Image.open(io.BytesIO(jpg.get_payload(decode=True))))[2, 2].astype(int)
    assert np.abs(corner - (0, 0, 255)).max() <= 3
    gray = Image.open(io.BytesIO(matte.get_payload(decode=True)))
    assert gray.mode == "L"
    assert (str(gray.width), str(gray.height)) == (matte["X-Image-Width"], matte["X-Image-Height"])


def test_variants_equal_separate_requests():
    response, _ = ask([{"size": "preview"}], crop="true")
    (part,) = parts(response)
    alone = send(data={"size": "preview", "crop": "true"})
    assert part.get_payload(decode=True) == alone.content


def test_accept_zip_returns_zip():
    response, _ = ask([{}, {"format": "webp"}], {"accept": "application/zip"})
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["cutout-1.png", "cutout-2.webp"]
        assert Image.open(archive.open("cutout-2.webp")).format == "WEBP"


@pytest.mark.parametrize("variants", ["nonsense", {}, [], [{}] * 17])
def test_invalid_variants_are_refused(variants):
    response, _ = ask(variants)
    assert response.status_code == 400
    assert "'variants'" in response.json()["details"]


@pytest.mark.parametrize(
    ("variants", "place"),
    [
        ([{}, {"size": "huge"}], "variants[1].size"),
        ([1], "variants[0]"),
        ([{}, []], "variants[1]"),
        ([{"format": None}], "variants[0].format"),
        ([{}, {"crop": {}}], "variants[1].crop"),
        ([{"format": ["png"]}], "variants[0].format"),
        ([{}, {"variants": "[{}]"}], "variants[1].variants"),
        ([{"variants": [{}]}], "variants[0].variants"),
    ],
)
def test_error_in_variant_names_its_position(variants, place):
    response, _ = ask(variants)
    assert response.status_code == 400
    assert f"'{place}'" in response.json()["details"]


def test_deeply_nested_json_is_refused():
    response, _ = ask("[" * 4000)
    assert response.status_code == 400


def test_background_image_and_its_errors():
    green = io.BytesIO()
    Image.new("RGB", (30, 30), (0, 200, 0)).save(green, "PNG")
    files = {"image_file": ("a.png", sample_image()), "bg_image": ("b.png", green.getvalue())}
    pixels = decoded(send(files=files))
    assert tuple(pixels[2, 2]) == (0, 200, 0, 255)
    assert tuple(pixels[30, 40]) == (*SUBJECT, 255)
    refused = send(files=files | {"bg_image": ("b.gif", b"GIF89a" + bytes(20))})
    assert refused.status_code == 400
    assert "'bg_image'" in refused.json()["details"]
    missing = send(data={"background_type": "image"})
    assert missing.status_code == 400
    assert "'bg_image'" in missing.json()["details"]


@pytest.mark.parametrize(
    ("kind", "corner"),
    [
        ("rgba", (0, 0, 0, 0)),
        ("green", (120, 255, 155, 255)),
        ("white", (255, 255, 255, 255)),
        ("blur", (0, 0, 0, 255)),
    ],
)
def test_background_types(kind, corner):
    assert tuple(decoded(send(data={"background_type": kind}))[2, 2]) == corner


def test_background_map_and_color():
    assert Image.open(io.BytesIO(send(data={"background_type": "map"}).content)).mode == "L"
    assert tuple(decoded(send(data={"background_type": "color", "bg_color": "#102030"}))[2, 2]) == (16, 32, 48, 255)
    assert "'bg_color'" in send(data={"background_type": "color"}).json()["details"]


def test_options_change_pixels():
    reverse = decoded(send(data={"reverse": "true"}))
    assert reverse[30, 40, 3] == 0
    assert reverse[2, 2, 3] == 255
    hard = decoded(send(data={"threshold": "0.5"}))
    assert set(np.unique(hard[..., 3])) == {0, 255}
    low = send(data={"format": "jpg", "quality": "5"})
    high = send(data={"format": "jpg", "quality": "95"})
    assert len(low.content) < len(high.content)
    assert send(data={"roi": "0% 0% 10% 10%"}).headers["x-foreground-found"] == "false"


def test_zip_format_over_http():
    response = send(data={"format": "zip"})
    assert response.headers["content-type"] == "application/zip"
    assert zipfile.ZipFile(io.BytesIO(response.content)).namelist() == ["color.jpg", "alpha.png"]


def test_mask_replaces_model():
    expected = np.zeros((60, 80), np.uint8)
    expected[10:20, 30:70] = 255
    expected[20:22, 30:70] = 100
    mask = io.BytesIO()
    Image.fromarray(expected).save(mask, "PNG")

    async def scenario(on: Stage):
        files = {"image_file": ("a.png", sample_image()), "mask": ("m.png", mask.getvalue())}
        response = await on.client.post("/v1/remove", files=files)
        return response, (await on.client.get("/metrics")).text

    response, text = on_stage(scenario)
    pixels = decoded(response)
    original = np.asarray(Image.open(io.BytesIO(sample_image())))
    assert (pixels[..., 3] == expected).all()
    assert (pixels[..., :3][expected == 255] == original[expected == 255]).all()
    assert "x-model" not in response.headers
    assert '\nclearcut_batch_size_count{model="fake"} 0.0' in text
    assert "inference" not in response.headers["server-timing"]
    refused = send(files={"image_file": ("a.png", sample_image()), "mask": ("m.bin", b"no image at all")})
    assert "'mask'" in refused.json()["details"]
