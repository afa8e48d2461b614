"""Fetching a file: every way in which it can go wrong ends with the right bytes under its name, or with nothing."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path

import pytest

from clearcut.model_store.download import TRIES, DownloadError, fetch, shown
from tests.support.model_origin import published

CONTENT = bytes(range(256)) * 4096  # 1 MiB
OTHER = CONTENT[::-1]


def only(content: bytes):
    """A check that accepts nothing else."""

    def check(path: Path) -> str | None:
        return None if path.read_bytes() == content else f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"

    return check


class Waits(list):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def get(origin, target: Path, content: bytes = CONTENT, **options) -> None:
    fetch(f"{origin.url}/m.onnx", target, only(content), wait=Waits(), **options)


def test_a_whole_file_with_its_progress(tmp_path):
    seen = []
    with published(CONTENT) as origin:
        get(origin, tmp_path / "m.onnx", progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_file_of_unknown_length(tmp_path):
    with published(CONTENT) as origin:
        origin.length = False
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT


def test_a_cut_connection_is_taken_up_where_it_was_cut(tmp_path):
    with published(CONTENT) as origin:
        origin.cut_after = [300_000, 200_000]
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert [asked.get("range") for asked in origin.asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert {asked.get("if-range") for asked in origin.asked[1:]} == {origin.etag}


def test_a_later_run_takes_up_what_an_earlier_one_left(tmp_path):
    with published(CONTENT) as origin:
        origin.cut_after = [400_000] + [0] * TRIES
        with pytest.raises(DownloadError, match="tries without progress"):
            get(origin, tmp_path / "m.onnx")
        assert not (tmp_path / "m.onnx").exists()
        assert (tmp_path / "m.onnx.part").stat().st_size == 400_000
        origin.cut_after, origin.asked = [], []
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert origin.asked[0]["range"] == "bytes=400000-"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_server_without_ranges_sends_all_of_it_again(tmp_path):
    with published(CONTENT) as origin:
        origin.ranges, origin.cut_after = False, [300_000]
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert len(origin.asked) == 2


def test_a_file_that_changed_meanwhile_comes_whole(tmp_path):
    with published(OTHER) as origin:
        origin.cut_after = [300_000] + [0] * TRIES
        with pytest.raises(DownloadError):
            get(origin, tmp_path / "m.onnx")
        url = origin.url
        origin.change(CONTENT)
        origin.url = url
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert origin.asked[0]["if-range"] != origin.etag


def test_without_a_strong_validator_it_starts_over(tmp_path):
    with published(CONTENT) as origin:
        origin.etag, origin.cut_after = 'W/"weak"', [300_000]
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert all("range" not in asked for asked in origin.asked)


def test_a_part_longer_than_the_file_starts_over(tmp_path):
    with published(CONTENT) as origin:
        (tmp_path / "m.onnx.part").write_bytes(CONTENT + b"more")
        (tmp_path / "m.onnx.etag.part").write_text(origin.etag)
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT


def test_the_wrong_file_leaves_nothing_behind(tmp_path):
    with published(OTHER) as origin, pytest.raises(DownloadError, match="is refused: sha256"):
        get(origin, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_file_stays_when_the_new_one_is_wrong(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"good")
    with published(OTHER) as origin, pytest.raises(DownloadError):
        get(origin, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == b"good"


def test_not_found_is_said_at_once(tmp_path):
    with published(CONTENT) as origin:
        origin.status = 404
        with pytest.raises(DownloadError, match="the server says 404"):
            get(origin, tmp_path / "m.onnx")
    assert len(origin.asked) == 1


def test_a_busy_server_is_asked_again_ever_later(tmp_path):
    waits = Waits()
    with published(CONTENT) as origin:
        origin.status = 503
        with pytest.raises(DownloadError, match="503"):
            fetch(f"{origin.url}/m.onnx", tmp_path / "m.onnx", only(CONTENT), wait=waits)
    assert len(origin.asked) == TRIES
    assert waits == sorted(waits)
    assert waits[0] > 0


def test_nobody_there(tmp_path):
    with published(CONTENT) as origin:
        address = origin.url
    with pytest.raises(DownloadError, match="cannot be reached"):
        fetch(f"{address}/m.onnx", tmp_path / "m.onnx", only(CONTENT), wait=Waits())


def test_a_redirect_is_followed_and_the_password_stays_behind(tmp_path):
    with published(CONTENT) as store, published(b"") as origin:
        origin.redirect = f"{store.url}/elsewhere"
        address = origin.url.replace("http://", "http://user:se%40cret@")
        fetch(f"{address}/m.onnx", tmp_path / "m.onnx", only(CONTENT), wait=Waits())
    assert origin.asked[0]["authorization"] == "Basic dXNlcjpzZUBjcmV0"
    assert "authorization" not in store.asked[0]
    assert store.asked[0][":path"] == "/elsewhere"


def test_no_message_shows_a_password(tmp_path):
    with published(CONTENT) as origin:
        origin.status = 403
        address = origin.url.replace("http://", "http://user:secret@") + "/m.onnx?token=secret"
        with pytest.raises(DownloadError) as caught:
            fetch(address, tmp_path / "m.onnx", only(CONTENT), wait=Waits())
    assert "secret" not in str(caught.value)
    assert "m.onnx" in str(caught.value)
    assert shown(address).endswith("/m.onnx")


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/m.onnx", "data:,abc"])
def test_only_http_is_fetched(tmp_path, address):
    with pytest.raises(DownloadError):
        fetch(address, tmp_path / "m.onnx", only(CONTENT), wait=Waits())
    assert not (tmp_path / "m.onnx").exists()


def test_a_proxy_of_the_environment_is_used(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with published(CONTENT) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        fetch("http://models.example/m.onnx", tmp_path / "m.onnx", only(CONTENT), wait=Waits())
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
    assert proxy.asked[0][":path"] == "http://models.example/m.onnx"


def test_two_at_once_do_not_mix(tmp_path):
    with published(CONTENT) as origin, (tmp_path / "m.onnx.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process"):
            get(origin, tmp_path / "m.onnx")
    assert origin.asked == []


def test_one_that_was_opened_before_the_other_got_its_name_leaves_it_alone(tmp_path, monkeypatch):
    """Between the opening of the part file and its lock the other download may finish and rename that very file."""
    lock = fcntl.flock

    def late(file, how):
        (tmp_path / "m.onnx.part").replace(tmp_path / "m.onnx")
        (tmp_path / "m.onnx").write_bytes(CONTENT)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with published(b"another") as origin, pytest.raises(DownloadError, match="has just been fetched"):
        get(origin, tmp_path / "m.onnx", b"another")
    assert origin.asked == []
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT


def test_a_server_that_answers_with_another_range_is_asked_for_all(tmp_path):
    with published(CONTENT) as origin:
        origin.off_by = 5
        (tmp_path / "m.onnx.part").write_bytes(CONTENT[:1000])
        (tmp_path / "m.onnx.etag.part").write_text(origin.etag)
        get(origin, tmp_path / "m.onnx")
    assert [asked.get("range") for asked in origin.asked] == ["bytes=1000-", None]
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT


def test_a_server_that_sends_more_than_it_said_is_refused(tmp_path):
    with published(CONTENT) as origin:
        (tmp_path / "m.onnx.part").write_bytes(CONTENT[:1000])
        (tmp_path / "m.onnx.etag.part").write_text(origin.etag)
        get(origin, tmp_path / "m.onnx")
        assert origin.asked[0]["range"] == "bytes=1000-"
    assert (tmp_path / "m.onnx").read_bytes() == CONTENT
