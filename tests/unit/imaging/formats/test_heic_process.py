"""The process that decodes HEIC: calls that end it, its limits, and faults of the decoder."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import clearcut
from clearcut.errors import CorruptImage
from clearcut.imaging.decode import decode
from clearcut.imaging.formats.heif import hevc_decoder, hevc_library
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from tests.support import heif_files, samples

pytestmark = pytest.mark.skipif(hevc_library.find_library() is None, reason="this system has no HEIC decoder")
ROOT = str(Path(clearcut.__file__).parents[1])
PREPARE = (
    f"import sys; sys.path.insert(0, {ROOT!r}); import ctypes, mmap, os, socket, threading; "
    "from clearcut.imaging.formats.heif.hevc_process.confinement import confine, limit_resources; "
    "library = ctypes.CDLL(None); page = mmap.mmap(-1, 4096); limit_resources(64 << 20, 1); "
)


def run(code: str) -> int:
    """Run a statement in a process with the limits of the decoder, and return its exit status."""
    command = [sys.executable, "-I", "-S", "-c", f"{PREPARE}confine(); {code}"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode


def test_confined_process_can_compute():
    assert run("sum(bytearray(1 << 20)); mmap.mmap(-1, 1 << 20); os._exit(7)") == 7


@pytest.mark.parametrize(
    "call",
    [
        "open('/etc/hostname')",
        "os.listdir('/')",
        "os.write(1, b'x')",
        "os.read(0, 1)",
        "socket.socket()",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "threading.Thread(target=print).start()",
        "os.kill(os.getppid(), 0)",
        "os.memfd_create('x')",
        "os.ftruncate(1, 0)",
        "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
        "library.mprotect(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))), 4096, 5)",
        "library.ptrace(0, 0, 0, 0)",
        "library.prctl(22, 0, 0, 0, 0)",
    ],
)
def test_other_calls_end_the_process(call):
    assert run(f"{call}; os._exit(0)") == -signal.SIGSYS


def test_memory_and_time_are_limited():
    assert run("bytearray(1 << 28); os._exit(0)") != 0
    assert run("\nwhile True: pass") in (-signal.SIGXCPU, -signal.SIGKILL)


@pytest.mark.parametrize("code", ["os.abort()", "os.kill(os.getpid(), 11)", "os._exit(3)", "while True: pass"])
def test_faulty_decoder_is_a_damaged_image(code, monkeypatch):
    """The service goes on after a crash, an error and an endless loop of the decoder."""
    data = heif_files.heic(samples.corners())
    found = probe(data, ProbeLimits())
    monkeypatch.setattr(hevc_decoder, "_COMMAND", f"import os\n{code}")
    monkeypatch.setattr(hevc_decoder, "_TIMEOUT_MS", 300)
    with pytest.raises(CorruptImage, match="damaged or incomplete"):
        decode(data, found)
    monkeypatch.undo()
    assert decode(data, found).width == 48


def test_process_gets_no_secrets_and_no_other_files(monkeypatch):
    data = heif_files.heic(samples.corners())
    found = probe(data, ProbeLimits())
    monkeypatch.setenv("CLEARCUT_SIGNING_SECRET", "secret")
    secret, files = "'CLEARCUT_SIGNING_SECRET' in os.environ", "len(os.listdir('/proc/self/fd'))"
    code = f"import os; os._exit(4 if {secret} or {files} != 6 else 3)"  # 6: three streams, two images, the list
    monkeypatch.setattr(hevc_decoder, "_COMMAND", code)
    with open("/etc/hostname"), pytest.raises(CorruptImage):  # status 3
        decode(data, found)


def test_nothing_is_left_open():
    data = heif_files.heic(samples.corners())
    found = probe(data, ProbeLimits())
    decode(data, found)
    before = sorted(Path("/proc/self/fd").iterdir())
    decode(data, found)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_decoder_runs_with_the_limits(monkeypatch):
    """The process would succeed without the limits, because reading a folder is no error there."""
    data = heif_files.heic(samples.corners())
    found = probe(data, ProbeLimits())
    command = hevc_decoder._COMMAND.replace("import main; main()", "import Decoder, main, os; ")
    command += "Decoder.decode = lambda *_: (os.listdir('/'), os._exit(0)); main()"
    monkeypatch.setattr(hevc_decoder, "_COMMAND", command)
    with pytest.raises(CorruptImage):
        decode(data, found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_process_does_not_damage_the_image(number, monkeypatch):
    class Interrupted(subprocess.Popen):
        count = 0

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if not Interrupted.count:
                self.send_signal(number)
            Interrupted.count += 1

    data = heif_files.heic(samples.corners())
    found = probe(data, ProbeLimits())
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    assert decode(data, found).width == 48
    assert Interrupted.count in (1, 2)


def test_missing_descriptors_are_no_damaged_image(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    data = heif_files.heic(samples.corners())
    found = probe(data, ProbeLimits())
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(MemoryError, match="Too many open files"):
        decode(data, found)
