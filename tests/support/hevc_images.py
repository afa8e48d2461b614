"""A lossless HEVC encoder for tests: every block is stored as raw samples (I_PCM, ITU-T H.265 section 7.3.8.7).

It needs no encoder library. A decoder returns exactly the given samples, so expected pixels are known independently.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

BLOCK = 16
"""Side of a coding block in pixels."""
_VPS, _SPS, _PPS, _IDR = 32, 33, 34, 19
LPS_RANGES = (
    (128, 176, 208, 240), (128, 167, 197, 227), (128, 158, 187, 216), (123, 150, 178, 205), (116, 142, 169, 195),
    (111, 135, 160, 185), (105, 128, 152, 175), (100, 122, 144, 166), (95, 116, 137, 158), (90, 110, 130, 150),
    (85, 104, 123, 142), (81, 99, 117, 135), (77, 94, 111, 128), (73, 89, 105, 122), (69, 85, 100, 116),
    (66, 80, 95, 110), (62, 76, 90, 104), (59, 72, 86, 99), (56, 69, 81, 94), (53, 65, 77, 89), (51, 62, 73, 85),
    (48, 59, 69, 80), (46, 56, 66, 76), (43, 53, 63, 72), (41, 50, 59, 69), (39, 48, 56, 65), (37, 45, 54, 62),
    (35, 43, 51, 59), (33, 41, 48, 56), (32, 39, 46, 53), (30, 37, 43, 50), (29, 35, 41, 48), (27, 33, 39, 45),
    (26, 31, 37, 43), (24, 30, 35, 41), (23, 28, 33, 39), (22, 27, 32, 37), (21, 26, 30, 35), (20, 24, 29, 33),
    (19, 23, 27, 31), (18, 22, 26, 30), (17, 21, 25, 28), (16, 20, 23, 27), (15, 19, 22, 25), (14, 18, 21, 24),
    (14, 17, 20, 23), (13, 16, 19, 22), (12, 15, 18, 21), (12, 14, 17, 20), (11, 14, 16, 19), (11, 13, 15, 18),
    (10, 12, 15, 17), (10, 12, 14, 16), (9, 11, 13, 15), (9, 11, 12, 14), (8, 10, 12, 14), (8, 9, 11, 13),
    (7, 9, 11, 12), (7, 9, 10, 12), (7, 8, 10, 11), (6, 8, 9, 11), (6, 7, 9, 10), (6, 7, 8, 9),
)  # fmt: skip
"""Table 9-52: the range of the less probable symbol by state."""


@dataclass(frozen=True, slots=True)
class CodedImage:
    """One coded image, as HEIF stores it."""

    configuration: bytes
    """Payload of the hvcC box."""
    data: bytes
    """Units with lengths of four bytes."""
    width: int
    """Coded width; even for YCbCr 4:2:0."""
    height: int
    visible_width: int
    visible_height: int


class Bits:
    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def text(self, bits: str) -> None:
        self._parts.append(bits)
        self._length += len(bits)

    def u(self, value: int, count: int) -> None:
        if count:
            self.text(f"{value:0{count}b}")

    def ue(self, *values: int) -> None:
        for value in values:
            code = f"{value + 1:b}"
            self.text("0" * (len(code) - 1) + code)

    def align(self) -> None:
        self.text("0" * (-self._length % 8))

    def stop(self) -> bytes:
        self.text("1")
        return self.bytes()

    def bytes(self) -> bytes:
        self.align()
        return int("".join(self._parts), 2).to_bytes(self._length // 8, "big")


class ArithmeticEncoder:
    """The end of a slice and the output of the arithmetic encoder (section 9.3.4)."""

    def __init__(self, out: Bits) -> None:
        self._out = out
        self.start()

    def start(self) -> None:
        self._low, self._range, self._outstanding, self._first = 0, 510, 0, True

    def terminate(self, last: bool) -> None:
        self._range -= 2
        if not last:
            self._renormalize()
            return
        self._low += self._range
        self._range = 2
        self._renormalize()
        self._put(self._low >> 9 & 1)
        self._out.u(self._low >> 7 & 3 | 1, 2)

    def _renormalize(self) -> None:
        while self._range < 256:
            if self._low < 256:
                self._put(0)
            elif self._low >= 512:
                self._low -= 512
                self._put(1)
            else:
                self._low -= 256
                self._outstanding += 1
            self._range <<= 1
            self._low <<= 1

    def _put(self, bit: int) -> None:
        if self._first:
            self._first = False
        else:
            self._out.u(bit, 1)
        self._out.text(str(1 - bit) * self._outstanding)
        self._outstanding = 0


class _OneContext(ArithmeticEncoder):
    """An arithmetic encoder with one context, in which only the more probable symbol occurs."""

    def __init__(self, out: Bits) -> None:
        super().__init__(out)
        self._state = 0

    def probable(self) -> None:
        self._range -= LPS_RANGES[self._state][self._range >> 6 & 3]
        self._state = min(self._state + 1, 62)
        self._renormalize()


def encode(
    planes: list[np.ndarray], depth: int = 8, coded_size: tuple[int, int] | None = None, missing_blocks: int = 0
) -> CodedImage:
    """Encode one plane (gray) or three planes (YCbCr 4:2:0) of u8 or u16 samples.

    Args:
        planes: [H,W], then twice [ceil(H/2),ceil(W/2)].
        depth: bits of each sample, 8 to 12.
        coded_size: size in the parameter set; a wrong one makes a hostile file.
        missing_blocks: number of blocks at the end that are left out.
    """
    visible_height, visible_width = planes[0].shape
    unit = 2 if len(planes) == 3 else 1
    width, height = -(-visible_width // unit) * unit, -(-visible_height // unit) * unit
    across, down = -(-width // BLOCK), -(-height // BLOCK)
    padded = [
        np.pad(plane, ((0, down * side - plane.shape[0]), (0, across * side - plane.shape[1])), mode="edge")
        for plane, side in zip(planes, (BLOCK, BLOCK // 2, BLOCK // 2), strict=False)
    ]
    out = Bits()
    out.u(0b10, 2)  # first slice, keep earlier images
    out.ue(0, 2, 0)  # parameter set, intra slice, QP (as a signed number)
    out.text("1")
    out.align()
    coder = _OneContext(out)
    for number in range(last := across * down - missing_blocks):
        row, column = divmod(number, across)
        coder.probable()  # part_mode 2Nx2N
        coder.terminate(True)  # pcm_flag
        out.align()
        for plane, side in zip(padded, (BLOCK, BLOCK // 2, BLOCK // 2), strict=False):
            block = plane[row * side : (row + 1) * side, column * side : (column + 1) * side]
            out.text("".join(f"{sample:0{depth}b}" for sample in block.reshape(-1).tolist()))
        coder.start()
        coder.terminate(number == last - 1)
    slice_unit = nal_unit(_IDR, out.bytes())
    chroma = 1 if len(planes) == 3 else 0
    sps = _sequence_set(*(coded_size or (width, height)), depth, chroma)
    return CodedImage(
        configuration(sps, chroma, depth),
        struct.pack(">I", len(slice_unit)) + slice_unit,
        width,
        height,
        visible_width,
        visible_height,
    )


def configuration(sps: bytes, chroma: int, depth: int) -> bytes:
    """Return the payload of an hvcC box.

    Args:
        sps: sequence parameter set without its header.
        chroma: ``chroma_format_idc``.
    """
    head = struct.pack(">BBIHIB", 1, 3, 0x70000000, 0x9000, 0, 30) + struct.pack(
        ">HBBBBHBB", 0xF000, 0xFC, 0xFC | chroma, 0xF8 | depth - 8, 0xF8 | depth - 8, 0, 0x0F, 3
    )
    sets = [(kind, nal_unit(kind, raw)) for kind, raw in ((_VPS, _video_set()), (_SPS, sps), (_PPS, _picture_set()))]
    return head + b"".join(struct.pack(">BHH", 0x80 | kind, 1, len(each)) + each for kind, each in sets)


def from_rgb(rgb: np.ndarray) -> list[np.ndarray]:
    """Convert u8[H,W,3] to full-range BT.601 YCbCr 4:2:0 planes."""
    r, g, b = np.moveaxis(rgb.astype(np.float64), 2, 0)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    planes = [luma, 128 + (b - luma) * 0.564334, 128 + (r - luma) * 0.713267]
    height, width = luma.shape
    halved = []
    for plane in planes[1:]:
        even = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
        halved.append(even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean(axis=(1, 3)))
    return [np.clip(np.round(plane), 0, 255).astype(np.uint8) for plane in (planes[0], *halved)]


def nal_unit(kind: int, payload: bytes) -> bytes:
    """Return a unit with its header and emulation prevention (section 7.4.2)."""
    out = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes((kind << 1, 1)) + bytes(out)


def profile(bits: Bits) -> None:
    bits.u(3, 8)  # Main Still Picture
    bits.u(0x70000000, 32)
    bits.u(0b1001, 4)
    bits.u(0, 44)
    bits.u(30, 8)


def _video_set() -> bytes:
    bits = Bits()
    bits.u(0b0000_1_1_000000_000_1, 16)
    bits.u(0xFFFF, 16)
    profile(bits)
    bits.text("1")
    bits.ue(0, 0, 0)
    bits.u(0, 6)
    bits.ue(0)
    bits.u(0, 2)
    return bits.stop()


def _sequence_set(width: int, height: int, depth: int, chroma: int) -> bytes:
    bits = Bits()
    bits.u(0b0000_000_1, 8)
    profile(bits)
    coded_width, coded_height = -(-width // BLOCK) * BLOCK, -(-height // BLOCK) * BLOCK
    bits.ue(0, chroma, coded_width, coded_height)
    unit = 2 if chroma else 1
    bits.text("1")
    bits.ue(0, (coded_width - width) // unit, 0, (coded_height - height) // unit)
    bits.ue(depth - 8, depth - 8, 0)
    bits.text("1")
    bits.ue(0, 0, 0)
    bits.ue(1, 0, 0, 2, 0, 0)  # blocks of 16, transforms of 4 to 16
    bits.text("0001")  # no scaling lists, asymmetric partitions or offsets; raw blocks
    bits.u(depth - 1, 4)
    bits.u(depth - 1, 4)
    bits.ue(1, 0)
    bits.text("1")
    bits.ue(0)
    bits.text("00000")
    return bits.stop()


def _picture_set() -> bytes:
    bits = Bits()
    bits.ue(0, 0)
    bits.text("0000000")
    bits.ue(0, 0, 0)
    bits.text("000")
    bits.ue(0, 0)
    bits.text("0000000")
    bits.text("101")  # no deblocking
    bits.text("00")
    bits.ue(0)
    bits.text("00")
    return bits.stop()
