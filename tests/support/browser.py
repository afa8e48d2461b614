"""One tab of a real Chromium on the page at ``/``, and what the browser tests compare its downloads with."""

from __future__ import annotations

import http.client
import os
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.threaded_server import run_in_thread

TIMEOUT_MS = 60_000


class Tab:
    """One browser tab on the page. It records console errors and requests to other origins."""

    def __init__(self, page: Any, base_url: str) -> None:
        self.page = page
        self.base_url = base_url.rstrip("/") + "/"
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.cutouts: list[Any] = []
        """Responses to POST v1/remove."""
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._check_origin)
        page.on("response", lambda response: response.url.endswith("v1/remove") and self.cutouts.append(response))

    def _check_origin(self, request: Any) -> None:
        if not request.url.startswith((self.base_url, "blob:", "data:")):
            self.foreign.append(request.url)

    def open(self) -> Tab:
        self.page.goto(self.base_url)
        return self

    def get(self, test_id: str) -> Any:
        return self.page.get_by_test_id(test_id)

    def choose(self, *files: Path) -> None:
        self.get("file-input").set_input_files(list(files))

    def wait_done(self, count: int = 1) -> None:
        """Wait until this many photos are done and the visible one is up to date."""
        self.expect(self.page.locator(".thumb[data-state=done]")).to_have_count(count)
        self.wait_idle()

    def wait_idle(self) -> None:
        self.page.wait_for_timeout(260)  # longer than the delay between an option and its request
        self.expect(self.page.locator("#mat")).to_have_attribute("aria-busy", "false")

    def expect(self, locator: Any) -> Any:
        from playwright.sync_api import expect

        expect.set_options(timeout=TIMEOUT_MS)
        return expect(locator)

    def set(self, **options: str) -> None:
        """Set fields of the options form: ``background="blur"``, ``margin="10"``."""
        for name, value in options.items():
            field = self.page.locator(f"#options [name={name}]")
            kind = field.first.get_attribute("type")
            if kind == "radio":
                self.page.locator(f"#options [name={name}][value='{value}']").check()
            elif kind is None:
                field.select_option(value)
            else:
                field.fill(value)
        self.wait_idle()

    def snippet(self, language: str = "curl") -> str:
        if self.page.locator("#code").get_attribute("open") is None:
            self.page.locator("#code summary").click()
        self.page.locator(f"#tab-{language}").click()
        return self.get("snippet").inner_text()

    def download(self, button: str = "download") -> tuple[str, bytes]:
        """Click a download button and return the file's name and content."""
        with self.page.expect_download() as waiting:
            self.get(button).click()
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()

    def shown(self) -> str:
        return self.get("result").locator("img").get_attribute("src") or ""

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def run_copied(command: str, files: list[Path], folder: Path, output: str, **environ: str) -> bytes:
    """Run a copied command in a folder with copies of the files, and return the file that it writes."""
    for file in files:
        shutil.copy(file, folder)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return (folder / output).read_bytes()


def curl_output(command: str) -> str:
    """Return the name of the file that a curl command writes."""
    words = shlex.split(command.replace("\\\n", " "))
    return words[words.index("-o") + 1]


def read_zip(content: bytes, folder: Path) -> dict[str, bytes]:
    (folder / "downloaded.zip").write_bytes(content)
    with zipfile.ZipFile(folder / "downloaded.zip") as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@contextmanager
def prefix_proxy(upstream: str, prefix: str, responses: list[bytes] | None = None) -> Iterator[str]:
    """Run an HTTP proxy that serves ``upstream`` under a path prefix. Yield the URL with the prefix.

    Args:
        responses: Receives the body of each response to a POST request.
    """
    host = upstream.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            if not self.path.startswith(prefix + "/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.request(self.command, self.path.removeprefix(prefix), body or None, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
            if responses is not None and self.command == "POST":
                responses.append(content)
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("content-length", "date", "connection"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            connection.close()
            with suppress(ConnectionError):  # the page cancels requests with outdated options
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = forward  # noqa: N815 - names of the standard library

        def log_message(self, *_: Any) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with run_in_thread(proxy):
        yield f"http://127.0.0.1:{proxy.server_port}{prefix}"
