"""The processing of files: an interruption lets the files in progress finish."""

import signal
import threading
from pathlib import Path

import pytest

from clearcut.batch.process import FileOutput
from clearcut.cli.cut_files import CutFile
from clearcut.cli.cut_run import CutRun


class InterruptedBackend:
    """Two calls run at once. The second one interrupts the main thread, and both return afterwards."""

    concurrency = 2

    def __init__(self) -> None:
        self.both_started, self.closed = threading.Barrier(2), False

    def cut(self, data: bytes) -> list[FileOutput]:
        if self.both_started.wait(10) == 0:
            threading.Event().wait(0.1)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        threading.Event().wait(0.6)
        assert not self.closed, "closed while files were in progress"
        return [FileOutput(data, 1.0, None)]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def interrupts():
    """Handle SIGINT as usual: the worker processes of pytest-xdist ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_interrupt_writes_the_files_in_progress(tmp_path: Path):
    files = []
    for number in range(20):
        source = tmp_path / f"{number}.jpg"
        source.write_bytes(b"photo")
        files.append(CutFile(source, tmp_path / "out" / f"{number}.png", Path(f"{number}.png")))
    run = CutRun(InterruptedBackend(), None, progress=False)
    with pytest.raises(KeyboardInterrupt):
        run.process(files)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]
    assert [each.status for each in run.reports] == ["ok", "ok"]
