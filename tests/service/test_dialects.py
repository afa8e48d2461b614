"""The dialects of remove.bg, rembg and Photoroom."""

import base64
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.cutouts import SUBJECT, decoded, sample_image
from tests.support.fakes import Stage, on_stage

REMOVEBG, REMBG, PHOTOROOM = "/v1.0/removebg", "/api/remove", "/v1/segment"
BOX = {"left": 20, "top": 15, "width": 40, "height": 30}


def ask(path, image=None, part=None, environ=None, **kwargs):
    """Send ``image`` in the dialect's file field, unless ``kwargs`` has a body."""

    async def scenario(on: Stage):
        if "files" not in kwargs and not {"content", "json"} & kwargs.keys():
            name = part or ("file" if path == REMBG else "image_file")
            kwargs["files"] = {name: ("a.png", sample_image() if image is None else image, "image/png")}
        return await on.client.post(path, **kwargs)

    return on_stage(scenario, **(environ or {}))


def data(**fields):
    return {"data": fields}


def encoded(image=None):
    return base64.b64encode(sample_image() if image is None else image).decode()


def corner(response):
    return tuple(int(level) for level in decoded(response)[2, 2])


# remove.bg: ways in


def test_removebg_response_headers():
    response = ask(REMOVEBG, image=sample_image(1200, 800), **data(size="auto"))
    headers = response.headers
    assert response.status_code == 200
    assert headers["content-type"] == "image/png"
    assert (headers["x-width"], headers["x-height"]) == ("1200", "800")
    assert (headers["x-max-width"], headers["x-max-height"]) == ("1200", "800")
    assert headers["x-type"] == "other"
    box = [int(headers[f"x-foreground-{side}"]) for side in BOX]
    assert np.abs(np.subtract(box, [300, 200, 600, 400])).max() <= 20  # as sharp as the fake model's square
    assert tuple(decoded(response)[400, 600]) == (*SUBJECT, 255)
    assert corner(response) == (0, 0, 0, 0)


def test_removebg_preview_reports_max_size():
    response = ask(REMOVEBG, image=sample_image(1200, 800))
    width, height = int(response.headers["x-width"]), int(response.headers["x-height"])
    assert width * height <= 250_000 < (width + 2) * (height + 2)
    assert response.headers["x-max-width"] == "1200"


@pytest.mark.parametrize(
    "body",
    [
        {"json": {"image_file_b64": encoded(), "size": "auto", "crop": False, "roi": None}},
        {"json": {"image_file_b64": "data:image/png;base64," + encoded(), "size": "auto"}},
        {"data": {"image_file_b64": encoded(), "size": "auto"}, "files": {"image_file": ("", b"")}},
        {"files": {"image_file_b64": (None, encoded()), "size": (None, "auto")}},
    ],
    ids=["json", "data url", "multipart beside an empty file", "multipart"],
)
def test_removebg_accepts_base64(body):
    response = ask(REMOVEBG, **body)
    assert response.status_code == 200, response.text
    assert tuple(decoded(response)[30, 40]) == (*SUBJECT, 255)


