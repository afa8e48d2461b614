"""One file over HTTP: taken up again where it was cut off, and under its name only when its hash is right.

While it comes in it is ``FILE.part``, with the server's ETag (or date) in ``FILE.etag.part``: a later try asks for the
rest with ``Range`` and ``If-Range``, so that a file that has changed in the meantime comes whole (RFC 9110, 13.1.5 and
14.2). Proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
"""

from __future__ import annotations

import base64
import fcntl
import http.client
import os
import re
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

MAX_BYTES = 4 << 30
"""More than any model; a server that never ends must not fill the disk."""
STALL_S = 30.0
"""Longest silence of a server."""
TRIES = 6
"""Times in a row that a connection may be cut without a byte of progress."""
_BLOCK = 1 << 18

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all if the server said so)."""


class DownloadError(Exception):
    """It could not be fetched. The text says why and names no credentials."""


class _Cut(Exception):
    """The connection ended early; what came is kept and the rest can be asked for."""


@dataclass(frozen=True, slots=True)
class _Parts:
    content: Path
    validator: Path

    @staticmethod
    def of(target: Path) -> _Parts:
        return _Parts(target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.etag.part"))

    def drop(self) -> None:
        self.content.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)


def shown(address: str) -> str:
    """An address without user, password, query and fragment, for messages."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def fetch(
    address: str,
    target: Path,
    check: Callable[[Path], str | None],
    progress: Progress = lambda _done, _total: None,
    *,
    stall_s: float = STALL_S,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch ``address`` into ``target``.

    Args:
        check: says what is wrong with the whole file, or None; called before it gets its name.
        wait: for tests.

    Raises:
        DownloadError: the server refuses or cannot be reached, the file is the wrong one (nothing is left of it), or
            somebody else is fetching it.
    """
    if urlsplit(address).scheme not in ("https", "http"):
        raise DownloadError(f"{shown(address)}: expected https:// or http://")
    parts = _Parts.of(target)
    try:
        with _alone(parts.content) as file:
            _complete(address, file, parts, progress, stall_s, wait)
            file.flush()
            os.fsync(file.fileno())
            if fault := check(parts.content):
                parts.drop()
                raise DownloadError(f"what {shown(address)} sent is refused: {fault}")
            parts.content.replace(target)
            parts.validator.unlink(missing_ok=True)
    except OSError as exc:
        raise DownloadError(f"{target}: {exc.strerror or exc}") from exc


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """The part file, locked against a second download of the same file."""
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(f"{path.name} is being fetched by another process") from None
        if not _still(file, path):  # its holder gave it its name in the meantime: it is no part file any more
            raise DownloadError(f"{path.name} has just been fetched by another process")
        yield file


def _still(file: BinaryIO, path: Path) -> bool:
    """Whether the open ``file`` is the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _complete(
    address: str, file: BinaryIO, parts: _Parts, progress: Progress, stall_s: float, wait: Callable[[float], None]
) -> None:
    """Ask again and again until the file is whole, as long as it grows."""
    idle = 0
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            _ask(address, file, parts, progress, stall_s)
            return
        except _Cut as exc:
            idle = 0 if file.seek(0, os.SEEK_END) > before else idle + 1
            if idle >= TRIES:
                raise DownloadError(f"{shown(address)}: {exc}; {TRIES} tries without progress") from exc
            wait(min(2.0**idle, 30.0))


def _ask(address: str, file: BinaryIO, parts: _Parts, progress: Progress, stall_s: float) -> None:
    """One request: appends what comes."""
    have = file.seek(0, os.SEEK_END)
    validator = parts.validator.read_text() if have and parts.validator.is_file() else ""
    if not validator:
        have = 0
    request = _request(address)
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    try:
        with _opener().open(request, timeout=stall_s) as answer:
            _take(answer, file, parts, have, progress)
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == 416 and have:  # what we have is no beginning of theirs: from the start
            file.truncate(0)
            raise _Cut("the rest cannot be had") from exc
        if exc.code in (429, 500, 502, 503, 504):
            raise _Cut(f"the server says {exc.code}") from exc
        raise DownloadError(f"{shown(address)}: the server says {exc.code} {exc.reason}") from exc
    except urllib.error.URLError as exc:
        raise _Cut(f"cannot be reached ({exc.reason})") from exc
    except (http.client.HTTPException, ConnectionError, TimeoutError) as exc:
        raise _Cut(f"the connection was cut ({type(exc).__name__})") from exc


def _take(answer: http.client.HTTPResponse, file: BinaryIO, parts: _Parts, have: int, progress: Progress) -> None:
    try:
        total = _total(answer, have)
    except DownloadError as exc:
        if not have:
            raise
        file.truncate(0)  # the next request asks for all of it
        raise _Cut(str(exc)) from exc
    if answer.status != 206:
        have = 0
    file.truncate(have)
    file.seek(0, os.SEEK_END)
    if not have:
        _remember(answer, parts)
    done = have
    progress(done, total)
    while block := answer.read(_BLOCK):
        done += len(block)
        if done > MAX_BYTES or (total is not None and done > total):
            parts.drop()
            raise DownloadError(f"the server sends more than the {total or MAX_BYTES} bytes expected")
        file.write(block)
        progress(done, total)
    if total is not None and done < total:
        raise _Cut(f"{done} of {total} bytes came")


def _total(answer: http.client.HTTPResponse, have: int) -> int | None:
    """The size of the whole file, as far as the server says.

    Raises:
        DownloadError: it answers with another range than was asked for.
    """
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise DownloadError("the server answers with another range than the one asked for")
        return int(found[2])
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _remember(answer: http.client.HTTPResponse, parts: _Parts) -> None:
    """Keep what tells this version of the file from another; a weak ETag does not."""
    etag = answer.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
    parts.validator.write_text(strong)


def _request(address: str) -> urllib.request.Request:
    """A GET. Name and password of the address go into a header that a redirect does not carry on."""
    parts = urlsplit(address)
    login, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(  # noqa: S310 - http and https only, see fetch
        urlunsplit(parts._replace(netloc=host)),
        headers={"User-Agent": f"clearcut/{__version__}", "Accept-Encoding": "identity"},
    )
    if login:
        user, _, password = login.partition(":")
        pair = f"{unquote(user)}:{unquote(password)}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    return request


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Publishers redirect to their stores; from https that must be https again."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(f"{shown(req.full_url)} redirects to an address that is not https")
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
