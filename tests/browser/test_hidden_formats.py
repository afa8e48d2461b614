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


def test_avif_output(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    tab.set(format="avif")
    tab.expect(tab.page.locator("#summary")).to_contain_text("AVIF")
    name, content = tab.download()
    assert name == "astronaut-cutout.avif"
    with Image.open(BytesIO(content)) as image:
        assert (image.format, image.mode, image.size) == ("AVIF", "RGBA", (512, 512))
