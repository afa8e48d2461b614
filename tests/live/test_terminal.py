"""``clearcut serve`` on a terminal, and the order of its log events elsewhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import httpx
import pytest

from clearcut import __version__
from tests.support.live_server import command, environment, served

pty = pytest.importorskip("pty")
pytestmark = pytest.mark.live


def read_until(terminal, text, output=""):
    """Read a terminal until the text appears or the process ends."""
    while text not in output:
        try:
            output += os.read(terminal, 4096).decode()
        except OSError:  # all writers have closed it
            break
    assert text in output
    return output


def test_terminal_shows_banner_and_readable_lines():
    terminal, end = pty.openpty()
    process = subprocess.Popen(command(), env=environment(port="0"), stdout=end, stderr=end)
    os.close(end)
    try:
        output = read_until(terminal, "press Ctrl-C")
        assert output.startswith(f"Clearcut {__version__} is starting")
        url = re.search(r"Page +(http://127\.0\.0\.1:\d+)/", output)[1]
        assert f"{url}/docs" in output
        assert f"curl --fail-with-body -F image_file=@photo.jpg {url}/v1/remove -o cutout.png" in output
        assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
        assert httpx.get(f"{url}/missing", trust_env=False).status_code == 404
        process.send_signal(signal.SIGINT)
        output = read_until(terminal, "stopping", output)
        assert re.search(r"\d\d:\d\d:\d\d info +GET none 404 in [\d.]+ ms", output)
        assert "{" not in output
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_log_is_json_and_listens_after_the_model_is_verified():
    with served(model="clearcut-s") as server:
        server.event("listening")
        events = [line["event"] for line in server.log]
        before = ["starting", "model measured"]
        # On a busy machine, the stored plan can be measured again.
        again = ["the cached plan was measured on a busy machine, and is measured again", "model measured"]
        assert events in ([*first, "ready", "listening"] for first in (before, [*before, *again]))
        assert server.log[0]["port"] == server.port
