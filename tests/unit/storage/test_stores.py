"""Blobs in a folder: written as a whole, private, deleted when expired, within the quota."""

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearcut.errors import StorageFull
from clearcut.storage.base import CHUNK_BYTES
from clearcut.storage.local import FolderBlobs
from tests.support.clock import FakeClock

HOUR = 3600.0
NOW = 1_800_000_000.0


@pytest.fixture
def clock():
    return FakeClock(NOW)


@pytest.fixture
def blobs(tmp_path, clock):
    return FolderBlobs(tmp_path / "deep" / "blobs", 1_000_000, clock)


def files(tmp_path):
    return sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_put_and_get_return_the_same_bytes(blobs):
    for data in (b"image", bytearray(b"image"), memoryview(b"image")):
        made = blobs.put("job1.png", data, "image/png", NOW + HOUR)
        found = blobs.get("job1.png")
        assert found.data == b"image"
        assert found.stat == made == blobs.stat("job1.png")
        assert (made.size, made.media_type, made.expires_at) == (5, "image/png", NOW + HOUR)


def test_etag_depends_on_the_contents(blobs):
    first = blobs.put("a", b"one", "image/png", NOW + HOUR)
    assert blobs.put("b", b"one", "image/png", NOW + 2 * HOUR).etag == first.etag
    assert blobs.put("a", b"two", "image/png", NOW + HOUR).etag != first.etag
    assert blobs.get("a").data == b"two"


def test_empty_blobs_and_line_ends_are_stored(blobs):
    for data in (b"", b"\n", b"[1]\n\n" * 1000):
        blobs.put("a", data, "image/png", NOW + HOUR)
        assert blobs.get("a").data == data


def test_range_is_read_in_chunks(tmp_path, clock):
    blobs = FolderBlobs(tmp_path, 10_000_000, clock)
    data = os.urandom(3 * CHUNK_BYTES + 7)
    blobs.put("a", data, "image/png", NOW + HOUR)
    assert b"".join(blobs.open_range("a", 0, len(data))) == data
    assert b"".join(blobs.open_range("a", 5, 6)) == data[5:6]
    pieces = list(blobs.open_range("a", 1, 2 * CHUNK_BYTES + 9))
    assert b"".join(pieces) == data[1 : 2 * CHUNK_BYTES + 9]
    assert max(map(len, pieces)) == CHUNK_BYTES
    with pytest.raises(KeyError):
        blobs.open_range("b", 0, 1)


def test_open_blob_stays_readable_after_delete(blobs):
    blobs.put("a", b"image", "image/png", NOW + HOUR)
    reading = blobs.open_range("a", 0, 5)
    blobs.delete("a")
    assert b"".join(reading) == b"image"
    with pytest.raises(KeyError):
        blobs.get("a")
    blobs.delete("a")


def test_files_are_private(blobs, tmp_path):
    old = os.umask(0)
    try:
        blobs.put("a", b"image", "image/png", NOW + HOUR)
    finally:
        os.umask(old)
    (file,) = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.parent.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "key",
    ["", ".", "..", "../a", "a/b", "/etc/passwd", "a\0b", "a\n", ".hidden", "a" * 129, "ä", "-a", "a b", "a\\b", "~"],
)
def test_malformed_keys_are_refused(blobs, tmp_path, key):
    with pytest.raises(ValueError, match="malformed blob key"):
        blobs.put(key, b"x", "image/png", NOW + HOUR)
    for ask in (blobs.get, blobs.stat, lambda each: blobs.open_range(each, 0, 1)):
        with pytest.raises(KeyError):
            ask(key)
    assert files(tmp_path) == []


@given(st.text(max_size=20) | st.from_regex(r"[A-Za-z0-9][./A-Za-z0-9_-]{0,20}", fullmatch=True))
def test_keys_stay_inside_the_folder(key):
    try:
        path = FolderBlobs(Path("/root"), 1)._path(key)
    except ValueError:
        return
    assert len(path.parts) == 4
    assert ".." not in path.parts
    assert path.name == key


@pytest.mark.parametrize("kind", ["", "image", "image/png; charset=x", "image/png\nX: y", "IMAGE/PNG"])
def test_malformed_media_types_are_refused(blobs, kind):
    with pytest.raises(ValueError, match="malformed media type"):
        blobs.put("a", b"x", kind, NOW + HOUR)


