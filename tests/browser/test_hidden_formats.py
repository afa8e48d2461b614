"""Inputs that the browser cannot show, such as HEIC: comparison with a copy from the server, brush, and API keys."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from clearcut.imaging.formats.heif.hevc_library import find_library
from tests.support import samples
from tests.support.account_clients import Accounts
from tests.support.browser import run_copied
from tests.support.live_server import served

FORMATS = ["tiff", pytest.param("heic", marks=pytest.mark.skipif(find_library() is None, reason="no HEIC decoder"))]


def shown_pixels(locator):
    """Return the pixels of an image element at its natural size."""
    url = locator.evaluate(
        """image => image.decode().then(() => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL("image/png");
        })"""
    )
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"), int)


@pytest.mark.parametrize("name", FORMATS)
def test_before_image_comes_from_the_server(tab, hidden_formats, name):
    tab.choose(hidden_formats[name])
    tab.wait_done()
    before = tab.page.locator("#before-image")
    tab.expect(before).to_be_visible()
    tab.expect(tab.get("compare")).to_be_visible()
    tab.expect(tab.page.locator("#hint")).not_to_contain_text("cannot show")
    pixels = shown_pixels(before)
    assert pixels.shape == (160, 240, 3)
    assert np.abs(pixels - samples.photo("coffee", 240, 160)).mean() < 6
    assert len(tab.cutouts) == 2
    assert tab.cutouts[1].header_value("x-model") is None


def test_copy_is_requested_once_for_each_file(tab, photos, hidden_formats):
    tab.choose(hidden_formats["tiff"], photos["astronaut"])
    tab.wait_done(2)
    before = tab.page.locator("#before-image")
    tab.expect(before).to_be_visible()
    sources = {before.get_attribute("src")}
    tab.page.locator(".thumb").nth(1).click()
    tab.expect(tab.page.locator("#photo-name")).to_have_text("astronaut.jpg")
    sources.add(before.get_attribute("src"))
    tab.page.locator(".thumb").nth(0).click()
    tab.set(background="blur")
    tab.set(background="none")
    assert len(sources) == 2
    assert len(tab.cutouts) == 4  # two cut-outs, one copy, one with blur


def test_copy_is_requested_for_the_selected_photo_only(tab, hidden_formats, tmp_path):
    second = tmp_path / "second.tif"
    second.write_bytes(hidden_formats["tiff"].read_bytes())
    tab.choose(hidden_formats["tiff"], second)
    tab.wait_done(2)
    before = tab.page.locator("#before-image")
    tab.expect(before).to_be_visible()
    assert len(tab.cutouts) == 3  # two cut-outs, one copy
    tab.page.locator(".thumb").nth(1).click()
    tab.expect(tab.page.locator("#photo-name")).to_have_text("second.tif")
    tab.expect(before).to_be_visible()
    assert len(tab.cutouts) == 4


def test_copy_shows_no_color_of_transparent_pixels(tab, tmp_path):
    pixels = np.dstack([samples.photo("coffee", 240, 160), np.full((160, 240), 255, np.uint8)])
    pixels[:, :80] = (255, 0, 0, 0)
    file = tmp_path / "transparent.tif"
    Image.fromarray(pixels).save(file)
    tab.choose(file)
    tab.wait_done()
    before = tab.page.locator("#before-image")
    tab.expect(before).to_be_visible()
    shown = shown_pixels(before)
    assert shown[:, :72].min() > 245
    assert np.abs(shown[:, 88:] - pixels[:, 88:, :3]).mean() < 6


def route_copy(tab, answer):
    """Answer the request for the copy, which follows that for the cut-out. Return the list of all routes."""
    routes = []

    def respond(route):
        routes.append(route)
        if len(routes) == 2:
            answer(route)
        else:
            route.continue_()

    tab.page.route("**/v1/remove", respond)
    return routes


def fail_temporarily(route):
    route.fulfill(status=503, json={"code": "service_unavailable"})


@pytest.mark.parametrize("answer", [fail_temporarily, lambda route: route.abort()], ids=["503", "no connection"])
def test_copy_is_requested_again_after_an_error(open_tab, hidden_formats, answer):
    tab = open_tab()
    routes = route_copy(tab, answer)
    tab.choose(hidden_formats["tiff"])
    tab.wait_done()
    assert len(routes) == 2
    tab.expect(tab.get("compare")).to_be_hidden()
    tab.expect(tab.page.locator("#hint")).not_to_contain_text("cannot show")
    tab.page.locator(".thumb").click()
    tab.expect(tab.page.locator("#before-image")).to_be_visible()
    assert len(routes) == 3


def test_removed_photo_leaves_no_image_in_memory(tab, hidden_formats):
    tab.page.add_init_script(
        """window.urls = new Set();
        const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
        URL.createObjectURL = (blob) => { const url = create.call(URL, blob); urls.add(url); return url; };
        URL.revokeObjectURL = (url) => { urls.delete(url); revoke.call(URL, url); };"""
    )
    tab.open()
    held = []
    route_copy(tab, held.append)
    tab.choose(hidden_formats["tiff"])
    tab.wait_done()
    for background in ("blur", "none"):  # each asks for the same copy
        tab.set(background=background)
    held[0].continue_()
    tab.expect(tab.page.locator("#before-image")).to_be_visible()
    assert tab.page.evaluate("urls.size") == 4  # the file, two results, the copy
    tab.page.locator("#remove").click()
    assert tab.page.evaluate("urls.size") == 0


def test_hint_names_low_confidence_and_missing_comparison(open_tab, hidden_formats):
    tab = open_tab()
    tab.page.add_init_script(
        """const get = Headers.prototype.get;
        Headers.prototype.get = function (name) {
          return name === "X-Matte-Confidence" ? "0.31" : get.call(this, name);
        };"""
    )
    tab.open()
    route_copy(tab, lambda route: route.fulfill(status=400, json={"code": "bad_request"}))
    tab.choose(hidden_formats["tiff"])
    tab.wait_done()
    tab.expect(tab.page.locator("#hint")).to_have_text(
        "The result is uncertain. Check the edge, and use Touch up where needed. "
        "This browser cannot show the input file, so there is no comparison. The result is complete."
    )


def test_touch_up_shows_progress_while_the_copy_loads(tab, hidden_formats):
    held = []
    route_copy(tab, held.append)
    tab.choose(hidden_formats["tiff"])
    tab.wait_done()
    tab.expect(tab.page.locator("#busy")).to_be_hidden()
    tab.get("brush").click()
    tab.expect(tab.page.locator("#busy")).to_be_visible()
    tab.expect(tab.get("brush")).to_be_disabled()
    tab.expect(tab.get("status")).to_have_text("Touch up is loading the photo.")
    held[0].continue_()
    tab.expect(tab.get("brush-canvas")).to_be_visible()
    tab.expect(tab.page.locator("#busy")).to_be_hidden()


def test_touch_up_shows_the_whole_input(tab, hidden_formats):
    tab.choose(hidden_formats["tiff"])
    tab.wait_done()
    tab.expect(tab.page.locator("#before-image")).to_be_visible()
    tab.get("brush").click()
    canvas = tab.get("brush-canvas")
    tab.expect(canvas).to_be_visible()
    corner = canvas.evaluate("canvas => Array.from(canvas.getContext('2d').getImageData(4, 4, 1, 1).data)")
    assert corner[3] > 0  # the dimmed background; it would be empty without the input


def test_download_uses_the_file_and_not_the_copy(tab, hidden_formats, tmp_path):
    tab.choose(hidden_formats["tiff"])
    tab.wait_done()
    name, content = tab.download()
    assert run_copied(tab.snippet(), [hidden_formats["tiff"]], tmp_path, name) == content


def test_with_a_key_there_is_a_note_and_no_charge(open_tab, hidden_formats, tmp_path):
    url = f"sqlite:///{tmp_path}/keys.db"
    accounts = Accounts(url)
    (key,) = accounts.make(1, 20)
    with served(lanes="1", database_url=url) as server:
        tab = open_tab(server.base_url)
        tab.page.locator("#key-open").click()
        tab.get("key-input").fill(key)
        tab.get("key-save").click()
        tab.choose(hidden_formats["tiff"])
        tab.wait_done()
        tab.expect(tab.page.locator("#hint")).to_contain_text("This browser cannot show the input file")
        tab.expect(tab.get("result").locator("img")).to_be_visible()
        tab.expect(tab.get("compare")).to_be_hidden()
        tab.expect(tab.page.locator("#before")).to_be_hidden()
        tab.expect(tab.page.locator("#credits-left")).to_have_text("19 credits left")
    accounts.close()


def test_key_entered_while_the_copy_waits_is_not_charged(open_tab, hidden_formats, tmp_path):
    url = f"sqlite:///{tmp_path}/keys.db"
    accounts = Accounts(url)
    (key,) = accounts.make(1, 20)
    with served(lanes="1", database_url=url, allow_anonymous="true") as server:
        tab = open_tab(server.base_url)
        held = []
        routes = route_copy(tab, held.append)
        tab.choose(hidden_formats["tiff"])
        tab.wait_done()
        tab.page.locator("#key-open").click()
        tab.get("key-input").fill(key)
        tab.get("key-save").click()
        tab.expect(tab.page.locator("#credits-left")).to_have_text("20 credits left")
        held[0].fulfill(status=503, headers={"Retry-After": "1"}, json={"code": "service_unavailable"})
        tab.expect(tab.page.locator("#before-image")).to_be_visible()
        assert ["x-api-key" in route.request.headers for route in routes] == [False, False, False]
        assert not accounts.states()
    accounts.close()


def test_avif_output(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    tab.set(format="avif")
    tab.expect(tab.page.locator("#summary")).to_contain_text("AVIF")
    name, content = tab.download()
    assert name == "astronaut-cutout.avif"
    with Image.open(BytesIO(content)) as image:
        assert (image.format, image.mode, image.size) == ("AVIF", "RGBA", (512, 512))
