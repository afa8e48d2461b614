"""axe-core on every state of the page and on /docs, in light, dark and at phone width."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.live_server import ROOT

AXE = ROOT / ".cache" / "browser" / "package" / "axe.min.js"
VIEWS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


@pytest.fixture(scope="module")
def axe() -> str:
    if not Path(AXE).exists():
        pytest.skip("axe-core is missing; `make test-browser` downloads it with npm")
    return AXE.read_text()


def findings(tab, axe: str) -> list[str]:
    """Return the violations of every impact but minor ones, with their elements."""
    tab.page.evaluate(axe)
    result = tab.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']} ({each['impact']}): {[node['html'][:160] for node in each['nodes']]}"
        for each in result["violations"]
        if each["impact"] != "minor"
    ]


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_page_has_no_accessibility_findings(open_tab, photos, tmp_path, axe, view):
    tab = open_tab(**view)
    assert findings(tab, axe) == []
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(b"%PDF-1.4 example")
    tab.choose(photos["astronaut"], photos["cat"], pdf)
    tab.wait_done(2)
    tab.set(background="color", crop="true", size="custom", format="jpg")
    tab.snippet()
    tab.page.locator("#facts summary").click()
    assert findings(tab, axe) == []
    tab.get("brush").click()
    tab.expect(tab.get("brush-canvas")).to_be_visible()
    assert findings(tab, axe) == []
    tab.page.locator("#brush-cancel").click()
    tab.page.locator(".thumb").nth(2).click()
    tab.expect(tab.get("error")).to_be_visible()
    assert findings(tab, axe) == []
    tab.page.evaluate("document.getElementById('key-dialog').showModal()")
    assert findings(tab, axe) == []
    assert tab.errors == []


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_docs_page_has_no_accessibility_findings(open_tab, server, axe, view):
    tab = open_tab(**view)
    tab.page.goto(f"{server.base_url}/docs")
    tab.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert findings(tab, axe) == []
    assert tab.overflow() <= 0
    tab.page.locator("a", has_text="Open the page").click()
    tab.expect(tab.page.locator("#choose")).to_be_visible()


def test_page_works_with_keyboard_alone(tab, photos):
    """Tab order reaches every control, and the focused element is always visible."""
    tab.choose(photos["astronaut"], photos["cat"])
    tab.wait_done(2)
    seen = set()
    for _ in range(40):
        tab.page.keyboard.press("Tab")
        name = tab.page.evaluate(
            "document.activeElement.id || document.activeElement.name || document.activeElement.className"
            " || document.activeElement.tagName"
        )
        seen.add(name)
    expected = {"remove", "brush-open", "compare", "thumb checker", "add", "background", "crop", "shadow", "format",
                "size", "download", "download-all", "SUMMARY"}  # fmt: skip
    assert expected <= seen