def test_removebg_accepts_urlencoded_forms():
    response = ask(
        REMOVEBG,
        content="size=auto&crop=&image_file_b64=" + encoded().replace("+", "%2B").replace("=", "%3D"),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 200, response.text
    assert decoded(response).shape == (60, 80, 4)


def test_base64_may_have_line_ends():
    wrapped = base64.encodebytes(sample_image()).decode()
    assert ask(REMOVEBG, json={"image_file_b64": wrapped}).status_code == 200
    refused = ask(REMOVEBG, json={"image_file_b64": encoded()[:-4] + "*!=="})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["code"] == "invalid_image_file_b64"


def test_base64_file_has_same_size_limit():
    large = base64.b64encode(bytes(3001)).decode()
    for body in ({"json": {"image_file_b64": large}}, {"files": {"image_file_b64": (None, large)}}):
        response = ask(REMOVEBG, environ={"max_bytes": "3000"}, **body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["code"] == "file_too_large"


@pytest.mark.parametrize("content", [b"{", b"[1]", b'"a"', b"{" + b'"a":' * 2000, b'{"size": []}', b'{"a": "\\ud800"}'])
def test_invalid_json_body_is_refused(content):
    response = ask(REMOVEBG, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["errors"][0]["title"]


def test_empty_cli_options_are_defaults():
    names = (
        "type", "type_level", "roi", "crop", "crop_margin", "scale", "position", "add_shadow", "semitransparency",
        "bg_color", "bg_image_url", "image_url", "channels", "shadow_type", "shadow_opacity",
    )  # fmt: skip
    response = ask(REMOVEBG, **data(size="auto", format="zip", **dict.fromkeys(names, "")))
    assert response.status_code == 200
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert archive.namelist() == ["color.jpg", "alpha.png"]
    assert np.asarray(Image.open(archive.open("alpha.png")))[30, 40] == 255


def test_removebg_json_response():
    response = ask(REMOVEBG, headers={"accept": "application/json"}, **data(size="auto"))
    body = response.json()["data"]
    assert response.headers["content-type"] == "application/json"
    assert {f"foreground_{side}": value for side, value in BOX.items()}.items() <= body.items()
    assert base64.b64decode(body["result_b64"]) == ask(REMOVEBG, **data(size="auto")).content
    assert response.headers["x-foreground-width"] == str(BOX["width"])


# remove.bg: options


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "png"),
        ({"bg_color": "fff"}, "jpeg"),
        ({"bg_color": "81d4fa77"}, "png"),
        ({"format": "jpg"}, "jpeg"),
        ({"format": "webp"}, "webp"),
        ({"format": "png", "bg_color": "white"}, "png"),
    ],
)
def test_format_auto_is_png_if_transparent(fields, kind):
    assert ask(REMOVEBG, **data(**fields)).headers["content-type"] == f"image/{kind}"


def test_bg_color_applies_to_transparent_output():
    assert corner(ask(REMOVEBG, **data(format="png", bg_color="81d4fa"))) == (0x81, 0xD4, 0xFA, 255)
    assert corner(ask(REMOVEBG, **data(format="png", bg_color="81d4fa77"))) == (0x81, 0xD4, 0xFA, 0x77)


def test_bg_image_file():
    out = io.BytesIO()
    Image.new("RGB", (30, 30), (0, 200, 0)).save(out, "PNG")
    files = {"image_file": ("a.png", sample_image()), "bg_image_file": ("b.png", out.getvalue())}
    response = ask(REMOVEBG, files=files, **data(format="png"))
    assert corner(response)[:3] == (0, 200, 0)
    assert ask(REMOVEBG, files=files).headers["content-type"] == "image/jpeg"
    both = ask(REMOVEBG, files=files, **data(bg_color="fff"))
    assert both.json()["errors"][0]["code"] == "multiple_bg_sources"


def test_crop_with_margin_scale_and_position():
    assert decoded(ask(REMOVEBG, **data(size="auto", crop="true", crop_margin="5px 10%"))).shape[:2] == (40, 48)
    scaled = decoded(ask(REMOVEBG, **data(size="auto", scale="50%", position="100% 100%")))
    assert scaled.shape[:2] == (60, 80)
    assert scaled[-1, -1, 3] == 255
    assert scaled[25, 35, 3] == 0


def test_shadow_types():
    plain, shadow = (decoded(ask(REMOVEBG, **data(format="png", **fields)))[..., 3].astype(int) for fields in (
        {"shadow_type": "none", "add_shadow": "true"}, {"shadow_type": "drop", "shadow_opacity": "80"}))  # fmt: skip
    assert (shadow >= plain).all()
    assert shadow.sum() > plain.sum()
    assert np.array_equal(plain, decoded(ask(REMOVEBG, **data(format="png")))[..., 3])


@pytest.mark.parametrize(("level", "there"), [("none", False), ("1", True), ("latest", True)])
def test_type_level(level, there):
    assert ("x-type" in ask(REMOVEBG, **data(type_level=level)).headers) == there


def test_png_is_limited_to_10_megapixels():
    large = sample_image(4200, 3000)
    assert int(ask(REMOVEBG, image=large, **data(size="full")).headers["x-width"]) < 3800
    assert ask(REMOVEBG, image=large, **data(size="full", format="jpg")).headers["x-width"] == "4200"
    assert ask(REMOVEBG, image=large, **data(size="50MP", format="zip")).headers["x-width"] == "4200"


