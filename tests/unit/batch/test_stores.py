"""File stores of bulk runs: atomic writes, temporary files of killed runs, repeated requests."""

from pathlib import Path

import pytest

from clearcut.batch.files import TEMPORARY_FOLDER, temporary_folder
from clearcut.batch.stores import LocalStore


def test_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    with temporary_folder(tmp_path):
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            LocalStore(tmp_path).write(str(tmp_path / "sub" / "a.png"), b"data")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_of_a_killed_run_are_deleted(tmp_path):
    stale = tmp_path / TEMPORARY_FOLDER / ".clearcut-1-ab.part"
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    with temporary_folder(tmp_path):
        assert not stale.exists()
        LocalStore(tmp_path).write(str(tmp_path / "a.png"), b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"data"


def test_files_of_a_running_run_stay(tmp_path):
    with temporary_folder(tmp_path):
        other = tmp_path / TEMPORARY_FOLDER / ".clearcut-2-cd.part"
        other.write_bytes(b"half")
        with temporary_folder(tmp_path):
            assert other.exists()
        assert other.exists()
    assert not other.exists()


@pytest.fixture
def store():
    pytest.importorskip("fsspec")
    from clearcut.batch.object_store import ObjectStore

    waits: list[float] = []
    opened = ObjectStore("memory://", waits.append)
    opened.waits = waits
    return opened


def test_lost_connection_is_repeated(store, monkeypatch):
    store.write("memory://bucket/a", b"data")
    real, calls = store._files.cat_file, []

    def lost(path: str) -> bytes:
        calls.append(path)
        if len(calls) < 4:
            raise ConnectionResetError("lost")
        return real(path)

    monkeypatch.setattr(store._files, "cat_file", lost)
    assert store.read("memory://bucket/a") == b"data"
    assert len(calls) == 4
    assert store.waits[0] < store.waits[2]


def test_missing_object_is_not_repeated(store):
    with pytest.raises(FileNotFoundError):
        store.read("memory://bucket/none")
    assert store.waits == []
    assert not store.exists("memory://bucket/none")


def test_lasting_error_ends_the_attempts(store, monkeypatch):
    def down(*_: object) -> None:
        raise ConnectionResetError("down")

    monkeypatch.setattr(store._files, "pipe_file", down)
    with pytest.raises(OSError, match="ConnectionResetError: down"):
        store.write("memory://bucket/a", b"data")
    assert len(store.waits) == 5


def test_keys_below_a_prefix_are_relative(store):
    for key in ("a.jpg", "b/c.jpg", "b/a.jpg"):
        store.write(f"memory://listed/in/{key}", b"")
    assert sorted(store.list_keys("memory://listed/in")) == ["a.jpg", "b/a.jpg", "b/c.jpg"]
