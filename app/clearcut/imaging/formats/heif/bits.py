"""A reader of single bits, for the headers of HEVC and AV1."""

from __future__ import annotations

from clearcut.errors import CorruptImage


class BitReader:
    """Read numbers of any length in bits, most significant bit first.

    Raises:
        CorruptImage: a read goes past the end.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next ``count`` bits as a number."""
        if count > self._left:
            raise CorruptImage("The header of the image data is truncated")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        return bool(self.read(1))

    def skip(self, count: int) -> None:
        self.read(count)

    def exp_golomb(self) -> int:
        """Return an unsigned Exp-Golomb number (H.265 section 9.2), at most 2**32 - 2."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise CorruptImage("The header of the image data has an invalid number")
        return (1 << zeros) - 1 + self.read(zeros)