# remove.bg: refusals


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (data(size="huge"), "invalid_size"),
        (data(format="gif"), "invalid_format"),
        (data(channels="rgb"), "invalid_channels"),
        (data(bg_color="no colour"), "invalid_bg_color"),
        (data(crop="true", crop_margin="60%"), "invalid_crop_margin"),
        (data(crop="true", crop_margin="501px"), "invalid_crop_margin"),
        (data(scale="5%"), "invalid_scale"),
        (data(position="left"), "invalid_position"),
        (data(roi="1 2 3"), "invalid_roi"),
        (data(roi="90% 0% 10% 100%"), "invalid_roi"),
        (data(roi="50% 0px 10px 10px"), "invalid_roi"),
        (data(roi="0px 0px 900px 10px"), "roi_exceeds_bounds"),
        (data(roi="0px 0px 0px 10px"), "roi_region_empty"),
        (data(semitransparency="perhaps"), "invalid_semitransparency"),
        (data(image_url="https://example.com/a.jpg"), "multiple_sources"),
        (data(bg_image_url="https://example.com/a.jpg"), "invalid_bg_image_url"),
        ({"json": {"image_url": "https://example.com/a.jpg"}}, "invalid_image_url"),
        ({"json": {"size": "auto"}}, "missing_source"),
        (data(image_file_b64=encoded()), "multiple_sources"),
        ({"files": {"image_file": ("a.png", b"")}}, "missing_source"),
        ({"files": {"image_file": ("a.mp4", b"\x00\x00\x00\x18ftypmp42" + bytes(20))}}, "invalid_file_type"),
        ({"image": sample_image()[:-40]}, "failed_to_read_image"),
        ({"image": sample_image(1200, 1000)}, "resolution_too_high"),
        ({"image": sample_image(60, 60)[:20] + bytes(200_000)}, "file_too_large"),
        (data(roi="0% 0% 10% 10%"), "unknown_foreground"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_removebg_errors(request_, code):
    response = ask(REMOVEBG, environ={"max_bytes": "100000", "max_megapixels": "1"}, **request_)
    (error,) = response.json()["errors"]
    assert response.status_code == 400
    assert error["code"] == code
    assert error["title"]
    assert "x-request-id" in response.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "shape"),
    [
        ("GET", "/v1.0/nothing", 404, "errors"),
        ("GET", "/v1.0/removebg", 405, "errors"),
        ("POST", "/api/nothing", 404, "detail"),
        ("DELETE", "/api/remove", 405, "detail"),
        ("GET", "/v1/segment", 405, "status_code"),
        ("GET", "/v2/nothing", 404, "code"),
    ],
)
def test_unknown_routes_use_dialect_of_path(method, path, status, shape):
    async def scenario(on: Stage):
        return await on.client.request(method, path)

    response = on_stage(scenario)
    assert response.status_code == status
    assert shape in response.json()


def test_account_and_improve():
    async def scenario(on: Stage):
        account = await on.client.get("/v1.0/account")
        improve = await on.client.post("/v1.0/improve", files={"image_file": sample_image()}, data={"tag": "a"})
        return account, improve, await on.client.post("/v1.0/improve", data={"tag": "a"})

    account, improve, refused = on_stage(scenario)
    attributes = account.json()["data"]["attributes"]
    assert attributes["api"]["sizes"] == "all"
    assert set(attributes["credits"]) == {"total", "subscription", "payg", "enterprise"}
    assert improve.json()["stored"] is False
    assert len(improve.json()["id"]) == 36
    assert refused.json()["errors"][0]["code"] == "missing_source"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/remove", {"size": "huge", "roi": "1", "quality": "0"}),
        ("/v1/remove", {"variants": '[{"size": "huge", "crop": "perhaps"}]'}),
        (REMOVEBG, {"size": "huge", "roi": "1", "crop": "perhaps"}),
        (PHOTOROOM, {"format": "gif", "size": "huge", "bg_color": "nocolor"}),
        (REMBG, {"bgc": "1,2", "af": "many", "om": "perhaps"}),
    ],
)
def test_every_invalid_field_is_named(path, fields):
    response = ask(path, **data(**fields))
    assert response.status_code == (422 if path == REMBG else 400)
    names = ("size", "crop") if "variants" in fields else fields
    assert all(f"{name}'" in response.text or f'{name}"' in response.text for name in names), response.text


