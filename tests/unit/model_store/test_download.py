"""Download of a file: each failure ends with the correct file or with none."""

from __future__ import annotations

import fcntl
import hashlib
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from clearcut.model_store.download import ATTEMPTS, download, redact_url
from clearcut.model_store.errors import DownloadError
from clearcut.model_store.name_lookup import require_resolvable
from tests.support.model_origin import published

CONTENT = bytes(range(256)) * 4096  # 1 MiB
OTHER = CONTENT[::-1]


def only(content: bytes):
    """A check that accepts only this content."""

    def check(path: Path) -> str | None:
        return None if path.read_bytes() == content else f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"

    return check


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """The pauses between attempts, which take no time."""
    pauses: list[float] = []
    monkeypatch.setattr("clearcut.model_store.download.time", SimpleNamespace(sleep=pauses.append))
    return pauses


def get(origin, target: Path, content: bytes = CONTENT, **options) -> None:
    download(f"{origin.url}/m.onnx", target, only(content), **options)


def test_complete_file_and_progress(tmp_path):
    seen = []
    with published(CONTENT) as origin:
        get(origin, tmp_path / "m.onnx", progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_unknown_length(tmp_path):
    with published(CONTENT) as origin:
        origin.length = False
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT


def test_resumes_after_interruption(tmp_path):
    with published(CONTENT) as origin:
        origin.cut_after = [300_000, 200_000]
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert [request.get("range") for request in origin.requests] == [None, "bytes=300000-", "bytes=500000-"]
    assert {request.get("if-range") for request in origin.requests[1:]} == {origin.etag}


def test_later_run_resumes_part_file(tmp_path):
    with published(CONTENT) as origin:
        origin.cut_after = [400_000] + [0] * ATTEMPTS
        with pytest.raises(DownloadError, match="attempts without progress"):
            get(origin, tmp_path / "m.onnx")
        assert not (tmp_path / "m.onnx").exists()
        assert (tmp_path / "m.onnx.part").stat().st_size == 400_000
        origin.cut_after, origin.requests = [], []
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert origin.requests[0]["range"] == "bytes=400000-"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_server_without_ranges_sends_whole_file(tmp_path):
    with published(CONTENT) as origin:
        origin.ranges, origin.cut_after = False, [300_000]
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert len(origin.requests) == 2


def test_changed_file_is_downloaded_whole(tmp_path):
    with published(OTHER) as origin:
        origin.cut_after = [300_000] + [0] * ATTEMPTS
        with pytest.raises(DownloadError):
            get(origin, tmp_path / "m.onnx")
        url = origin.url
        origin.change(CONTENT)
        origin.url = url
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert origin.requests[0]["if-range"] != origin.etag


def test_weak_validator_restarts(tmp_path):
    with published(CONTENT) as origin:
        origin.etag, origin.cut_after = 'W/"weak"', [300_000]
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert all("range" not in request for request in origin.requests)


def test_too_long_part_file_restarts(tmp_path):
    with published(CONTENT) as origin:
        (tmp_path / "m.onnx.part").write_bytes(CONTENT + b"more")
        (tmp_path / "m.onnx.etag.part").write_text(origin.etag)
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT


def test_wrong_file_is_deleted(tmp_path):
    with published(OTHER) as origin, pytest.raises(DownloadError, match="is refused: sha256"):
        get(origin, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_wrong_file_keeps_the_earlier_one(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"good")
    with published(OTHER) as origin, pytest.raises(DownloadError):
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == b"good"


def test_404_is_not_retried(tmp_path):
    with published(CONTENT) as origin:
        origin.status = 404
        with pytest.raises(DownloadError, match="the server returned 404"):
            get(origin, tmp_path / "m.onnx")
    assert len(origin.requests) == 1


def test_503_is_retried_with_growing_pauses(tmp_path, waits):
    with published(CONTENT) as origin:
        origin.status = 503
        with pytest.raises(DownloadError, match="503"):
            download(f"{origin.url}/m.onnx", tmp_path / "m.onnx", only(CONTENT))
    assert len(origin.requests) == ATTEMPTS
    assert waits == sorted(waits)
    assert waits[0] > 0


def test_unreachable_server(tmp_path):
    with published(CONTENT) as origin:
        url = origin.url
    with pytest.raises(DownloadError, match="cannot be reached"):
        download(f"{url}/m.onnx", tmp_path / "m.onnx", only(CONTENT))
    assert list(tmp_path.iterdir()) == []


def test_retries_are_reported(tmp_path, waits):
    seen = []
    with published(CONTENT) as origin:
        origin.cut_after = [300_000]
        get(origin, tmp_path / "m.onnx", on_retry=lambda *event: seen.append(event))
    ((reason, attempt, attempts, pause_s),) = seen
    assert "received 300000 of 1048576 bytes" in reason
    assert (attempt, attempts, [pause_s]) == (1, ATTEMPTS, waits)


def test_name_that_does_not_resolve_fails_at_once(tmp_path, monkeypatch, waits):
    def unknown(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"models.example does not resolve \(Name or service not known\)"):
        download("https://models.example/m.onnx", tmp_path / "m.onnx", only(CONTENT))
    assert waits == []
    assert list(tmp_path.iterdir()) == []


def test_silent_name_server_ends_the_lookup(monkeypatch):
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answer.wait(30))
    with pytest.raises(DownloadError, match=r"no answer within 0\.05 s"):
        require_resolvable("https://models.example/m.onnx", 0.05)
    answer.set()


def test_name_of_the_proxy_is_looked_up(monkeypatch):
    hosts = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, _: hosts.append(host))
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "")
    require_resolvable("https://models.example/m.onnx")
    assert hosts == ["proxy.example"]


