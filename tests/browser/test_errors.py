"""Errors in words: wrong files, a stopped server, a busy server, and API keys."""

from __future__ import annotations

import pytest

from tests.support.account_clients import Accounts
from tests.support.browser import run_copied
from tests.support.live_server import served


def only_http_errors(tab):
    """Chromium logs each HTTP error status and failed connection. There must be no other console error."""
    return [error for error in tab.errors if not error.startswith("Failed to load resource")] == []


def test_pdf_is_refused_in_words(tab, photos, tmp_path):
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(b"%PDF-1.4 example")
    tab.choose(pdf, photos["astronaut"])
    tab.expect(tab.get("error")).to_contain_text("report.pdf is a PDF, not an image")
    tab.wait_done(1)
    assert len(tab.cutouts) == 1
    tab.page.locator("#problem-remove").click()
    tab.expect(tab.page.locator("#photo-name")).to_have_text("astronaut.jpg")


def test_pdf_with_image_name_is_refused_in_words(open_tab, tmp_path):
    disguised = tmp_path / "photo.jpg"
    disguised.write_bytes(b"%PDF-1.4 example")
    tab = open_tab()
    tab.choose(disguised)
    tab.expect(tab.get("error")).to_contain_text(
        "Unsupported image type: detected PDF; export the page as JPEG or PNG. Accepted: AVIF, BMP, GIF, "
    )
    assert only_http_errors(tab)


def test_large_file_is_not_sent(tab, tmp_path):
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(21 * 1024 * 1024)
    tab.choose(large)
    tab.expect(tab.get("error")).to_contain_text("large.jpg has 21 MiB. This server accepts at most 20 MiB.")
    assert tab.cutouts == []


def test_stopped_server_is_reported_in_words(open_tab, photos):
    with served(lanes="1") as server:
        tab = open_tab(server.base_url)
        tab.choose(photos["astronaut"])
        tab.wait_done()
        server.stop()
        tab.page.locator("[name=background][value=blur]").check()
        tab.expect(tab.get("error")).to_contain_text("The server does not respond.")
        tab.choose(photos["cat"])
        tab.expect(tab.page.locator(".thumb[data-state=failed]")).to_have_count(2)
        tab.expect(tab.page.get_by_role("button", name="Try again")).to_be_visible()
        assert only_http_errors(tab)


def test_retry_works_after_network_failure(open_tab, photos):
    tab = open_tab()
    tab.page.context.set_offline(True)
    tab.choose(photos["astronaut"])
    tab.expect(tab.get("error")).to_contain_text("The server does not respond.")
    tab.page.context.set_offline(False)
    tab.page.get_by_role("button", name="Try again").click()
    tab.wait_done()
    assert only_http_errors(tab)


def test_busy_server_is_retried(open_tab, photos):
    tab = open_tab()
    answers = [503, 503]

    def busy(route):
        if answers:
            route.fulfill(status=answers.pop(), headers={"Retry-After": "1"}, json={"code": "service_unavailable"})
        else:
            route.continue_()

    tab.page.route("**/v1/remove", busy)
    tab.choose(photos["astronaut"])
    tab.wait_done()
    assert answers == []
    assert only_http_errors(tab)


@pytest.fixture
def guarded(tmp_path):
    """A server that requires keys, and a key with 20 credits."""
    url = f"sqlite:///{tmp_path}/keys.db"
    accounts = Accounts(url)
    (key,) = accounts.make(1, 20)
    with served(lanes="1", database_url=url) as server:
        yield server, key
    accounts.close()


def test_wrong_key_is_refused_and_right_key_works(open_tab, guarded, photos, tmp_path):
    server, key = guarded
    tab = open_tab(server.base_url)
    tab.choose(photos["astronaut"])
    tab.expect(tab.page.locator("#key-dialog")).to_be_visible()
    assert tab.cutouts == []
    tab.get("key-input").fill("cc_wrong")
    tab.get("key-save").click()
    tab.expect(tab.get("key-message")).to_contain_text("The server does not accept this key.")
    tab.get("key-input").fill(key)
    tab.get("key-save").click()
    tab.expect(tab.page.locator("#key-dialog")).to_be_hidden()
    tab.wait_done()
    tab.expect(tab.page.locator("#credits-left")).to_have_text("19 credits left")
    name, content = tab.download()
    tab.expect(tab.page.locator("#credits-left")).to_have_text("19 credits left")
    command = tab.snippet()
    assert key not in command
    assert run_copied(command, [photos["astronaut"]], tmp_path, name, CLEARCUT_API_KEY=key) == content
    assert only_http_errors(tab)


def test_with_a_key_nothing_is_charged_without_a_click(open_tab, guarded, photos):
    server, key = guarded
    tab = open_tab(server.base_url)
    tab.page.locator("#key-open").click()
    tab.get("key-input").fill(key)
    tab.get("key-save").click()
    tab.expect(tab.page.locator("#credits-left")).to_have_text("20 credits left")
    tab.choose(photos["astronaut"])
    tab.wait_done()
    tab.set(background="blur")
    tab.set(crop="true")
    assert len(tab.cutouts) == 1
    tab.get("apply").click()
    tab.wait_idle()
    tab.expect(tab.get("apply")).to_be_hidden()
    assert len(tab.cutouts) == 2
    tab.download()
    assert len(tab.cutouts) == 2
    tab.expect(tab.page.locator("#credits-left")).to_have_text("18 credits left")
    assert tab.errors == []


def test_missing_key_is_explained(open_tab, guarded, photos):
    server, _ = guarded
    tab = open_tab(server.base_url)
    tab.choose(photos["astronaut"])
    tab.page.locator("#key-cancel").click()
    tab.expect(tab.get("error")).to_contain_text("This server requires an API key.")
    tab.page.get_by_role("button", name="Try again").click()
    tab.expect(tab.page.locator("#key-dialog")).to_be_visible()
    assert tab.errors == []