def test_removebg_lists_each_invalid_field():
    response = ask(REMOVEBG, **data(size="huge", roi="1", crop="perhaps"))
    assert response.status_code == 400
    errors = response.json()["errors"]
    assert [each["code"] for each in errors] == ["invalid_size", "invalid_roi", "invalid_crop"]
    assert all(each["detail"].count("Invalid value") == 1 for each in errors)


@pytest.mark.parametrize(
    ("path", "fields", "ignored"),
    [
        (
            REMOVEBG,
            {"type": "car", "crop_margin": "30px", "shadow_opacity": "50"},
            {"type", "crop_margin", "shadow_opacity"},
        ),
        (REMOVEBG, {"type": "auto", "size": "auto", "crop": "true", "crop_margin": "30px"}, set()),
        (REMOVEBG, {"bg_color": "red", "channels": "alpha"}, {"bg_color"}),
        (PHOTOROOM, {"despill": "true", "size": "full", "bg_color": "red"}, {"despill"}),
        (REMBG, {"om": "true", "bgc": "1,2,3"}, {"bgc"}),
    ],
)
def test_options_without_effect_are_in_ignored_header(path, fields, ignored):
    response = ask(path, **data(**fields))
    assert response.status_code == 200
    found = response.headers.get("x-ignored-fields")
    assert set(found.split(", ") if found else ()) == ignored


# rembg


def test_rembg_returns_png_and_ignored_fields():
    response = ask(REMBG, **data(model="u2net", a="true", af="240", ab="10", ae="10"))
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-model"] == "fake"
    assert set(response.headers["x-ignored-fields"].split(", ")) == {"model", "a", "af", "ab", "ae"}
    assert decoded(response).shape == (60, 80, 4)


def test_rembg_background_mask_and_hard_mask():
    assert corner(ask(f"{REMBG}?bgc=10,20,30,255", part="file")) == (10, 20, 30, 255)
    assert corner(ask(REMBG, **data(bgc="10, 20, 30"))) == (10, 20, 30, 255)
    mask = Image.open(io.BytesIO(ask(REMBG, **data(om="1")).content))
    assert mask.mode == "L"
    hard = decoded(ask(REMBG, **data(ppm="yes")))
    assert set(np.unique(hard[..., 3])) <= {0, 255}


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"bgc": "1,2"}, "bgc"), ({"bgc": "1,2,3,256"}, "bgc"), ({"af": "many"}, "af"), ({"om": "perhaps"}, "om"),
     ({"model": "../u2net"}, "model"), ({"url": "https://example.com"}, "url")],
)  # fmt: skip
def test_rembg_errors(fields, named):
    response = ask(REMBG, **data(**fields))
    assert response.status_code == 422
    assert f"'{named}'" in response.json()["detail"]


def test_rembg_needs_file():
    async def scenario(on: Stage):
        return await on.client.get(REMBG, params={"url": "https://example.com/a.jpg"})

    assert on_stage(scenario).status_code == 422
    missing = ask(REMBG, files={"other": ("a.png", sample_image())})
    assert missing.status_code == 422
    assert "'file'" in missing.json()["detail"]
    refused = ask(REMBG, image=b"nothing like an image")
    assert refused.status_code == 400
    assert "'file'" in refused.json()["detail"]


# Photoroom


def test_photoroom_sizes_and_score():
    response = ask(PHOTOROOM, image=sample_image(1200, 800), **data(size="preview", bg_color="red", despill="true"))
    assert response.headers["content-type"] == "image/png"
    assert 0 <= float(response.headers["x-uncertainty-score"]) <= 1
    assert decoded(response).shape[0] * decoded(response).shape[1] <= 250_000
    assert corner(response) == (255, 0, 0, 255)


