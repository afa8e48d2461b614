"""``clearcut watch``: added, changed, incomplete and broken files, and the end of the command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearcut.__main__ import main
from clearcut.cli.cut_files import CutFile
from clearcut.cli.cut_run import FileReport
from clearcut.cli.watch import RETRY_S, SETTLE_S, FolderState
from tests.support.cut_command import outputs, pixels
from tests.support.live_server import environment
from tests.support.samples import jpeg, photo

A = CutFile(Path("in/a.jpg"), Path("out/a.png"), Path("a.png"))
B = CutFile(Path("in/b.jpg"), Path("out/b.png"), Path("b.png"))
SAME = CutFile(Path("in/a.png"), Path("out/a.png"), Path("a.png"))


def test_file_is_ready_once_it_has_not_changed():
    folder = FolderState()
    assert folder.update([(A, (1, 1))], 0.0) == []
    assert folder.update([(A, (2, 2))], 0.9 * SETTLE_S) == []
    assert folder.update([(A, (2, 2))], 1.8 * SETTLE_S) == []
    assert folder.update([(A, (2, 2))], 2 * SETTLE_S) == [A]
    assert folder.settle(FileReport(A, "ok"), 2 * SETTLE_S)
    assert folder.update([(A, (2, 2))], 9 * SETTLE_S) == []
    assert not folder.waiting


def test_changed_file_is_processed_again():
    folder = FolderState([A])
    assert folder.update([(A, (1, 1))], 0.0) == []
    assert folder.update([(A, (1, 1))], 5.0) == []  # its output existed at the start
    assert folder.update([(A, (1, 2))], 6.0) == []
    assert folder.update([(A, (1, 2))], 6.0 + SETTLE_S) == [A]


def test_new_broken_file_is_tried_again_before_its_report():
    folder = FolderState()
    folder.update([(A, (1, 1)), (B, (1, 1))], 0.0)
    assert folder.update([(A, (1, 1)), (B, (1, 1))], SETTLE_S) == [A, B]
    assert not folder.settle(FileReport(A, "error"), SETTLE_S)
    assert folder.settle(FileReport(B, "ok"), SETTLE_S)
    assert folder.waiting
    assert folder.update([(A, (1, 1)), (B, (1, 1))], RETRY_S - 1) == []
    assert folder.update([(A, (1, 1)), (B, (1, 1))], RETRY_S) == [A]
    assert folder.settle(FileReport(A, "error"), RETRY_S)
    assert folder.update([(A, (1, 1)), (B, (1, 1))], 99.0) == []


def test_file_with_the_output_of_another_is_reported(capsys):
    folder = FolderState([A])
    folder.update([(A, (1, 1)), (SAME, (1, 1))], 0.0)
    assert folder.update([(A, (1, 1)), (SAME, (1, 1))], SETTLE_S) == []
    assert capsys.readouterr().err.count("in/a.png: in/a.jpg has the same output out/a.png") == 1
    folder.update([(SAME, (1, 1))], 5.0)  # a.jpg is deleted
    folder.update([(SAME, (2, 2))], 6.0)
    assert folder.update([(SAME, (2, 2))], 6.0 + SETTLE_S) == [SAME]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["in/a.jpg", "out"], "watch needs a folder"),
        (["missing", "out"], "IN is missing"),
        (["", "out"], "IN is empty"),
        (["in", ""], "OUT is empty"),
        (["in", "out.png"], "OUT is out.png"),
        (["in", "-"], "OUT is -"),
        (["in", "in"], "use --suffix"),
        (["in", "out", "--min-confidence", "0.5"], "--review"),
        (["in", "out", "--size", "huge"], "--size"),
    ],
)
def test_wrong_usage_exits_with_2(folder, capfd, arguments, text):
    assert main(["watch", *arguments]) == 2
    assert text in capfd.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.live
def test_watch_processes_files_until_interrupt(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "clearcut", "watch", "in", "out", "--format", "webp", "--report", "report.csv",
         "--model", "clearcut-s"],
        cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    whole = jpeg(photo("astronaut", 200, 100))
    added = folder / "in/new/later.jpg"

    def wait_for(*names):
        until = time.monotonic() + 60
        while outputs(folder / "out") != sorted(names) and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
        assert outputs(folder / "out") == sorted(names)

    first = ["a.webp", "sub/b.webp", "sub/c.webp"]
    wait_for(*first)
    (folder / "in/broken.jpg").write_bytes(b"\xff\xd8 broken")
    added.parent.mkdir()
    with added.open("wb") as file:  # a slow copy
        file.write(whole[:900])
        file.flush()
        time.sleep(1.5 * SETTLE_S)
        file.write(whole[900:])
    wait_for(*first, "new/later.webp")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "in/new/later.jpg -> out/new/later.webp  confidence" in errors
    assert "later.jpg: Cannot read" not in errors
    assert "stopped: 4 written" in errors
    assert pixels((folder / "out/new/later.webp").read_bytes()).shape == (100, 200, 4)
    assert "in/new/later.jpg,ok" in (folder / "report.csv").read_text()
