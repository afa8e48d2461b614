"""Peak memory of a server's HEIC decoders, which are its child processes."""

from __future__ import annotations

import threading
from pathlib import Path

_PAUSE_S = 0.005


class DecoderMemory:
    """Watch the decoders of a server. ``peak_mib`` is the highest resident memory of one of them in MiB.

    Memory that the child shares with its parent, such as the decoded planes, counts too. The value is read every few
    milliseconds, so a process that ends earlier may be missed.
    """

    def __init__(self, pid: int) -> None:
        self.peak_mib = 0.0
        self._parent, self._stop = str(pid), threading.Event()
        self._others = {each.name for each in Path("/proc").iterdir()}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> DecoderMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            for process in Path("/proc").iterdir():
                if process.name.isdecimal() and process.name not in self._others:
                    self._read(process)

    def _read(self, process: Path) -> None:
        try:
            lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            command = (process / "cmdline").read_bytes()
        except OSError:  # it has ended
            return
        if lines["PPid"].strip() != self._parent:
            self._others.add(process.name)
        elif "VmHWM" in lines and b"hevc_process" in command:  # before exec(2), a child has its parent's memory
            self.peak_mib = max(self.peak_mib, int(lines["VmHWM"].split()[0]) / 1024)
