"""The decoder's process, which ``hevc_decoder.py`` starts."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys

from . import protocol
from .confinement import confine, limit_resources
from .libavcodec import Decoder, Plane, Undecodable
from .protocol import CodedImage


def main() -> None:
    """Decode every image of the input, and end the process with an exit status of ``protocol``.

    Arguments: folder of the package, path of libavcodec, descriptors of input and output, bytes of memory, CPU seconds.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the service finishes its requests first
        signal.signal(number, signal.SIG_IGN)
    library, *numbers = sys.argv[2:]
    source, target, memory, cpu_s = map(int, numbers)
    try:
        data = mmap.mmap(source, 0, flags=mmap.MAP_PRIVATE)
        out = mmap.mmap(target, 0)
        decoder = Decoder(library)
        limit_resources(memory, cpu_s)
        confine()
    except Exception:
        os._exit(protocol.NOT_STARTED)
    status = _decode(decoder, data, out)
    os._exit(status)  # the usual exit would write to streams


def _decode(decoder: Decoder, data: mmap.mmap, out: mmap.mmap) -> int:
    source, target = (ctypes.addressof(ctypes.c_ubyte.from_buffer(each)) for each in (data, out))
    try:
        for number, image in enumerate(protocol.unpack_images(memoryview(data))):
            colors = decoder.decode(source + image.offset, image.size, image, _planes(image, target))
            if number == 0:
                protocol.COLORS.pack_into(out, 0, *colors)
    except Undecodable:
        return protocol.DAMAGED
    except MemoryError:
        return protocol.OUT_OF_MEMORY
    return 0


def _planes(image: CodedImage, out: int) -> list[Plane]:
    sample = 1 if image.bits == 8 else 2
    sizes = protocol.plane_sizes(image.width, image.height, image.chroma)
    return [
        Plane(out + target.offset, target.stride, width * sample, height)
        for target, (width, height) in zip(image.planes, sizes, strict=False)
    ]
