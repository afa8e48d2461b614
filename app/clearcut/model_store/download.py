"""Download of one file over HTTP. It resumes after an interruption, and gets its name only if its hash is correct.

An incomplete file is ``FILE.part``, with the server's ETag or date in ``FILE.etag.part``. A later attempt requests the
rest with ``Range`` and ``If-Range``, so that a file that has changed is sent completely (RFC 9110, 13.1.5 and 14.2).
HTTPS_PROXY, HTTP_PROXY and NO_PROXY select a proxy.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit, urlunsplit

from clearcut import __version__
from clearcut.system import lock_file

from .errors import DownloadError
from .name_lookup import require_resolvable

MAX_BYTES = 4 << 30
"""Maximum size of a file. It is larger than any model, and keeps an endless response from filling the disk."""
STALL_S = 30.0
"""Maximum time without data from the server, seconds."""
ATTEMPTS = 6
"""Maximum number of consecutive interruptions without progress."""
_BLOCK = 1 << 18

Progress = Callable[[int, int | None], None]
"""Called with the received bytes and the total, or None if the server does not send the total."""
OnRetry = Callable[[str, int, int, float], None]
"""Called before a pause with the reason, the number of the next attempt, the maximum number and the pause, seconds."""


class _Interrupted(Exception):
    """The connection ended early. The received part is stored, and the rest can be requested."""


@dataclass(frozen=True, slots=True)
class _PartFiles:
    """The files of an incomplete download."""

    content: Path
    validator: Path

    @staticmethod
    def of(target: Path) -> _PartFiles:
        return _PartFiles(target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.etag.part"))

    def delete(self) -> None:
        self.content.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)


def redact_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def download(
    url: str,
    target: Path,
    check: Callable[[Path], str | None],
    progress: Progress = lambda _done, _total: None,
    on_retry: OnRetry = lambda _reason, _attempt, _attempts, _pause_s: None,
    *,
    immutable: bool = False,
) -> None:
    """Download a URL to a file.

    Args:
        url: http or https.
        target: path of the file.
        check: called with the path of the complete file before it gets its name; returns an error text, or None.
        progress: receives the progress.
        on_retry: receives each interruption.
        immutable: the URL always has the same content, so that a part is continued even if the server sends neither an
            ETag nor a date. ``check`` refuses a file that has changed nevertheless.

    Raises:
        DownloadError: the server refuses or cannot be reached, another process downloads the file, or ``check`` failed.
            A file that fails ``check`` is deleted.
    """
    if urlsplit(url).scheme not in ("https", "http"):
        raise DownloadError(f"{redact_url(url)}: expected https:// or http://")
    parts = _PartFiles.of(target)
    try:
        with _lock(parts.content) as file:
            try:
                _complete(url, file, parts, progress, on_retry, immutable)
            except BaseException:
                if not file.seek(0, os.SEEK_END):
                    parts.delete()
                raise
            file.flush()
            os.fsync(file.fileno())
            if error := check(parts.content):
                parts.delete()
                raise DownloadError(f"the file from {redact_url(url)} is refused: {error}")
            parts.content.replace(target)
            parts.validator.unlink(missing_ok=True)
    except OSError as exc:
        raise DownloadError(f"{target}: {exc.strerror or exc}") from exc


@contextmanager
def _lock(path: Path) -> Iterator[BinaryIO]:
    """Open the part file and lock it against a second download of the same file."""
    with path.open("a+b") as file:
        try:
            lock_file(file.fileno())
        except BlockingIOError:
            raise DownloadError(f"{path.name} is being downloaded by another process") from None
        if not _is_at(file, path):  # the other process has completed and renamed it
            raise DownloadError(f"{path.name} has just been downloaded by another process")
        yield file


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Return whether the open ``file`` is the file at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _complete(
    url: str, file: BinaryIO, parts: _PartFiles, progress: Progress, on_retry: OnRetry, immutable: bool
) -> None:
    """Send requests until the file is complete, as long as it grows."""
    idle = 0
    require_resolvable(url)
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            _request_rest(url, file, parts, progress, immutable)
            return
        except _Interrupted as exc:
            idle = 0 if file.seek(0, os.SEEK_END) > before else idle + 1
            if idle >= ATTEMPTS:
                raise DownloadError(f"{redact_url(url)}: {exc}; {ATTEMPTS} attempts without progress") from exc
            pause_s = min(2.0**idle, 30.0)
            on_retry(str(exc), idle + 1, ATTEMPTS, pause_s)
            time.sleep(pause_s)


def _request_rest(url: str, file: BinaryIO, parts: _PartFiles, progress: Progress, immutable: bool) -> None:
    """Send one request and append its response."""
    offset = file.seek(0, os.SEEK_END)
    validator = parts.validator.read_text() if offset and parts.validator.is_file() else ""
    if not validator and not immutable:
        offset = 0
    request = _request(url)
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        with _opener().open(request, timeout=STALL_S) as response:
            _append(response, file, parts, offset, progress)
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == 416 and offset:  # the part does not belong to the server's file: start again
            file.truncate(0)
            raise _Interrupted("the rest is not available") from exc
        if exc.code in (429, 500, 502, 503, 504):
            raise _Interrupted(f"the server returned {exc.code}") from exc
        raise DownloadError(f"{redact_url(url)}: the server returned {exc.code} {exc.reason}") from exc
    except urllib.error.URLError as exc:
        if isinstance(exc.reason, socket.gaierror) and not offset:
            raise DownloadError(f"{redact_url(url)}: the host name does not resolve ({exc.reason.strerror})") from exc
        raise _Interrupted(f"cannot be reached ({exc.reason})") from exc
    except (http.client.HTTPException, ConnectionError, TimeoutError) as exc:
        raise _Interrupted(f"the connection was closed ({type(exc).__name__})") from exc


def _append(
    response: http.client.HTTPResponse, file: BinaryIO, parts: _PartFiles, offset: int, progress: Progress
) -> None:
    try:
        total = _total(response, offset)
    except DownloadError as exc:
        if not offset:
            raise
        file.truncate(0)  # the next request asks for the whole file
        raise _Interrupted(str(exc)) from exc
    if response.status != 206:
        offset = 0
    file.truncate(offset)
    file.seek(0, os.SEEK_END)
    if not offset:
        _store_validator(response, parts)
    done = offset
    progress(done, total)
    while block := response.read(_BLOCK):
        done += len(block)
        if done > MAX_BYTES or (total is not None and done > total):
            parts.delete()
            raise DownloadError(f"the server sends more than the expected {total or MAX_BYTES} bytes")
        file.write(block)
        progress(done, total)
    if total is not None and done < total:
        raise _Interrupted(f"received {done} of {total} bytes")


def _total(response: http.client.HTTPResponse, offset: int) -> int | None:
    """Return the size of the whole file, or None if the server does not send it.

    Raises:
        DownloadError: the response contains another range than the requested one.
    """
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise DownloadError("the server sends another range than the requested one")
        return int(match[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _store_validator(response: http.client.HTTPResponse, parts: _PartFiles) -> None:
    """Store the ETag or the date that identifies this version of the file. A weak ETag does not identify it."""
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    parts.validator.write_text(strong)


def _request(url: str) -> urllib.request.Request:
    """Return a GET request. User and password of the URL become a header that redirects do not receive."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(  # noqa: S310 - http and https only, see download
        urlunsplit(parts._replace(netloc=host)),
        headers={"User-Agent": f"clearcut/{__version__}", "Accept-Encoding": "identity"},
    )
    if login:
        user, _, password = login.partition(":")
        pair = f"{unquote(user)}:{unquote(password)}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    return request


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to another scheme."""

    # urllib declares no types that a subclass could repeat.
    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]  # as in urllib
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(f"{redact_url(req.full_url)} redirects to a URL that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _NoDowngrade(),
    ):
        opener.add_handler(handler)
    return opener
