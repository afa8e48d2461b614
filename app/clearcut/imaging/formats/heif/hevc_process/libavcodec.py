"""The HEVC decoder of FFmpeg's libavcodec, called through ctypes. The library comes with the wheel of OpenCV.

Only fields at the start of AVFrame and AVPacket are used. FFmpeg keeps their place within a major version of the
library; ``hevc_library.py`` accepts only supported versions.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int64, c_void_p
from typing import Any, NamedTuple

from .protocol import CodedImage, Colors

_QUIET = -8
_FULL_RANGE = 2
_FORMATS = {0: ("gray",), 1: ("yuv420p", "yuvj420p"), 2: ("yuv422p", "yuvj422p"), 3: ("yuv444p", "yuvj444p", "gbrp")}
"""Names of pixel formats by chroma_format_idc. A depth above 8 bits is appended, such as ``yuv420p10le``."""


class _Frame(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p * 8),
        ("linesize", c_int * 8),
        ("extended_data", c_void_p),
        ("width", c_int),
        ("height", c_int),
        ("samples", c_int),
        ("format", c_int),
    ]


class _Packet(ctypes.Structure):
    _fields_ = [("buffer", c_void_p), ("pts", c_int64), ("dts", c_int64), ("data", c_void_p), ("size", c_int)]


_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "av_log_set_level": (None, (c_int,)),
    "avcodec_find_decoder_by_name": (c_void_p, (c_char_p,)),
    "avcodec_alloc_context3": (c_void_p, (c_void_p,)),
    "avcodec_open2": (c_int, (c_void_p, c_void_p, c_void_p)),
    "avcodec_free_context": (None, (POINTER(c_void_p),)),
    "avcodec_send_packet": (c_int, (c_void_p, c_void_p)),
    "avcodec_receive_frame": (c_int, (c_void_p, c_void_p)),
    "avcodec_flush_buffers": (None, (c_void_p,)),
    "av_packet_alloc": (POINTER(_Packet), ()),
    "av_new_packet": (c_int, (POINTER(_Packet), c_int)),
    "av_packet_free": (None, (POINTER(POINTER(_Packet)),)),
    "av_frame_alloc": (POINTER(_Frame), ()),
    "av_frame_unref": (None, (POINTER(_Frame),)),
    "av_frame_free": (None, (POINTER(POINTER(_Frame)),)),
    "av_opt_set": (c_int, (c_void_p, c_char_p, c_char_p, c_int)),
    "av_opt_get_int": (c_int, (c_void_p, c_char_p, c_int, POINTER(c_int64))),
    "av_get_pix_fmt_name": (c_char_p, (c_int,)),
    "av_image_copy_plane": (None, (c_void_p, c_int, c_void_p, c_int, c_int, c_int)),
}


class Plane(NamedTuple):
    """Where the samples of one plane go."""

    address: int
    stride: int
    row_bytes: int
    rows: int


class Undecodable(Exception):
    """The decoder refused the data, or the image differs from what its headers declare."""


def _may_have_holes(image: CodedImage, planes: list[Plane]) -> bool:
    """Return whether each plane has samples of 0, as missing blocks have.

    Photos have none in their chroma planes, which are searched first. Gray images often have black parts.
    """
    zero = bytes(1 if image.bits == 8 else 2)
    return all(_contains(plane, zero) for plane in reversed(planes))


def _contains(plane: Plane, sample: bytes) -> bool:
    rows = (plane.address + row * plane.stride for row in range(plane.rows))
    return any(sample in ctypes.string_at(address, plane.row_bytes) for address in rows)


class Decoder:
    """The decoder; one instance decodes any number of independent images.

    Raises:
        OSError: the file is not the expected library.
    """

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._library.av_log_set_level(_QUIET)
        self._codec = self._library.avcodec_find_decoder_by_name(b"hevc")
        if not self._codec:
            raise OSError("The library has no HEVC decoder")

    def decode(self, address: int, size: int, image: CodedImage, planes: list[Plane]) -> Colors:
        """Decode one image and copy its planes.

        A new context for each image gives each frame new memory, which is zero where nothing was decoded. If each plane
        has zeros, the image is decoded a second time, into memory filled with another value.

        Args:
            address: of ``size`` bytes of parameter sets and slices with start codes (H.265 annex B).
            image: the shape that the frame must have.

        Raises:
            Undecodable: as described there.
            MemoryError: an allocation failed.
        """
        library = self._library
        context = c_void_p(library.avcodec_alloc_context3(self._codec))
        packet, frame = library.av_packet_alloc(), library.av_frame_alloc()
        try:
            if not (context and packet and frame) or library.av_new_packet(packet, size):
                raise MemoryError
            library.av_opt_set(context, b"threads", b"1", 0)
            library.av_opt_set(context, b"err_detect", b"explode", 0)
            library.av_opt_set(context, b"flags", b"+unaligned", 0)  # crops at the left exactly
            if library.avcodec_open2(context, self._codec, None):
                raise MemoryError
            ctypes.memmove(packet.contents.data, address, size)
            self._decode(context, packet, frame)
            self._copy(frame.contents, image, planes)
            if _may_have_holes(image, planes):
                self._fill(context, frame, planes[0])
                self._decode(context, packet, frame)
                self._compare(frame.contents, planes[0])
            return self._colors(context)
        finally:
            library.av_frame_free(ctypes.byref(frame))
            library.av_packet_free(ctypes.byref(packet))
            library.avcodec_free_context(ctypes.byref(context))

    def _decode(self, context: c_void_p, packet: Any, frame: Any) -> None:
        library = self._library
        if library.avcodec_send_packet(context, packet) or library.avcodec_send_packet(context, None):
            raise Undecodable
        if library.avcodec_receive_frame(context, frame):
            raise Undecodable

    def _fill(self, context: c_void_p, frame: Any, plane: Plane) -> None:
        """Fill the memory of the frame, and return it to the decoder for the next frame."""
        stride = frame.contents.linesize[0]
        ctypes.memset(frame.contents.data[0], 255, stride * (plane.rows - 1) + plane.row_bytes)
        self._library.av_frame_unref(frame)
        self._library.avcodec_flush_buffers(context)

    def _compare(self, frame: _Frame, plane: Plane) -> None:
        """Compare with the first result: samples that the filled memory changes were not decoded.

        Raises:
            Undecodable: samples differ.
        """
        for row in range(plane.rows):
            found = ctypes.string_at((frame.data[0] or 0) + row * frame.linesize[0], plane.row_bytes)
            if found != ctypes.string_at(plane.address + row * plane.stride, plane.row_bytes):
                raise Undecodable

    def _copy(self, frame: _Frame, image: CodedImage, planes: list[Plane]) -> None:
        suffix = "" if image.bits == 8 else f"{image.bits}le"
        name = (self._library.av_get_pix_fmt_name(frame.format) or b"").decode()
        expected = [each + suffix for each in _FORMATS[image.chroma]]
        if (frame.width, frame.height) != (image.width, image.height) or name not in expected:
            raise Undecodable
        for number, plane in enumerate(planes):
            self._library.av_image_copy_plane(
                plane.address, plane.stride, frame.data[number], frame.linesize[number], plane.row_bytes, plane.rows
            )

    def _colors(self, context: c_void_p) -> Colors:
        found = []
        for name in (b"color_range", b"colorspace", b"color_primaries", b"color_trc"):
            value = c_int64(0)
            self._library.av_opt_get_int(context, name, 0, ctypes.byref(value))
            found.append(value.value)
        return Colors(int(found[0] == _FULL_RANGE), *found[1:])