def test_expired_blobs_are_hidden_then_swept(blobs, tmp_path, clock):
    blobs.put("early", b"x" * 100, "image/png", NOW + HOUR)
    blobs.put("late", b"y" * 100, "image/png", NOW + 2 * HOUR)
    assert blobs.sweep(clock.now) == 0
    clock.now = NOW + HOUR
    with pytest.raises(KeyError):
        blobs.get("early")
    assert len(files(tmp_path)) == 2
    assert blobs.sweep(clock.now) == 1
    assert [file.name for file in files(tmp_path)] == ["late"]
    assert blobs.sweep(NOW + 2 * HOUR) == 1
    assert files(tmp_path) == []


def test_interrupted_put_is_swept_after_an_hour(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: None)  # as if the process were killed at this point
    with pytest.raises(KeyboardInterrupt):
        blobs.put("a", b"x", "image/png", NOW + HOUR)
    monkeypatch.undo()
    (left,) = files(tmp_path)
    written = 1_700_000_000
    os.utime(left, (written, written))
    assert blobs.sweep(written + HOUR / 2) == 0
    with pytest.raises(KeyError):
        blobs.get("a")
    assert blobs.sweep(written + HOUR) == 1
    assert files(tmp_path) == []


def test_failed_put_leaves_no_file(blobs, tmp_path, monkeypatch):
    blobs.put("a", b"before", "image/png", NOW + HOUR)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        blobs.put("a", b"after", "image/png", NOW + HOUR)
    monkeypatch.undo()
    assert blobs.get("a").data == b"before"
    assert len(files(tmp_path)) == 1


def test_files_and_folders_are_flushed(tmp_path, clock, monkeypatch):
    flushed = []
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (flushed.append(os.fstat(file).st_ino), flush(file))[1])
    FolderBlobs(tmp_path / "blobs", 10_000, clock).put("a", b"x", "image/png", NOW + HOUR)
    (file,) = files(tmp_path)
    for each in (file, file.parent, tmp_path / "blobs", tmp_path):
        assert each.stat().st_ino in flushed, each


def test_quota_is_enforced(tmp_path, clock):
    blobs = FolderBlobs(tmp_path, 10_000, clock)
    blobs.put("a", b"x" * 6_000, "image/png", NOW + HOUR)
    with pytest.raises(StorageFull) as caught:
        blobs.put("b", b"x" * 6_000, "image/png", NOW + HOUR)
    assert caught.value.status == 503
    assert caught.value.retry_after > 0
    assert len(files(tmp_path)) == 1
    blobs.delete("a")
    blobs.put("b", b"x" * 6_000, "image/png", NOW + HOUR)


def fill(blobs, owner):
    """Store blobs of one owner until one is refused. Returns the reason."""
    for number in range(100):
        try:
            blobs.put(f"{owner}--{number}", b"x" * 1_000, "image/png", NOW + HOUR)
        except StorageFull as exc:
            return exc.details
    return None


def test_one_owner_leaves_space_for_others(tmp_path, clock):
    """Two owners that fill their shares leave space for a third, in this process and after a restart."""
    blobs = FolderBlobs(tmp_path, 50_000, clock)
    assert all("share" in fill(blobs, owner) for owner in "abab")
    again = FolderBlobs(tmp_path, 50_000, clock)
    assert all("share" in fill(again, owner) for owner in "ab")
    again.put("c--first", b"x" * 2_000, "image/png", NOW + HOUR)
    again.require_space("c--second")


def test_existing_blobs_count_in_a_new_process(tmp_path, clock):
    FolderBlobs(tmp_path, 10_000, clock).put("a", b"x" * 6_000, "image/png", NOW + HOUR)
    other = FolderBlobs(tmp_path, 10_000, clock)
    with pytest.raises(StorageFull):
        other.put("b", b"x" * 6_000, "image/png", NOW + HOUR)
    assert other.get("a").data == b"x" * 6_000


def test_readers_see_only_whole_blobs(tmp_path, clock):
    blobs = FolderBlobs(tmp_path, 100_000_000, clock)
    versions = {bytes([level]) * 100_000 for level in range(4)}
    blobs.put("a", next(iter(versions)), "image/png", NOW + HOUR)
    done = threading.Event()

    def write():
        for _ in range(25):
            for version in versions:
                blobs.put("a", version, "image/png", NOW + HOUR)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(blobs.get("a").data)
    writer.join()
    assert seen <= versions
    assert len(files(tmp_path)) == 1
