"""Photos on the page: choose, drop, paste, queue, compare, remove, phone and path prefix."""

from __future__ import annotations

import base64

from tests.support.browser import prefix_proxy, run_copied

MAKE_TRANSFER = """(files) => {
    const transfer = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
    }
    return transfer;
}"""


def transfer(tab, *files):
    encoded = [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files]
    return tab.page.evaluate_handle(MAKE_TRANSFER, encoded)


def test_chosen_photo_shows_result(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    tab.expect(tab.get("result").locator("img")).to_be_visible()
    assert tab.shown().startswith("blob:")
    natural = tab.get("result").locator("img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert natural == [512, 512]
    tab.page.locator("#facts summary").click()
    text = tab.get("details").inner_text()
    assert "512 × 512 PNG" in text
    assert "model" in text
    assert "%" in text
    assert tab.page.locator("#fact-credits").inner_text() == "0"


def test_example_photo_works(tab):
    tab.get("example").click()
    tab.wait_done()
    assert tab.page.locator("#photo-name").inner_text() == "example.jpg"


def test_choose_button_opens_file_dialog(tab, photos):
    with tab.page.expect_file_chooser() as waiting:
        tab.page.locator("#choose").click()
    assert waiting.value.is_multiple()
    waiting.value.set_files([str(photos["cat"])])
    tab.wait_done()


def test_dropped_photos_are_processed(tab, photos):
    dropped = transfer(tab, photos["astronaut"], photos["coffee"])
    tab.page.dispatch_event("#drop", "dragenter", {"dataTransfer": dropped})
    tab.expect(tab.page.locator("#veil")).to_be_visible()
    tab.page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    tab.expect(tab.page.locator("#veil")).to_be_hidden()
    tab.wait_done(2)


def test_pasted_photo_is_processed(tab, photos):
    pasted = transfer(tab, photos["astronaut"])
    tab.page.evaluate(
        "data => document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}))", pasted
    )
    tab.wait_done()
    tab.expect(tab.page.get_by_test_id("result").locator("img")).to_be_visible()


def test_three_files_queue_and_switch(tab, photos):
    tab.choose(*photos.values())
    tab.wait_done(3)
    names = [file.name for file in photos.values()]
    thumbs = tab.page.locator(".thumb")
    assert [thumbs.nth(index).get_attribute("title") for index in range(3)] == names
    sources = set()
    for index, name in enumerate(names):
        thumbs.nth(index).click()
        tab.expect(tab.page.locator("#photo-name")).to_have_text(name)
        sources.add(tab.shown())
    assert len(sources) == 3
    thumbs.nth(2).focus()
    tab.page.keyboard.press("Delete")
    tab.expect(thumbs).to_have_count(2)
    tab.page.locator("#remove").click()
    tab.page.locator("#remove").click()
    tab.expect(tab.page.locator("#choose")).to_be_visible()


def test_rotated_photo_is_upright(tab, photos):
    tab.choose(photos["coffee"])
    tab.wait_done()
    result = tab.get("result").locator("img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    before = tab.page.locator("#before-image").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert result == before == [600, 400]


def test_compare_slider_works_with_keyboard_and_mouse(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    slider = tab.get("compare")
    slider.focus()
    tab.page.keyboard.press("Home")
    assert tab.page.locator("#frame").evaluate("frame => frame.style.getPropertyValue('--split')") == "0%"
    box = slider.bounding_box()
    tab.page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    assert 74 <= float(slider.input_value()) <= 76


def test_before_image_aligns_with_crop(tab, photos):
    """The crop of the input below the slider shows the same pixels as the result."""
    tab.choose(photos["cat"])
    tab.wait_done()
    tab.set(crop="1:1", margin="20", background="blur")
    frame = tab.page.locator("#frame")
    tab.page.locator(".tag-before").evaluate("tag => (tag.style.opacity = 0)")
    tab.page.locator(".tag-after").evaluate("tag => (tag.style.opacity = 0)")
    shots = []
    for key in ("Home", "End"):
        tab.get("compare").focus()
        tab.page.keyboard.press(key)
        shots.append(frame.screenshot(type="png"))
    difference = pixel_difference(*shots)
    assert difference < 12


def pixel_difference(first: bytes, second: bytes) -> float:
    """Return the mean absolute difference in the middle of two screenshots."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    arrays = [np.asarray(Image.open(BytesIO(each)).convert("RGB"), np.float32) for each in (first, second)]
    height, width = arrays[0].shape[:2]
    middle = np.s_[int(height * 0.42) : int(height * 0.58), int(width * 0.42) : int(width * 0.58)]
    return float(np.abs(arrays[0][middle] - arrays[1][middle]).mean())


def test_phone_width_has_no_horizontal_scroll(open_tab, photos):
    tab = open_tab(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    assert tab.overflow() <= 0
    tab.choose(*photos.values())
    tab.wait_done(3)
    tab.set(background="color", crop="true", size="custom")
    assert tab.overflow() <= 0
    tab.expect(tab.get("download")).to_be_in_viewport()
    tab.get("brush").tap()
    tab.expect(tab.get("brush-canvas")).to_be_visible()
    assert tab.overflow() <= 0
    assert tab.errors == []


def test_page_works_under_path_prefix(open_tab, server, photos, tmp_path):
    with prefix_proxy(server.base_url, "/images/cutout") as url:
        tab = open_tab(url)
        tab.choose(photos["astronaut"])
        tab.wait_done()
        assert f"{url}/v1/remove" in tab.snippet()
        name, content = tab.download()
        assert run_copied(tab.snippet(), [photos["astronaut"]], tmp_path, name) == content
        assert tab.errors == []
