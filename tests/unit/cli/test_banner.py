"""The banner of ``clearcut serve``."""

import pytest

from clearcut.cli.banner import ready_text
from clearcut.environment import load_settings

MODEL = {"name": "clearcut-m", "precision": "int8", "device": "cpu"}


def text(**environ):
    return ready_text(
        load_settings({f"CLEARCUT_{name.upper()}": value for name, value in environ.items()}), 8090, MODEL
    )


def test_banner_has_page_docs_curl_and_stop():
    lines = text().strip().splitlines()
    assert "clearcut-m (int8) on cpu" in lines[0]
    assert [line.split(maxsplit=1)[0] for line in lines[2:]] == ["Page", "API", "Try", "Stop"]
    assert "http://127.0.0.1:8090/docs" in lines[3]
    assert "X-API-Key" not in text()


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:8090"), ("::1", "http://[::1]:8090")])
def test_banner_has_a_reachable_url(host, url):
    assert f"{url}/v1/remove" in text(host=host, allow_anonymous="true")


def test_banner_follows_settings():
    assert "off (CLEARCUT_PLAYGROUND)" in text(playground="false")
    assert '-H "X-API-Key: $CLEARCUT_API_KEY"' in text(database_url="sqlite:///a.db")
    assert "X-API-Key" not in text(database_url="sqlite:///a.db", allow_anonymous="true")
