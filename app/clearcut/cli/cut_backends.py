"""The backend of ``clearcut cut --server``: a running service."""

from __future__ import annotations

import http.client
import io
import json
import os
import secrets
import socket
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clearcut.batch.process import FileFailed, FileOutput
from clearcut.environment import CLIENT_KEY
from clearcut.errors import StartupError
from clearcut.imaging.types import Box

from .cut_files import UsageError

SERVER_WORKERS = 8
"""Default number of concurrent requests to a service."""
REQUEST_TIMEOUT_S = 120.0
CONNECT_TIMEOUT_S = 5.0
ATTEMPTS = 6
"""Attempts of a request while the service answers 429 or 503."""
MAX_RETRY_WAIT_S = 30.0
_FATAL_STATUSES = (401, 402, 403)
"""Statuses that every further request would get as well."""
_WRONG_URL_STATUSES = (404, 405, 501)
_PATH = "/v1/remove"


def find_key(key: str | None) -> str | None:
    """Return the API key: ``key``, or that of the environment variable ``CLIENT_KEY``.

    Raises:
        UsageError: an HTTP header cannot carry it.
    """
    found = os.environ.get(CLIENT_KEY) if key is None else key
    if found and not (found.isascii() and found.isprintable()):
        source = CLIENT_KEY if key is None else "--key"
        raise UsageError(f"{source}: expected an API key, which consists of ASCII letters, digits, _ and -")
    return found.strip() if found else None


class ServerBackend:
    """Sends files to ``/v1/remove`` of a service."""

    def __init__(
        self, url: str, key: str | None, fields: Mapping[str, str], files: Mapping[str, bytes], workers: int
    ) -> None:
        """
        Args:
            url: of the service, http or https.
            key: API key.
            fields: option fields.
            files: further files by field.
            workers: number of concurrent requests; 0 selects a default.

        Raises:
            StartupError: the URL is invalid, or nothing accepts connections there.
        """
        self.concurrency = workers or SERVER_WORKERS
        self._stopped = threading.Event()
        self._fields, self._files = fields, files
        self._headers = {"x-api-key": key} if key else {}
        try:
            self._url = urllib.parse.urlsplit(url.removesuffix("/").removesuffix(_PATH))
            port = self._url.port or (443 if self._url.scheme == "https" else 80)
            if self._url.scheme not in ("http", "https") or not self._url.hostname or not url.isascii() or " " in url:
                raise ValueError("expected a URL such as http://127.0.0.1:8080")
            socket.create_connection((self._url.hostname, port), CONNECT_TIMEOUT_S).close()
        except (ValueError, OSError) as exc:
            raise StartupError(f"{url}: {exc}") from None

    def cut(self, data: bytes, options: Mapping[str, Any] | None = None) -> Sequence[FileOutput]:
        body, media_type = _multipart({**self._fields, **(options or {})}, {"image_file": data, **self._files})
        for attempt in range(1, ATTEMPTS + 1):
            try:
                status, headers, answer = self._post(body, media_type)
            except (OSError, http.client.HTTPException) as exc:
                raise FileFailed(f"{self._url.netloc}: {exc or type(exc).__name__}") from None
            if status == 200 and "X-Request-ID" in headers:
                moderation = headers.get("X-Moderation")
                return [replace(each, moderation=moderation) for each in _outputs(headers, answer)]
            if status not in (429, 503) or attempt == ATTEMPTS:
                break
            if self._stopped.wait(min(MAX_RETRY_WAIT_S, _seconds(headers.get("Retry-After")))):
                break
        if status in _FATAL_STATUSES:
            advice = "; set --key or CLEARCUT_API_KEY" if status == 401 else ""
            raise StartupError(f"{self._url.netloc}: {_error_text(status, answer)}{advice}")
        if status < 400 or status in _WRONG_URL_STATUSES:
            raise StartupError(
                f"{self._url.geturl()}: no Clearcut service answers at {self._url.path.rstrip('/')}{_PATH} (status "
                f"{status}). Use the URL of its page, such as http://127.0.0.1:8080"
            )
        raise FileFailed(_error_text(status, answer))

    def close(self) -> None:
        self._stopped.set()

    def _post(self, body: bytes, media_type: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        types = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = types[self._url.scheme](self._url.hostname or "", self._url.port, timeout=REQUEST_TIMEOUT_S)
        try:
            path = self._url.path.rstrip("/") + _PATH
            connection.request("POST", path, body, {"Content-Type": media_type, "Accept": "*/*", **self._headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()


def _multipart(fields: Mapping[str, str], files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Return (body, Content-Type) of a form (RFC 7578)."""
    boundary = "clearcut-" + secrets.token_hex(16)
    parts = [(f'name="{name}"', text.encode()) for name, text in fields.items()]
    parts += [(f'name="{name}"; filename="{name}"', data) for name, data in files.items()]
    body = bytearray()
    for disposition, content in parts:
        body += f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
        body += content
        body += b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f"multipart/form-data; boundary={boundary}"


def _outputs(headers: http.client.HTTPMessage, body: bytes) -> list[FileOutput]:
    """Return the output of a response, or all outputs of a multipart/mixed response.

    Raises:
        FileFailed: the response is incomplete.
    """
    boundary = headers.get_boundary()
    if boundary is None:
        return [FileOutput(body, float(headers.get("X-Matte-Confidence", "nan")), _box(headers))]
    stream, outputs = io.BytesIO(body), []
    while (line := stream.readline().strip()) == f"--{boundary}".encode():
        part = http.client.parse_headers(stream)
        size = int(part.get("Content-Length", "0"))
        outputs += _outputs(part, stream.read(size))
        stream.readline()
    if line != f"--{boundary}--".encode():
        raise FileFailed("the response of the server is incomplete")
    return outputs


def _box(headers: http.client.HTTPMessage) -> Box | None:
    if headers.get("X-Foreground-Found") != "true":
        return None
    left, top, width, height = (
        int(headers.get(f"X-Foreground-{side}", "0")) for side in ("Left", "Top", "Width", "Height")
    )
    return Box(left, top, width, height)


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdigit() else 1.0


def _error_text(status: int, body: bytes) -> str:
    """Return the message and the details of an error body, or the status."""
    try:
        error = json.loads(body)
        return str(error.get("details") or error["message"])
    except (ValueError, AttributeError, TypeError, KeyError):
        return f"the server answered with status {status}"
