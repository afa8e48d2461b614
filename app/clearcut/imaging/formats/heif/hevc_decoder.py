"""HEVC decoding in a confined process: the start, the end and the output of ``hevc_process``.

A fault of the decoder can change the pixels of one file only: the process has no files, no network and limits on memory
and CPU time, and it ends after the file.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from clearcut.errors import UnsupportedFormat
from clearcut.imaging.formats.opencv import damaged, raise_if_out_of_memory
from clearcut.imaging.types import ImageHeader

from .hevc_input import DecoderJob, prepare
from .hevc_process import protocol
from .hevc_process.protocol import Colors
from .images import StillImage
from .ycbcr import Planes

_ROOT = str(Path(__file__).resolve().parents[4])
_COMMAND = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from clearcut.imaging.formats.heif.hevc_process.program import main; main()"
)
_TIMEOUT_MS = 120_000
"""Limit for a process that waits for a processor."""
_INTERRUPTED = {-signal.SIGINT, -signal.SIGTERM}


@dataclass(frozen=True, slots=True)
class DecodedImages:
    """The planes of an image and of its alpha, and the color space in the coded data."""

    main: Planes
    alpha: Planes | None
    colors: Colors


def decode_images(view: memoryview, image: StillImage, header: ImageHeader, library: str) -> DecodedImages:
    """Decode the primary image and its alpha.

    Args:
        view: the file, which ``read_image`` has checked.
        library: path of libavcodec.

    Raises:
        CorruptImage: the image cannot be decoded, or takes too long.
        UnsupportedFormat: this system cannot confine the decoder.
        MemoryError: an allocation failed, or the system has no memory or descriptors for the process.
    """
    job = prepare(view, image)
    with ExitStack() as stack:
        out = _run(stack, job, library, header)
        colors = Colors(*protocol.COLORS.unpack_from(out))
        planes = [each.read(out, image.width, image.height) for each in job.canvases]
    return DecodedImages(planes[0], planes[1] if len(planes) > 1 else None, colors)


def _run(stack: ExitStack, job: DecoderJob, library: str, header: ImageHeader) -> mmap.mmap:
    """Run the process and return its output."""
    size = job.canvases[-1].end
    try:
        files = [_memory_file(stack, name) for name in ("input", "output")]
        with open(files[0], "wb", closefd=False) as opened:
            opened.write(job.source)
        os.ftruncate(files[1], size)
        arguments = [_ROOT, library, *map(str, (*files, job.memory, job.cpu_s))]
        status = _exit_status(arguments, files)
        if status in _INTERRUPTED:  # before the process ignored the signal
            status = _exit_status(arguments, files)
    except OSError as exc:
        raise MemoryError(f"The HEIC decoder cannot start: {exc.strerror}") from None
    if status == protocol.NOT_STARTED:
        raise UnsupportedFormat("HEIC, and this server cannot start its HEIC decoder; export it as JPEG")
    if status == -signal.SIGKILL:
        raise MemoryError("The system killed the HEIC decoder")
    if status:
        raise_if_out_of_memory(header)
        raise damaged(header)
    return mmap.mmap(files[1], size, prot=mmap.PROT_READ)


def _memory_file(stack: ExitStack, name: str) -> int:
    """Create a file in memory that ``stack`` closes, and return its descriptor."""
    file = os.memfd_create(f"heic-{name}", os.MFD_CLOEXEC)
    stack.callback(os.close, file)
    return file


def _exit_status(arguments: list[str], files: list[int]) -> int:
    """Run the process, for at most ``_TIMEOUT_MS``, and return its exit status."""
    process = subprocess.Popen(  # noqa: S603  # fixed arguments
        [sys.executable, "-I", "-S", "-c", _COMMAND, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=files, cwd="/",
        env={}, start_new_session=True,
    )  # fmt: skip
    with process:
        poll = select.poll()
        poll.register(process.stdout or -1, select.POLLIN)
        ended = poll.poll(_TIMEOUT_MS)  # the end of the process closes its output
        if not ended:
            process.kill()
    return process.returncode if ended else protocol.DAMAGED
