"""The keep/erase brush: strokes, undo, keyboard, and the edited mask in downloads and copied commands."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.support.browser import run_copied


def alpha(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content)).convert("RGBA"))[..., 3]


@pytest.fixture
def edited(tab, photos):
    tab.choose(photos["astronaut"])
    tab.wait_done()
    return tab


def open_brush(tab):
    tab.get("brush").click()
    tab.expect(tab.get("brush-canvas")).to_be_visible()
    return tab.get("brush-canvas").bounding_box()


def stroke(tab, box, start, end):
    point = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, end)]
    tab.page.mouse.move(*point[0])
    tab.page.mouse.down()
    tab.page.mouse.move(*point[1], steps=10)
    tab.page.mouse.up()


def finish(tab):
    tab.get("brush-done").click()
    tab.expect(tab.get("brush")).to_be_visible()
    tab.wait_idle()


def test_erase_and_keep_edit_the_matte(edited, photos, tmp_path):
    tab = edited
    before = alpha(tab.download()[1])
    box = open_brush(tab)
    stroke(tab, box, (0.35, 0.7), (0.55, 0.7))
    tab.page.locator("[name=brush][value=keep]").check()
    stroke(tab, box, (0.8, 0.1), (0.9, 0.1))
    finish(tab)
    name, content = tab.download()
    after = alpha(content)
    assert before[358, 230] > 240
    assert after[358, 230] == 0
    assert before[51, 435] < 30
    assert after[51, 435] == 255
    far = np.s_[400:, :]
    assert np.array_equal(before[far], after[far])
    command = tab.snippet()
    assert "mask=@astronaut-mask.png" in command
    mask_name, mask = tab.download("mask-download")
    (tmp_path / "mask").mkdir()
    file = tmp_path / "mask" / mask_name
    file.write_bytes(mask)
    assert Image.open(BytesIO(mask)).mode == "L"
    assert run_copied(command, [photos["astronaut"], file], tmp_path, name) == content


def test_undo_restores_the_first_result(edited):
    tab = edited
    first = tab.download()[1]
    box = open_brush(tab)
    stroke(tab, box, (0.3, 0.6), (0.6, 0.6))
    stroke(tab, box, (0.3, 0.7), (0.6, 0.7))
    tab.get("undo").click()
    tab.page.keyboard.press("Control+z")
    tab.expect(tab.get("undo")).to_be_disabled()
    finish(tab)
    assert tab.download()[1] == first
    assert "mask" not in tab.snippet()


def test_strokes_can_be_undone_later(edited):
    tab = edited
    first = tab.download()[1]
    box = open_brush(tab)
    stroke(tab, box, (0.3, 0.6), (0.6, 0.6))
    finish(tab)
    assert tab.download()[1] != first
    open_brush(tab)
    tab.get("undo").click()
    finish(tab)
    assert tab.download()[1] == first


def test_cancel_discards_strokes(edited):
    tab = edited
    first = tab.shown()
    box = open_brush(tab)
    stroke(tab, box, (0.3, 0.6), (0.6, 0.6))
    tab.page.locator("#brush-cancel").click()
    tab.wait_idle()
    assert tab.shown() == first
    assert "mask" not in tab.snippet()


def test_brush_works_with_keyboard(edited):
    tab = edited
    before = alpha(tab.download()[1])
    tab.get("brush").press("Enter")
    tab.expect(tab.get("brush-canvas")).to_be_focused()
    for key in ("]", "]", "ArrowDown", "ArrowDown", " ", "Escape"):
        tab.page.keyboard.press(key)
    tab.expect(tab.get("brush")).to_be_focused()
    tab.wait_idle()
    after = alpha(tab.download()[1])
    assert (after < before).sum() > 500


def test_options_apply_to_edited_matte(edited):
    tab = edited
    box = open_brush(tab)
    stroke(tab, box, (0.3, 0.6), (0.6, 0.6))
    finish(tab)
    tab.set(background="color", color="#00ff00")
    pixels = np.asarray(Image.open(BytesIO(tab.download()[1])).convert("RGB"))
    assert tuple(pixels[307, 230]) == (0, 255, 0)
