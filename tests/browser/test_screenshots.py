"""Screenshots of the page. With SCREENSHOTS=1 they replace those in docs/."""

from __future__ import annotations

import os

import pytest

from tests.support.live_server import ROOT

LARGE = {"width": 1360, "height": 850}
PHONE = {"width": 390, "height": 844}
VIEWS = {
    "light": {"viewport": LARGE},
    "dark": {"viewport": LARGE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True, "device_scale_factor": 1.5},
}


@pytest.mark.parametrize("name", VIEWS)
def test_screenshot_is_small(open_tab, photos, tmp_path, name):
    tab = open_tab(**VIEWS[name])
    tab.get("example").click()
    tab.choose(photos["coffee"], photos["cat"])
    tab.wait_done(3)
    tab.page.locator(".thumb").first.click()
    if name == "dark":
        tab.set(background="color", color="#cddcf5", crop="1:1", margin="6")
    tab.page.mouse.move(0, 0)
    tab.page.evaluate("document.activeElement.blur()")
    tab.page.wait_for_timeout(300)
    folder = ROOT / "docs" if os.environ.get("SCREENSHOTS") else tmp_path
    file = folder / f"playground-{name}.jpg"
    tab.page.screenshot(path=file, type="jpeg", quality=70)
    assert 5_000 < file.stat().st_size < 90_000
