"""The processing of files: an interruption lets the files in progress finish."""

import signal
import threading
from pathlib import Path

import pytest

from clearcut.cli.cut_backends import FileOutput
from clearcut.cli.cut_files import CutFile
from clearcut.cli.cut_run import Run


class InterruptedBackend:
    """Two calls run at once. The second one interrupts the main thread, and both return afterwards."""

    concurrency = 2

    def __init__(self) -> None:
        self.both_started, self.closed = threading.Barrier(2), False

    def cut(self, data: bytes) -> FileOutput:
        if self.both_started.wait(10) == 0:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        threading.Event().wait(0.3)
        assert not self.closed, "closed while files were in progress"
        return FileOutput(data, 1.0, None)

    def close(self) -> None:
        self.closed = True


def test_interrupt_writes_the_files_in_progress(tmp_path: Path):
    files = []
    for number in range(20):
        source = tmp_path / f"{number}.jpg"
        source.write_bytes(b"photo")
        files.append(CutFile(source, tmp_path / "out" / f"{number}.png", Path(f"{number}.png")))
    run = Run(InterruptedBackend(), None, progress=False)
    with pytest.raises(KeyboardInterrupt):
        run.process(files)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]
    assert [each.status for each in run.reports] == ["ok", "ok"]
