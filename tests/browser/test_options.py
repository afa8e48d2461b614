"""Options, downloads and copied code: the saved file equals what the copied command returns."""

from __future__ import annotations

import shutil
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.support import samples
from tests.support.browser import curl_output, prefix_proxy, read_zip, run_copied

OPTIONS = {
    "default": {},
    "color": {"background": "color", "color": "#12ab9f"},
    "blur": {"background": "blur"},
    "crop": {"crop": "true"},
    "crop with margin": {"crop": "true", "margin": "12"},
    "square": {"crop": "1:1", "margin": "8", "background": "color"},
    "shadow": {"shadow": "45"},
    "webp": {"format": "webp"},
    "jpg": {"format": "jpg"},
    "small": {"size": "small", "format": "webp"},
    "preview": {"size": "preview"},
    "megapixels": {"size": "hd"},
    "exact size": {"size": "custom", "width": "640", "height": "480", "format": "jpg"},
    "all": {"background": "color", "color": "#ffeedd", "crop": "1:1", "margin": "10", "shadow": "30", "format": "webp"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_download_equals_copied_curl_command(tab, photos, tmp_path, options):
    photo = photos["cat"] if len(options) % 2 else photos["astronaut"]
    tab.choose(photo)
    tab.wait_done()
    tab.set(**options)
    command = tab.snippet()
    name, content = tab.download()
    assert name == curl_output(command)
    assert run_copied(command, [photo], tmp_path, name) == content


def test_every_size_and_format_is_accepted(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    for size in ("full", "hd", "large", "medium", "small", "preview"):
        tab.set(size=size)
        tab.expect(tab.get("error")).to_be_hidden()
    for image_format in ("webp", "jpg", "png"):
        tab.set(format=image_format)
        tab.expect(tab.page.locator("#summary")).to_contain_text(image_format.upper())


def test_note_names_the_size_limit_of_the_format(tab, tmp_path):
    large = tmp_path / "large.jpg"
    Image.fromarray(samples.photo("astronaut", 4100, 4100)).save(large, quality=80)
    tab.choose(large)
    tab.wait_done()
    note = tab.get("size-note")
    tab.expect(note).to_be_hidden()
    tab.set(format="avif")
    tab.expect(tab.get("error")).to_be_hidden()
    tab.expect(note).to_have_text("AVIF allows at most 16 megapixels. Choose a smaller size or another format.")
    tab.set(size="hd")
    tab.expect(note).to_be_hidden()
    tab.set(size="full", format="webp")
    tab.expect(note).to_be_hidden()


def test_background_image_is_sent(tab, photos, tmp_path):
    background = tmp_path / "my background.png"
    background.write_bytes(samples.png(samples.corners(300, 200)))
    tab.choose(photos["astronaut"])
    tab.wait_done()
    with tab.page.expect_file_chooser() as waiting:
        tab.page.locator("[name=background][value=image]").check()
    waiting.value.set_files([str(background)])
    tab.wait_idle()
    command = tab.snippet()
    assert "background_type=image" in command
    name, content = tab.download()
    folder = tmp_path / "curl"
    folder.mkdir()
    assert run_copied(command, [photos["astronaut"], background], folder, name) == content


def test_swatch_sets_color(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    tab.set(background="color")
    tab.page.get_by_role("button", name="Sage").click()
    tab.wait_idle()
    assert "bg_color=#cfe3d4" in tab.snippet()


def test_previews_do_not_run_the_model(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    assert [response.header_value("x-model") for response in tab.cutouts] == ["clearcut-m"]
    first = tab.shown()
    tab.set(background="blur", shadow="40")
    tab.set(crop="1:1", margin="15")
    assert tab.shown() != first
    previews = tab.cutouts[1:]
    assert previews
    assert [response.header_value("x-model") for response in previews] == [None] * len(previews)
    tab.set(background="none", shadow="0")
    count = len(tab.cutouts)
    tab.set(crop="")
    assert tab.shown() == first
    assert len(tab.cutouts) == count


def test_previews_of_large_photos_send_a_reduced_copy(open_tab, server, tmp_path):
    photo = tmp_path / "large.jpg"
    photo.write_bytes(samples.jpeg(samples.photo("coffee", 2400, 1600)))
    responses = []
    with prefix_proxy(server.base_url, "/recorded", responses) as url:
        tab = open_tab(url)
        tab.choose(photo)
        tab.wait_done()
        tab.set(background="color", color="#336699", crop="1:1", margin="10")
        preview, shown = tab.cutouts[-1], responses[-1]
        assert preview.header_value("x-model") is None
        assert [preview.header_value(f"x-original-{side}") for side in ("width", "height")] == ["1600", "1067"]
        described = tab.page.locator("#summary").inner_text()
        command = tab.snippet()
        name, content = tab.download()
        exact = tab.cutouts[-1]
        assert exact.header_value("x-original-width") == "2400"
        width, height = (int(exact.header_value(f"x-image-{side}")) for side in ("width", "height"))
        announced = [int(number) for number in described.split(" · ")[0].split(" × ")]
        assert max(abs(announced[0] - width), abs(announced[1] - height)) <= 1
        assert tab.page.locator("#summary").inner_text().startswith(f"{width} × {height} · PNG · ")
        folder = tmp_path / "curl"
        folder.mkdir()
        assert run_copied(command, [photo], folder, name) == content
    small, full = (
        np.asarray(Image.open(BytesIO(each)).convert("RGB").resize((64, 64))).astype(int) for each in (shown, content)
    )
    assert np.abs(small - full).mean() < 3


def test_early_option_changes_run_the_model_once(tab, photos):
    tab.choose(photos["astronaut"], photos["cat"])
    for value in ("blur", "color"):
        tab.page.locator(f"[name=background][value={value}]").check()
        tab.page.wait_for_timeout(250)
    tab.wait_done(2)
    tab.page.locator(".thumb").nth(1).click()
    tab.wait_idle()
    models = [response.header_value("x-model") for response in tab.cutouts]
    assert models.count("clearcut-m") == 2
    tab.expect(tab.get("error")).to_be_hidden()


def test_preview_equals_download(open_tab, server, photos):
    """The preview from the returned matte has the same bytes as the response of the model."""
    responses = []
    with prefix_proxy(server.base_url, "/recorded", responses) as url:
        tab = open_tab(url)
        tab.choose(photos["astronaut"])
        tab.wait_done()
        tab.set(background="color", color="#336699", crop="true", margin="10")
        preview = responses[-1]
        count = len(responses)
        assert tab.download()[1] == preview == responses[-1]
        assert len(responses) == count + 1


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_copied_program_writes_the_download(tab, photos, tmp_path, language):
    if language == "javascript" and shutil.which("node") is None:
        pytest.skip("Node is missing")
    tab.choose(photos["astronaut"])
    tab.wait_done()
    tab.set(background="color", crop="true", format="webp")
    program = tmp_path / {"python": "program.py", "javascript": "program.mjs"}[language]
    program.write_text(tab.snippet(language))
    name, content = tab.download()
    run = f"{sys.executable} {program}" if language == "python" else f"node {program}"
    assert run_copied(run, [photos["astronaut"]], tmp_path, name) == content


def test_copy_button_fills_clipboard(open_tab, photos):
    tab = open_tab(permissions=["clipboard-read", "clipboard-write"])
    tab.choose(photos["astronaut"])
    tab.wait_done()
    command = tab.snippet()
    tab.get("copy").click()
    tab.expect(tab.get("copy")).to_have_text("Copied")
    assert tab.page.evaluate("navigator.clipboard.readText()").splitlines() == command.splitlines()


def test_zip_holds_all_downloads(tab, photos, tmp_path):
    tab.choose(*photos.values(), photos["astronaut"])
    tab.wait_done(4)
    tab.set(format="webp", background="color")
    name, content = tab.download("download-all")
    assert name == "cutouts.zip"
    files = read_zip(content, tmp_path)
    assert list(files) == [
        "astronaut-cutout.webp",
        "coffee-cutout.webp",
        "it's a; cat, large-cutout.webp",
        "astronaut-cutout-2.webp",
    ]
    for index, photo in enumerate([*photos.values(), photos["astronaut"]]):
        tab.page.locator(".thumb").nth(index).click()
        tab.wait_idle()
        folder = tmp_path / str(index)
        folder.mkdir()
        command = tab.snippet()
        assert run_copied(command, [photo], folder, curl_output(command)) == list(files.values())[index]


def test_invalid_exact_size_is_not_sent(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    tab.set(size="custom", width="99999", height="300")
    assert "width" not in tab.snippet()
    assert "height=300" in tab.snippet()
    tab.expect(tab.get("error")).to_be_hidden()