def test_photoroom_json_both_ways():
    response = ask(PHOTOROOM, json={"image_file_b64": encoded(), "crop": True}, headers={"accept": "application/json"})
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(response.json()["base64img"]))))
    assert found.shape == (30, 40, 4)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (data(size="large"), "validation_error"),
        ({"files": {"x": ("a.png", b"x")}}, "missing_image"),
        (data(image_url="https://example.com"), "validation_error"),
        ({"image": b"GIF89a" + bytes(9)}, "validation_error"),
    ],
)
def test_photoroom_errors(request_, kind):
    response = ask(PHOTOROOM, **request_)
    body = response.json()
    assert response.status_code == body["status_code"] == 400
    assert body["type"] == kind
    assert body["detail"]


# all of them


EQUAL = st.fixed_dictionaries(
    {
        "crop": st.sampled_from(["true", "false"]),
        "format": st.sampled_from(["png", "jpg", "webp"]),
        "size": st.sampled_from(["full", "hd"]),
        "channels": st.sampled_from(["rgba", "alpha"]),
        "bg_color": st.sampled_from([None, "#ff8800", "white"]),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EQUAL, st.integers(20, 400), st.integers(20, 300))
def test_equal_options_give_equal_bytes_in_all_dialects(options, width, height):
    """Poof applies ``bg_color`` to opaque output only, so its request sets ``background_type``."""
    image = sample_image(width, height, background=(30, 60, 20))
    fields = {name: value for name, value in options.items() if value is not None}
    own = dict(fields)
    if "bg_color" in own and own["channels"] == "rgba":
        own["background_type"] = "color"

    async def scenario(on: Stage):
        files = {"image_file": ("a.png", image)}
        raw = await on.client.post(
            "/v1/remove", content=image, params=own, headers={"content-type": "application/octet-stream"}
        )
        poof = await on.client.post("/v1/remove", files=files, data=own)
        alias = await on.client.post("/v1/remove-bg", files={"file": image}, data=own)
        removebg = await on.client.post(REMOVEBG, files=files, data=fields)
        as_json = await on.client.post(REMOVEBG, json={"image_file_b64": encoded(image), **fields})
        photoroom = await on.client.post(PHOTOROOM, files=files, data=fields)
        every = [raw, poof, alias, removebg, as_json, photoroom]
        if options["format"] == "png" and options["crop"] == "false":
            mask = {"om": "true"} if options["channels"] == "alpha" else {}
            color = {"#ff8800": "255,136,0,255", "white": "255,255,255,255"}.get(options["bg_color"])
            background = {"bgc": color} if color else {}
            every.append(await on.client.post(REMBG, files={"file": image}, data=mask | background))
        return every

    first, *others = on_stage(scenario)
    assert first.status_code == 200
    for other in others:
        assert other.status_code == 200, other.text
        assert other.headers["content-type"] == first.headers["content-type"]
        assert np.array_equal(decoded(other), decoded(first))


def test_server_errors_are_json_in_all_dialects():
    async def scenario(on: Stage):
        on.engine.fault = RuntimeError("internal")
        return [
            await on.client.post(path, content=sample_image()) for path in (REMOVEBG, REMBG, PHOTOROOM, "/v1/remove")
        ]

    for response in on_stage(scenario):
        assert response.status_code == 500
        assert "internal" not in json.dumps(response.json()).replace("internal_server_error", "")


def test_expensive_text_bodies_are_refused_early():
    kinds = {
        "application/x-www-form-urlencoded": (b"image_file_b64=" + b"%41" * 2_000_000, b"a=1&" * 100_000),
        "application/json": (b'{"a":[' + b"{}," * 1_000_000 + b"{}]}", b"{" + b'"a":1,' * 500_000 + b'"b":1}'),
    }
    for kind, bodies in kinds.items():
        for body in bodies:

            async def scenario(on, body=body, kind=kind):
                tracemalloc.start()
                try:
                    answer = await on.client.post("/v1.0/removebg", content=body, headers={"content-type": kind})
                    return answer, tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()

            answer, peak = on_stage(scenario)
            assert answer.status_code == 400, (kind, body[:40])
            assert peak < 12 * len(body), (kind, body[:40], peak)