def test_redirect_does_not_receive_the_password(tmp_path):
    with published(CONTENT) as store, published(b"") as origin:
        origin.redirect = f"{store.url}/elsewhere"
        url = origin.url.replace("http://", "http://user:se%40cret@")
        download(f"{url}/m.onnx", tmp_path / "m.onnx", only(CONTENT))
    assert origin.requests[0]["authorization"] == "Basic dXNlcjpzZUBjcmV0"
    assert "authorization" not in store.requests[0]
    assert store.requests[0][":path"] == "/elsewhere"


def test_messages_contain_no_password(tmp_path):
    with published(CONTENT) as origin:
        origin.status = 403
        url = origin.url.replace("http://", "http://user:secret@") + "/m.onnx?token=secret"
        with pytest.raises(DownloadError) as caught:
            download(url, tmp_path / "m.onnx", only(CONTENT))
    assert "secret" not in str(caught.value)
    assert "m.onnx" in str(caught.value)
    assert redact_url(url).endswith("/m.onnx")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/m.onnx", "data:,abc"])
def test_other_schemes_are_refused(tmp_path, url):
    with pytest.raises(DownloadError):
        download(url, tmp_path / "m.onnx", only(CONTENT))
    assert not (tmp_path / "m.onnx").exists()


def test_proxy_of_environment_is_used(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with published(CONTENT) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        download("http://models.example/m.onnx", tmp_path / "m.onnx", only(CONTENT))
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert proxy.requests[0][":path"] == "http://models.example/m.onnx"


def test_concurrent_download_is_refused(tmp_path):
    with published(CONTENT) as origin, (tmp_path / "m.onnx.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process"):
            get(origin, tmp_path / "m.onnx")
    assert origin.requests == []


def test_part_file_renamed_before_lock_is_left_alone(tmp_path, monkeypatch):
    """The other process may finish and rename the part file between its opening and its locking."""
    lock = fcntl.flock

    def rename_first(file, how):
        (tmp_path / "m.onnx.part").replace(tmp_path / "m.onnx")
        (tmp_path / "m.onnx").write_bytes(CONTENT)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", rename_first)
    with published(b"another") as origin, pytest.raises(DownloadError, match="has just been downloaded"):
        get(origin, tmp_path / "m.onnx", b"another")
    assert origin.requests == []
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT


def test_wrong_range_restarts(tmp_path):
    with published(CONTENT) as origin:
        origin.off_by = 5
        (tmp_path / "m.onnx.part").write_bytes(CONTENT[:1000])
        (tmp_path / "m.onnx.etag.part").write_text(origin.etag)
        get(origin, tmp_path / "m.onnx")
    assert [request.get("range") for request in origin.requests] == ["bytes=1000-", None]
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT


def test_part_file_with_validator_is_resumed(tmp_path):
    with published(CONTENT) as origin:
        (tmp_path / "m.onnx.part").write_bytes(CONTENT[:1000])
        (tmp_path / "m.onnx.etag.part").write_text(origin.etag)
        get(origin, tmp_path / "m.onnx")
        assert origin.requests[0]["range"] == "bytes=1000-"
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
