"""Lines of native libraries on file descriptor 2, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clearcut.observability.native_output import is_codec_message

ROOT = Path(__file__).parents[3]
DAMAGED_PNG = """
import zlib, cv2, numpy as np
from tests.support import samples
def damaged():
    data = samples.png_raw(np.zeros((8, 8, 1), np.uint8), 8, 0)
    at = data.index(b"IDAT")
    body = zlib.compress(bytes(72))[:-4]
    whole = data[: at - 4] + samples.png_chunk(b"IDAT", body) + samples.png_chunk(b"IEND", b"")
    return cv2.imdecode(np.frombuffer(whole, np.uint8), 0)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": f"{ROOT / 'app'}:{ROOT}", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", DAMAGED_PNG + code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_libpng_writes_to_standard_error_by_itself() -> None:
    assert "libpng error" in run("assert damaged() is None").stderr


def test_codec_lines_reach_only_the_log() -> None:
    done = run(
        "import os, sys\n"
        "from clearcut.observability import logging, native_output\n"
        "logging.configure('debug')\n"
        "with native_output.capture_native_output(native_output.log_line):\n"
        "    assert damaged() is None\n"
        "    os.write(2, b'some other library\\n')\n"
        "    print('an error of the service', file=sys.stderr)\n"
        "print('the end', file=sys.stderr)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "an error of the service\nthe end\n"
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("debug", "native message"),
        ("warning", "native message"),
    ]
    assert lines[0]["text"].startswith("libpng error")
    assert lines[1]["text"] == "some other library"


def test_command_prints_other_lines_only() -> None:
    done = run(
        "import os\n"
        "from clearcut.observability import native_output\n"
        "with native_output.capture_native_output(native_output.print_line):\n"
        "    damaged()\n"
        "    os.write(2, b'out of memory\\n')\n"
    )
    assert done.stderr == "out of memory\n"


def test_full_pipe_does_not_block_writers() -> None:
    done = run(
        "import os, threading\n"
        "from clearcut.observability import native_output\n"
        "gate = threading.Event()\n"
        "with native_output.capture_native_output(lambda line: gate.wait(20)):\n"
        "    for _ in range(3000):\n"
        "        try:\n"
        "            os.write(2, b'x' * 100 + b'\\n')\n"
        "        except BlockingIOError:\n"
        "            break\n"
        "    else:\n"
        "        raise SystemExit('the pipe is never full')\n"
        "    gate.set()\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "Corrupt JPEG data: premature end of data segment", "Premature end of JPEG file", "libpng warning: bad chunk",
        "Corrupt JPEG data: 18 extraneous bytes before marker 0xdb", "Invalid SOS parameters for sequential JPEG",
        "Warning: unknown JFIF revision number 9.01", "Unsupported marker type 0x02", "TIFFReadDirectory: Warning",
    ],
)  # fmt: skip
def test_messages_of_codecs_are_recognized(line: str) -> None:
    assert is_codec_message(line)


def test_messages_of_the_model_runtime_are_kept() -> None:
    assert not is_codec_message("2026-11-30 01:00:00.1 [W:onnxruntime:, session.cc:1] a warning")
    assert not is_codec_message("terminate called after throwing an instance of 'std::bad_alloc'")
