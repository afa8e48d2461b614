"""POST /v1/remove through the whole ASGI application with a fake model."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from clearcut.imaging.formats.registry import INPUT_FORMATS
from tests.support.cutouts import SUBJECT, decoded, sample_image, send
from tests.support.fakes import on_stage


def test_cutout_is_subject_in_its_own_colors():
    response = send()
    pixels = decoded(response)
    assert response.status_code == 200
    assert pixels.shape == (60, 80, 4)
    assert tuple(pixels[30, 40]) == (*SUBJECT, 255)
    assert tuple(pixels[2, 2]) == (0, 0, 0, 0)
    assert not pixels[pixels[..., 3] == 0].any()


def test_headers_describe_response():
    response = send(headers={"X-Request-ID": "order-17.a"}, data={"size": "full"})
    headers = response.headers
    assert headers["content-type"] == "image/png"
    assert headers["x-request-id"] == "order-17.a"
    assert headers["x-processing-time-ms"].isdigit()
    assert headers["x-model"] == "fake"
    assert (headers["x-image-width"], headers["x-image-height"]) == ("80", "60")
    assert (headers["x-original-width"], headers["x-original-height"]) == ("80", "60")
    assert headers["x-foreground-found"] == "true"
    box = [int(headers[f"x-foreground-{side}"]) for side in ("left", "top", "width", "height")]
    assert np.abs(np.array(box) - (20, 15, 40, 30)).max() <= 2
    assert 0 < float(headers["x-matte-confidence"]) <= 1
    assert 0 <= float(headers["x-matte-ambiguous-ratio"]) < 0.2
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "secret-name" not in str(headers)


def test_server_timing_has_every_stage_once():
    timing = send().headers["server-timing"]
    names = [entry.split(";")[0].strip() for entry in timing.split(",")]
    assert names == [
        "read", "pool", "probe", "admission", "decode", "prepare", "queue", "inference", "refine", "compose",
        "encode", "total",
    ]  # fmt: skip
    assert "inference;dur=" in timing
    assert 'desc="batch=1"' in timing


@pytest.mark.parametrize("own", ["", "a" * 65, "with space", "semi;colon", "new\tline"])
def test_unsafe_request_id_is_replaced(own):
    got = send(headers={"X-Request-ID": own}).headers["x-request-id"]
    assert got.startswith("req_")
    assert len(got) == 20


@pytest.mark.parametrize(
    ("fmt", "media", "mode"),
    [("png", "image/png", "RGBA"), ("webp", "image/webp", "RGBA"), ("jpg", "image/jpeg", "RGB")],
)
def test_formats(fmt, media, mode):
    response = send(data={"format": fmt})
    assert response.headers["content-type"] == media
    assert Image.open(io.BytesIO(response.content)).mode == mode


@pytest.mark.parametrize(("channels", "mode"), [("rgba", "RGBA"), ("rgb", "RGB"), ("alpha", "L")])
def test_channels(channels, mode):
    assert Image.open(io.BytesIO(send(data={"channels": channels}).content)).mode == mode


def test_opaque_output_is_white_or_bg_color():
    assert tuple(decoded(send(data={"channels": "rgb"}))[2, 2]) == (255, 255, 255)
    assert tuple(decoded(send(data={"channels": "rgb", "bg_color": "#123"}))[2, 2]) == (0x11, 0x22, 0x33)
    corner = decoded(send(data={"format": "jpg", "bg_color": "rgb(10, 200, 30)"}))[2, 2].astype(int)
    assert np.abs(corner - (10, 200, 30)).max() <= 3
    assert decoded(send(data={"bg_color": "red"}))[2, 2, 3] == 0


def test_translucent_bg_color_of_opaque_output_is_over_white():
    assert tuple(decoded(send(data={"channels": "rgb", "bg_color": "transparent"}))[2, 2]) == (255, 255, 255)
    assert tuple(decoded(send(data={"channels": "rgb", "bg_color": "#ff000033"}))[2, 2]) == (255, 204, 204)
    assert tuple(decoded(send(data={"format": "jpg", "bg_color": "transparent"}))[2, 2]) == (255, 255, 255)
    colored = decoded(send(data={"background_type": "color", "bg_color": "#ff000033"}))
    assert tuple(colored[2, 2]) == (255, 0, 0, 51)


def test_crop_is_the_box_of_the_subject():
    response = send(data={"crop": "true"})
    assert abs(int(response.headers["x-image-width"]) - 40) <= 4
    assert abs(int(response.headers["x-image-height"]) - 30) <= 4
    assert response.headers["x-original-width"] == "80"


@pytest.mark.parametrize(
    ("size", "expected"), [("preview", (256, 192)), ("small", (512, 384)), ("medium", (800, 600)), ("full", (800, 600))]
)
def test_size_limits_longest_side_without_upscaling(size, expected):
    headers = send(sample_image(800, 600), data={"size": size}).headers
    assert (int(headers["x-image-width"]), int(headers["x-image-height"])) == expected


def test_exact_canvas():
    pixels = decoded(send(data={"width": "100", "height": "100", "fit": "contain"}))
    assert pixels.shape == (100, 100, 4)


@pytest.mark.parametrize("name", ["image_file", "file", "image"])
def test_all_file_fields_give_same_pixels(name):
    content = sample_image()
    reference = decoded(send(content))
    assert (decoded(send(files={name: ("x", content)})) == reference).all()


def test_raw_body_gives_same_pixels():
    content = sample_image()
    response = send(content=content, files=None, headers={"content-type": "image/png"}, params={"crop": "true"})
    assert (decoded(response) == decoded(send(content, data={"crop": "true"}))).all()


def test_missing_subject_is_reported():
    response = send(blank())
    assert response.status_code == 200
    assert response.headers["x-foreground-found"] == "false"
    assert response.headers["x-matte-confidence"] == "0.00"
    assert "x-foreground-left" not in response.headers
    assert not decoded(response).any()


def blank():
    out = io.BytesIO()
    Image.new("RGB", (40, 30)).save(out, "PNG")
    return out.getvalue()


def test_unknown_fields_are_in_ignored_header():
    assert send(data={"bgcolor": "red", "od\nd": "1"}).headers["x-ignored-fields"] == "bgcolor"


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"bg_color": "red"}, "bg_color"),
        ({"bg_color": "red", "format": "jpg"}, None),
        ({"bg_color": "red", "background_type": "white"}, "bg_color"),
        ({"bg_color": "red", "background_type": "color"}, None),
        ({"padding": "10%"}, "padding"),
        ({"padding": "10%", "crop": "1:1"}, None),
        ({"size": "small", "width": "40"}, "size"),
        ({"fit": "cover", "width": "40"}, "fit"),
        ({"quality": "50"}, "quality"),
        ({"quality": "50", "format": "webp"}, None),
        ({"shadow": "true", "channels": "alpha"}, "shadow"),
        ({"despill": "false", "reverse": "true"}, "despill"),
        ({"despill": "false", "background_type": "overlay"}, "despill"),
        ({"channels": "rgb", "format": "jpg"}, "channels"),
        ({"channels": "rgb", "format": "webp"}, None),
        ({"channels": "rgb", "background_type": "map"}, "channels"),
        ({"channels": "alpha", "background_type": "map"}, "channels"),
        ({"channels": "rgb", "bg_color": "transparent"}, "bg_color"),
        ({"format": "jpg", "bg_color": "white"}, None),
        ({"input_alpha": "keep"}, "input_alpha"),
        ({"input_alpha": "ignore"}, "input_alpha"),
        ({"input_alpha": "auto", "plain_background": "off"}, None),
        ({"variants": '[{"channels": "rgb", "format": "jpg"}, {"size": "small"}]'}, "channels"),
        ({"variants": '[{"channels": "rgb"}, {"format": "jpg"}]', "input_alpha": "keep"}, "input_alpha"),
        ({"format": "png", "channels": "rgba", "size": "full", "crop": "false", "threshold": "0"}, None),
        ({"variants": '[{"format": "jpg"}, {}]', "bg_color": "red", "padding": "1px"}, "padding"),
        ({"variants": "[{}, {}]", "bg_color": "red"}, "bg_color"),
        ({"variants": '[{"padding": "1px"}, {"colour": "red"}]'}, "variants[1].colour, padding"),
    ],
)
def test_options_without_effect_are_in_ignored_header(fields, ignored):
    response = send(data=fields)
    assert response.status_code == 200
    assert response.headers.get("x-ignored-fields") == ignored


def test_background_image_without_effect_is_ignored():
    files = {"image_file": ("a.png", sample_image()), "bg_image_file": ("b.png", sample_image())}
    for fields in ({}, {"background_type": "white"}, {"channels": "alpha"}):
        response = send(files=files, data=fields)
        assert response.status_code == 200
        assert response.headers.get("x-ignored-fields") == ("bg_image_file" if fields else None)


def test_mask_makes_options_of_model_unused():
    files = {"image_file": ("a.png", sample_image()), "mask": ("m.png", sample_image())}
    fields = {"model": "fake", "plain_background": "off", "input_alpha": "keep", "despill": "false"}
    response = send(files=files, data=fields)
    assert response.status_code == 200
    assert response.headers["x-ignored-fields"] == "model, plain_background, input_alpha"
    assert "x-ignored-fields" not in send(data={"model": "fake", "plain_background": "off"}).headers


def test_me_and_health_routes():
    async def scenario(on):
        await on.post(sample_image())
        return [await on.client.get(path) for path in ("/v1/me", "/livez", "/readyz", "/v1/info")]

    me, livez, readyz, info = on_stage(scenario)
    assert me.json()["usedCredits"] == 0  # as X-Credits-Charged
    assert set(me.json()) == {"organizationId", "plan", "maxCredits", "usedCredits", "autoRechargeThreshold"}
    assert livez.status_code == readyz.status_code == 200
    body = info.json()
    assert body["model"]["name"] == "fake"
    assert body["inference"]["buckets"] == [1, 2, 4]
    assert body["limits"]["max_bytes"] == 20 * 1024 * 1024
    assert body["formats"]["input"] == [each.name for each in INPUT_FORMATS]
    assert {"png", "jpg", "webp", "zip"} <= set(body["formats"]["output"])
    assert json.dumps(body)


def test_cors_is_off_by_default_and_exposes_headers():
    async def scenario(on):
        return await on.client.post("/v1/remove", content=sample_image(), headers={"Origin": "https://shop.example",
                                                                             "content-type": "image/png"})  # fmt: skip

    assert "access-control-allow-origin" not in on_stage(scenario).headers
    allowed = on_stage(scenario, cors_origins="https://shop.example").headers
    assert allowed["access-control-allow-origin"] == "https://shop.example"
    assert "X-Matte-Confidence" in allowed["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("origin", "network", "status"),
    [
        ("https://shop.example", "true", 200),
        ("https://shop.example", None, 200),
        ("https://other.example", "true", 400),
        ("null", "true", 400),
    ],
)
def test_preflight_from_public_page_to_private_network(origin, network, status):
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    headers |= {"Access-Control-Request-Headers": "x-api-key"}
    if network is not None:
        headers["Access-Control-Request-Private-Network"] = network

    async def scenario(on):
        return await on.client.options("/v1/remove", headers=headers)

    response = on_stage(scenario, cors_origins="https://shop.example")
    assert response.status_code == status
    assert response.headers.get("access-control-allow-private-network") == network
    # Without this header, browsers refuse other origins whatever the other headers allow.
    assert (response.headers.get("access-control-allow-origin") == origin) is (status == 200)


def test_cors_applies_to_errors():
    async def scenario(on):
        return await on.client.post(
            "/v1/remove", content=b"x", headers={"Origin": "https://shop.example", "content-type": "image/png"}
        )

    response = on_stage(scenario, cors_origins="https://shop.example")
    assert response.status_code == 400
    assert response.headers["access-control-allow-origin"] == "https://shop.example"


def test_total_output_size_is_checked_first():
    wide = [{"width": 6000, "height": 6000}] * 3
    response = send(data={"variants": json.dumps(wide)})
    assert response.status_code == 400
    assert "'variants'" in response.json()["details"]
    assert "megapixels" in response.json()["details"]


def test_too_large_side_is_named():
    response = send(sample_image(4000, 4), data={"height": "600"})
    assert response.status_code == 400
    assert "'height'" in response.json()["details"]


def test_disabled_url_names_its_field():
    response = send(files={"x": (None, b"1")}, data={"url": "http://127.0.0.1/a.jpg"})
    assert response.status_code == 400
    assert "'url'" in response.json()["details"]


def test_opencv_uses_one_thread():
    cv2.setNumThreads(4)
    on_stage(lambda on: on.client.get("/livez"))
    assert cv2.getNumThreads() == 1


def test_reduced_jpeg_equals_png():
    """A large JPEG is decoded at a reduced size; size, position and colors of the output stay the same."""
    small = {"size": "preview"}
    of_png = send(sample_image(1602, 1201), data=small)
    of_jpeg = send(sample_image(1602, 1201, fmt="JPEG"), data=small)
    for name in ("x-image-width", "x-image-height", "x-original-width", "x-original-height"):
        assert of_jpeg.headers[name] == of_png.headers[name]
    box = [
        np.array([int(answer.headers[f"x-foreground-{side}"]) for side in ("left", "top", "width", "height")])
        for answer in (of_png, of_jpeg)
    ]
    assert np.abs(box[0] - box[1]).max() <= 16
    one, other = decoded(of_png).astype(int), decoded(of_jpeg).astype(int)
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 2


def test_health_equals_readyz():
    async def scenario(on):
        return await on.client.get("/health"), await on.client.get("/readyz")

    health, readyz = on_stage(scenario)
    assert health.status_code == 200
    assert health.json() == readyz.json()


def test_trailing_slash_keeps_the_body():
    async def scenario(on):
        files = {"image_file": ("a.png", sample_image(), "image/png")}
        return await on.client.post("/v1/remove", files=files), await on.client.post("/v1/remove/", files=files)

    first, second = on_stage(scenario)
    assert second.status_code == 200
    assert second.content == first.content


@pytest.mark.parametrize("path", ["/metrics/", "/livez/", "/readyz/", "/health/", "//", "/v1/remove//"])
def test_operator_paths_stay_exact(path):
    """Proxies block these paths by their exact names."""
    assert on_stage(lambda on: on.client.get(path)).status_code == 404


def test_docs_with_slash_redirects_relatively():
    response = on_stage(lambda on: on.client.get("/docs/", follow_redirects=False))
    assert response.status_code == 307
    assert response.headers["location"] == "../docs"
