"""HEVC streams that expand enormously: a gray image of any size in a few kilobytes, and slices that overlap.

An encoder with the contexts of ITU-T H.265 section 9.3 for one kind of block: 64 x 64 samples, predicted, without
residuals. The streams are valid unless a function says otherwise.
"""

from __future__ import annotations

import struct
from functools import cache

from tests.support.hevc_images import LPS_RANGES, ArithmeticEncoder, Bits, CodedImage, configuration, nal_unit, profile

SIDE = 64
"""Side of a block in samples."""
_IDR, _QP = 19, 26
_AFTER_LPS = (
    0, 0, 1, 2, 2, 4, 4, 5, 6, 7, 8, 9, 9, 11, 11, 12, 13, 13, 15, 15, 16, 16, 18, 18, 19, 19, 21, 21, 22, 22, 23, 24,
    24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33, 33, 33, 34, 34, 35, 35, 35, 36, 36, 36, 37, 37, 37,
    38, 38, 63,
)  # fmt: skip
"""Table 9-53: the state after a less probable symbol."""
_CONTEXTS = {
    "part_mode": 184,
    "prev_intra_luma_pred_flag": 184,
    "intra_chroma_pred_mode": 63,
    "cbf_luma": 111,
    "cbf_chroma": 94,
}
"""Initial values of contexts in intra slices (tables 9-11 to 9-22)."""


class _Encoder(ArithmeticEncoder):
    """The arithmetic encoder (section 9.3.4) with contexts."""

    def __init__(self, out: Bits) -> None:
        super().__init__(out)
        self._states = {name: _initial(value) for name, value in _CONTEXTS.items()}

    def code(self, context: str, value: int) -> None:
        state, probable = self._states[context]
        part = LPS_RANGES[state][self._range >> 6 & 3]
        self._range -= part
        if value == probable:
            state = min(state + 1, 62)
        else:
            self._low, self._range = self._low + self._range, part
            probable = 1 - probable if state == 0 else probable
            state = _AFTER_LPS[state]
        self._states[context] = state, probable
        self._renormalize()

    def bypass(self, value: int) -> None:
        self._low = 2 * self._low + (self._range if value else 0)
        if self._low >= 1024:
            self._put(1)
            self._low -= 1024
        elif self._low < 512:
            self._put(0)
        else:
            self._low -= 512
            self._outstanding += 1


def gray(width: int, height: int, *, chroma: int = 1, bits: int = 8, slices: int = 1, body: bytes = b"") -> CodedImage:
    """Return a gray image.

    Args:
        width: in samples, a multiple of ``SIDE``, as ``height``.
        chroma: ``chroma_format_idc``.
        bits: of a sample.
        slices: number of slices. All slices but the first begin at the second block, so they overlap.
        body: data of all slices, instead of valid blocks.
    """
    blocks = width // SIDE * (height // SIDE)
    units = [nal_unit(_IDR, _slice(blocks, start, chroma, body)) for start in range(min(slices, 2))]
    units = [struct.pack(">I", len(each)) + each for each in units]
    data = units[0] + units[-1] * (slices - 1)
    return CodedImage(
        configuration(_sequence_set(width, height, chroma, bits), chroma, bits), data, width, height, width, height
    )


@cache
def _slice(blocks: int, start: int, chroma: int, body: bytes) -> bytes:
    """Return a slice from block number ``start`` to the end of the image."""
    bits = Bits()
    bits.u(0 if start else 0b10, 2)  # first slice; keep earlier images
    bits.ue(0)  # parameter set
    bits.u(start, (blocks - 1).bit_length() if start else 0)
    bits.ue(2, 0)  # intra; QP (as a signed number)
    bits.text("1")
    bits.align()
    if body:
        return bits.bytes() + body
    coder = _Encoder(bits)
    for number in range(start, blocks):
        coder.code("part_mode", 1)
        coder.code("prev_intra_luma_pred_flag", 1)
        coder.bypass(0)  # mpm_idx
        if chroma:
            coder.code("intra_chroma_pred_mode", 0)
            coder.code("cbf_chroma", 0)
            coder.code("cbf_chroma", 0)
        for _ in range(4):
            coder.code("cbf_luma", 0)
        coder.terminate(number == blocks - 1)
    return bits.bytes()


def _initial(value: int) -> tuple[int, int]:
    """Return (state, more probable symbol) of a context (section 9.3.2.2)."""
    slope, offset = (value >> 4) * 5 - 45, ((value & 15) << 3) - 16
    state = min(max((slope * _QP >> 4) + offset, 1), 126)
    return (state - 64, 1) if state > 63 else (63 - state, 0)


def _sequence_set(width: int, height: int, chroma: int, depth: int) -> bytes:
    bits = Bits()
    bits.u(0b0000_000_1, 8)
    profile(bits)
    bits.ue(0, chroma)
    bits.text("0" if chroma == 3 else "")
    bits.ue(width, height)
    bits.text("0")
    bits.ue(depth - 8, depth - 8, 0)
    bits.text("1")
    bits.ue(0, 0, 0)
    bits.ue(3, 0, 0, 3, 0, 0)  # blocks of 64, transforms of 4 to 32
    bits.text("0000")  # no scaling lists, asymmetric partitions, offsets or raw blocks
    bits.ue(0)
    bits.text("00000")
    return bits.stop()
