"""The published Python clients of the Poof API, unmodified except for their base URL.

0.1.0 sends ``image_file`` and knows five options. 0.2.0 adds exact sizes, ratios, padding and the matte's statistics.
0.4.1 sends ``file`` and adds URLs and videos, which this service refuses by name. Each version makes every call once
in its own environment. The tests check decoded pixels, attributes and error types.

``AuthError``, ``PaymentRequiredError``, ``PermissionDeniedError`` and ``RateLimitError`` (401, 402, 403, 429) do not
occur without accounts. Every key is accepted.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import samples
from tests.support.clients.poofbg import POOFBG, RegistryUnreachable, drive, environment_of
from tests.support.live_server import Server, served
from tests.support.metrics import wait_for_metric
from tests.support.raw_http import RawConnection, request

pytestmark = [pytest.mark.clients, pytest.mark.live]

HEIGHT, WIDTH = 400, 600
LATER = ("0.2.0", "0.4.1")
RED, BLUE, WHITE = (255, 0, 0), (0, 128, 255), (255, 255, 255)


@pytest.fixture(scope="module")
def server():
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def full_server():
    """Start a server whose only slot is held by an upload that never ends. The upload is large enough to keep the
    slot.
    """
    with served(slots="1", body_stall_s="600", deadline_s="600") as running, RawConnection(running.port) as holder:
        holder.send(request(bytes(15_000_000), "image/png", length=16_000_000))
        wait_for_metric(running, "clearcut_slots_used", 1)
        yield running


def steps_of(version: str) -> list[dict[str, Any]]:
    """Return calls with every option, every kind of source and every cause of an error."""
    sizes = (
        ("full", "preview", "small", "medium", "large") if version == "0.1.0" else ("full", "preview", "medium", "hd")
    )
    steps: list[dict[str, Any]] = [
        {"name": f"source {kind}", "kind": kind} for kind in ("str", "Path", "bytes", "file", "BytesIO")
    ]
    steps += [{"name": f"format {each}", "options": {"format": each}} for each in ("png", "jpg", "webp")]
    steps += [{"name": f"size {each}", "options": {"size": each}, "source": "large.png"} for each in sizes]
    steps += [
        {"name": "channels rgba", "options": {"channels": "rgba"}},
        {"name": "channels rgb", "options": {"channels": "rgb"}},
        {"name": "bg hex", "options": {"channels": "rgb", "bg_color": "#ff0000"}},
        {"name": "bg short hex", "options": {"channels": "rgb", "bg_color": "#f00"}},
        {"name": "bg rgb()", "options": {"channels": "rgb", "bg_color": "rgb(0, 128, 255)"}},
        {"name": "bg name", "options": {"channels": "rgb", "bg_color": "red"}},
        {"name": "bg jpg", "options": {"format": "jpg", "bg_color": "red"}},
        {"name": "crop true", "options": {"crop": True}},
        {"name": "crop false", "options": {"crop": False}},
        {"name": "all at once", "options": {
            "format": "webp", "channels": "rgb", "bg_color": "red", "size": "preview", "crop": True}},
        {"name": "me", "method": "me"},
        {"name": "error option", "options": {"size": "gigantic"}},
        {"name": "error color", "options": {"bg_color": "no colour"}},
        {"name": "error no image", "source": "words.txt"},
        {"name": "error empty", "source": "empty.png"},
        {"name": "error bytes", "source": "heavy.jpg"},
        {"name": "error pixels", "source": "huge.png"},
        {"name": "error route", "base_path": "/v7"},
        {"name": "error full", "server": "full"},
        {"name": "error no file", "source": "absent.png"},
    ]  # fmt: skip
    if version in LATER:
        steps += [{"name": f"crop {ratio}", "options": {"crop": ratio}} for ratio in ("1:1", "4:3", "16:9")]
        steps += [
            {"name": f"padding {each}", "options": {"crop": True, "padding": each}}
            for each in ("10%", "0.1", "10%,20%")
        ]
        steps += [
            {"name": f"fit {fit}", "options": {"width": 700, "height": 700, "fit": fit}}
            for fit in ("contain", "cover", "scale-down")
        ]
        steps += [
            {"name": "channels alpha", "options": {"channels": "alpha"}},
            {"name": "width", "options": {"width": 300}},
            {"name": "height", "options": {"height": 200, "size": "preview"}},
            {"name": "width and height", "options": {"width": 300, "height": 300}},
            {"name": "product", "options": {"crop": True, "width": 500, "height": 500}},
            {"name": "error width", "options": {"width": 6001}},
            {"name": "error padding", "options": {"crop": True, "padding": "lots"}},
        ]  # fmt: skip
    if version == "0.4.1":
        steps += [
            {"name": "wait", "options": {"wait": True}},
            {"name": "error url", "source": None, "options": {"url": "https://example.com/photo.jpg"}},
            {"name": "error neither", "source": None},
            {"name": "error video format", "options": {"format": "webm"}},
            {"name": "error video", "source": "clip.mp4"},
            {"name": "error job", "method": "get_job", "arguments": ["job_8f3a1c2e"]},
            {"name": "error wait for job", "method": "wait_for_job", "arguments": ["job_8f3a1c2e"]},
        ]  # fmt: skip
    return steps


@dataclass(frozen=True)
class Outcome:
    """The results of one client version."""

    version: str
    responses: dict[str, Any]

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.responses[name]

    def pixels(self, name: str) -> np.ndarray:
        response = self[name]
        assert "saved" in response, (name, response)
        return np.asarray(Image.open(response["saved"]))


@pytest.fixture(scope="module", params=POOFBG)
def results(
    request: pytest.FixtureRequest, server: Server, full_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    version = request.param
    try:
        environment = environment_of(version)
    except RegistryUnreachable as exc:
        pytest.skip(f"poofbg {version} is not installed here and the package registry cannot be reached: {exc}")
    folder = tmp_path_factory.mktemp(f"poofbg-{version}")
    write_sources(folder)
    plan = []
    for number, step in enumerate(steps_of(version)):
        call = {"source": "photo.png", **step} if "method" not in step else dict(step)
        if call.get("source", "") is None:
            del call["source"]
        if "source" in call:
            call["source"] = str(folder / call["source"])
        target = full_server if call.pop("server", "") == "full" else server
        call["base_url"] = target.base_url + call.pop("base_path", "/v1")
        plan.append(call | {"save_to": str(folder / f"answer-{number}")})
    (folder / "plan.json").write_text(json.dumps(plan))
    return Outcome(version, json.loads(drive(environment, str(folder / "plan.json"))))


def write_sources(folder: Path) -> None:
    photo = samples.photo("coffee")
    assert photo.shape == (HEIGHT, WIDTH, 3)
    (folder / "photo.png").write_bytes(samples.png(photo))
    (folder / "large.png").write_bytes(samples.png(samples.photo("coffee", 2550, 1700)))
    (folder / "words.txt").write_text("These are words.")
    (folder / "empty.png").write_bytes(b"")
    (folder / "clip.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(64))
    with (folder / "heavy.jpg").open("wb") as heavy:
        heavy.write(samples.jpeg(photo))
        heavy.truncate(20 * 2**20 + 1)
    head = samples.png_chunk(b"IHDR", (10_000).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0)))
    end = samples.png_chunk(b"IDAT", b"") + samples.png_chunk(b"IEND", b"")
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + end)


def of_versions(*versions):
    """Mark a test that applies only to these versions."""
    return pytest.mark.parametrize("results", versions, indirect=True, scope="module")


later = of_versions("0.2.0", "0.4.1")
latest = of_versions("0.4.1")


def box(rgba):
    """Return left, top, width and height of the visible pixels."""
    rows, columns = np.nonzero(rgba[..., 3] >= 10)
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


# --- images ----------------------------------------------------------------------------------------------------------


def test_installed_client_has_expected_version(results):
    assert results["version"] == results.version


@pytest.mark.parametrize("kind", ["str", "Path", "bytes", "file", "BytesIO"])
def test_every_source_type_gives_cut_out(results, kind):
    photo = samples.photo("coffee")
    rgba = results.pixels(f"source {kind}")
    assert rgba.shape == (HEIGHT, WIDTH, 4)
    assert np.array_equal(rgba[rgba[..., 3] == 255][:, :3], photo[rgba[..., 3] == 255])
    assert not rgba[rgba[..., 3] == 0].any()
    assert rgba[150:250, 250:350, 3].mean() > 240
    assert rgba[0, 0, 3] == 0


def test_result_attributes_are_set(results):
    response = results["source str"]
    assert response["content_type"] == "image/png"
    assert (response["width"], response["height"]) == (WIDTH, HEIGHT)
    assert re.fullmatch(r"req_[A-Za-z0-9_-]{16}", response["request_id"])
    assert isinstance(response["processing_time_ms"], int)
    assert f"dimensions={WIDTH}x{HEIGHT}" in response["repr"]
    assert response["type"] == "RemoveBackgroundResult"


@later
def test_result_has_matte_confidence(results):
    response = results["source str"]
    assert 0.5 < response["matte_confidence"] <= 1
    assert 0 <= response["matte_ambiguous_ratio"] < 0.5


@pytest.mark.parametrize(
    ("name", "kind", "media_type"),
    [("png", "PNG", "image/png"), ("jpg", "JPEG", "image/jpeg"), ("webp", "WEBP", "image/webp")],
)
def test_format(results, name, kind, media_type):
    with Image.open(results[f"format {name}"]["saved"]) as image:
        assert image.format == kind
        assert image.size == (WIDTH, HEIGHT)
        assert image.mode == ("RGB" if name == "jpg" else "RGBA")
    assert results[f"format {name}"]["content_type"] == media_type


def test_jpg_has_white_background_by_default(results):
    background = results.pixels("source str")[..., 3] == 0
    assert np.abs(results.pixels("format jpg")[background].astype(int) - 255).mean() < 3


def test_channels(results):
    assert np.array_equal(results.pixels("channels rgba"), results.pixels("source str"))
    opaque, alpha = results.pixels("channels rgb"), results.pixels("source str")[..., 3]
    assert opaque.shape == (HEIGHT, WIDTH, 3)
    assert (opaque[alpha == 0] == WHITE).all()
    assert np.array_equal(opaque[alpha == 255], samples.photo("coffee")[alpha == 255])


@later
def test_channels_alpha_returns_matte(results):
    assert np.array_equal(results.pixels("channels alpha"), results.pixels("source str")[..., 3])


@pytest.mark.parametrize(
    ("name", "color"), [("bg hex", RED), ("bg short hex", RED), ("bg rgb()", BLUE), ("bg name", RED), ("bg jpg", RED)]
)
def test_background_color(results, name, color):
    background = results.pixels("source str")[..., 3] == 0
    assert np.abs(results.pixels(name)[background].astype(int) - color).mean() < (4 if name == "bg jpg" else 1e-9)


LONGEST = {"full": 2550, "preview": 256, "small": 512, "medium": 1024, "large": 2048}


def test_size(results):
    sizes = [name.removeprefix("size ") for name in results.responses if name.startswith("size ")]
    for size in set(sizes) - {"hd"}:
        height, width = results.pixels(f"size {size}").shape[:2]
        assert width == LONGEST[size]
        assert height == pytest.approx(width * 2 / 3, abs=1)


@later
def test_size_hd_is_at_most_four_megapixels(results):
    height, width = results.pixels("size hd").shape[:2]
    assert 3.98e6 < height * width <= 4e6
    assert width / height == pytest.approx(1.5, abs=0.01)


def test_crop(results):
    complete = results.pixels("source str")
    left, top, width, height = box(complete)
    assert np.array_equal(results.pixels("crop true"), complete[top : top + height, left : left + width])
    assert np.array_equal(results.pixels("crop false"), complete)


@pytest.mark.parametrize(("ratio", "value"), [("1:1", 1), ("4:3", 4 / 3), ("16:9", 16 / 9)])
@later
def test_crop_to_ratio_contains_whole_subject(results, ratio, value):
    _, _, wide, high = box(results.pixels("source str"))
    cropped = results.pixels(f"crop {ratio}")
    height, width = cropped.shape[:2]
    assert abs(width - height * value) <= 2
    assert width >= wide
    assert height >= high
    assert box(cropped)[2:] == (wide, high)


@pytest.mark.parametrize(
    ("padding", "vertical", "horizontal"), [("10%", 0.1, 0.1), ("0.1", 0.1, 0.1), ("10%,20%", 0.1, 0.2)]
)
@later
def test_padding_adds_margin_around_subject(results, padding, vertical, horizontal):
    _, _, wide, high = box(results.pixels("source str"))
    padded = results.pixels(f"padding {padding}")
    assert padded.shape == (high + 2 * round(vertical * high), wide + 2 * round(horizontal * wide), 4)
    assert box(padded) == (round(horizontal * wide), round(vertical * high), wide, high)


@later
def test_width_and_height(results):
    assert results.pixels("width").shape == (200, 300, 4)
    assert results.pixels("height").shape == (200, 300, 4), "an exact size overrides the named one"
    both = results.pixels("width and height")
    assert both.shape == (300, 300, 4)
    assert not both[:48].any(), "contain is the default, and pads"
    assert results.pixels("product").shape == (500, 500, 4)
    assert max(box(results.pixels("product"))[2:]) >= 498


@later
def test_fit(results):
    contain, cover, down = (results.pixels(f"fit {fit}") for fit in ("contain", "cover", "scale-down"))
    assert contain.shape == cover.shape == down.shape == (700, 700, 4)
    # 600 x 400 becomes 700 x 467 in the middle of 700 x 700; scale-down does not enlarge it
    assert not contain[:115].any()
    assert not down[:149].any()
    assert not down[:, :49].any()
    assert np.array_equal(down[150:550, 50:650], results.pixels("source str"))
    assert box(cover)[3] > box(contain)[3] > box(down)[3]


def test_all_options_together(results):
    with Image.open(results["all at once"]["saved"]) as image:
        assert (image.format, image.mode, max(image.size)) == ("WEBP", "RGB", 256)


@latest
def test_wait_option_has_no_effect(results):
    assert np.array_equal(results.pixels("wait"), results.pixels("source str"))


def test_account_is_unlimited_without_accounts(results):
    account = results["me"]["value"]
    assert account.keys() == {"organizationId", "plan", "maxCredits", "usedCredits", "autoRechargeThreshold"}
    assert account["maxCredits"] > account["usedCredits"] == 0


# --- errors ----------------------------------------------------------------------------------------------------------


def error_of(results, name, kind, status, code):
    error = results[f"error {name}"]
    assert (error.get("raised"), error.get("status_code"), error.get("code")) == (kind, status, code), error
    assert error["request_id"].startswith("req_")
    assert error["message"] == error["text"]
    return error["details"]


def test_unknown_option_is_validation_error(results):
    assert error_of(results, "option", "ValidationError", 400, "validation_error").startswith(
        "Invalid value for 'size'."
    )
    assert "'bg_color'" in error_of(results, "color", "ValidationError", 400, "validation_error")


@later
def test_option_out_of_range_is_validation_error(results):
    assert "'width'" in error_of(results, "width", "ValidationError", 400, "validation_error")
    assert "'padding'" in error_of(results, "padding", "ValidationError", 400, "validation_error")


def test_non_image_is_validation_error(results):
    assert "JPEG, PNG, TIFF, WebP" in error_of(results, "no image", "ValidationError", 400, "validation_error")
    error_of(results, "empty", "ValidationError", 400, "missing_image")


def test_too_large_image_is_rejected(results):
    assert "20 MiB" in error_of(results, "bytes", "ValidationError", 400, "image_too_large")
    assert "megapixels" in error_of(results, "pixels", "ValidationError", 400, "image_too_large")


def test_full_server_is_service_unavailable(results):
    assert "slots" in error_of(results, "full", "ServerError", 503, "service_unavailable")


def test_unknown_route_is_not_found(results):
    error_of(results, "route", "PoofError", 404, "not_found")


def test_client_reports_missing_file_itself(results):
    assert results["error no file"]["raised"] == "FileNotFoundError"


@latest
def test_urls_are_refused_by_name(results):
    """Without a file the client sends its options as an urlencoded form."""
    error = results["error url"]
    assert (error["raised"], error["status_code"]) == ("ValidationError", 400)
    assert "'url'" in error["details"]
    assert "CLEARCUT_FETCH=true" in error["details"]
    assert results["error neither"]["raised"] == "ValueError"


@latest
def test_videos_are_refused_by_name(results):
    assert "'format'" in error_of(results, "video format", "ValidationError", 400, "validation_error")
    assert "JPEG, PNG, TIFF, WebP" in error_of(results, "video", "ValidationError", 400, "validation_error")
    error_of(results, "job", "PoofError", 404, "not_found")
    error_of(results, "wait for job", "PoofError", 404, "not_found")
