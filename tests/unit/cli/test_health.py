"""``clearcut health``: the health check of a container."""

import http.server
import socket
from contextlib import contextmanager

import pytest

from clearcut.__main__ import main
from clearcut.cli.health import check_health, local_url
from tests.support.threaded_server import run_in_thread


@contextmanager
def responding(status: int):
    """A server that sends ``status``, and the paths of its requests."""
    paths = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    with run_in_thread(server):
        yield f"http://127.0.0.1:{server.server_port}", paths


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_exit_code_reports_status_of_livez(status, code, capsys):
    with responding(status) as (url, paths):
        assert main(["health", url]) == code
        assert main(["health", f"{url}/readyz", "--timeout", "9"]) == code
        assert main(["check", "--live", url]) == code  # the former name
    assert paths == ["/livez", "/readyz", "/livez"]
    assert f"/livez: {status}" in capsys.readouterr().out


def test_silent_server_times_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        alive, text = check_health(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
    assert not alive
    assert "timed out" in text


def test_failure_names_the_url(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.delenv("CLEARCUT_HOST", raising=False)
    monkeypatch.setenv("CLEARCUT_PORT", str(port))
    assert main(["health"]) == 1
    text = capsys.readouterr().out
    assert "/livez: " in text
    assert f"(tried http://127.0.0.1:{port}; set CLEARCUT_HOST and CLEARCUT_PORT" in text
    assert "clearcut health URL" in text
    assert main(["health", f"http://127.0.0.1:{port}"]) == 1
    assert capsys.readouterr().out.endswith(f" (http://127.0.0.1:{port})\n")


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://x", "127.0.0.1:80", "http://", "http://x:port", "http://x:70000", "http://[::1", "http://a..b",
        "http://127.0.0.1:1/ä",
    ],
)  # fmt: skip
def test_invalid_url_fails(url):
    assert check_health(url)[0] is False


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:9"), ("::", "http://[::1]:9"), ("10.1.2.3", "http://10.1.2.3:9")],
)
def test_local_url_uses_a_reachable_address(monkeypatch, host, url):
    monkeypatch.setenv("CLEARCUT_HOST", host)
    monkeypatch.setenv("CLEARCUT_PORT", "9")
    assert local_url() == url
