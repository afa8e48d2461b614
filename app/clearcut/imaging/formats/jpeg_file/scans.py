"""Which coefficients the scans of a JPEG cover, from the scan headers alone (ITU-T T.81 B.2.3 and G.1.1.1)."""

from __future__ import annotations

from clearcut.errors import CorruptImage

_PROGRESSIVE = frozenset({0xC2, 0xCA})
_COEFFICIENTS = 64


class ScanCoverage:
    """The scans of one frame. A file that was cut between two scans does not cover all coefficients.

    Args:
        marker: of the frame header.
        frame: payload of the frame header, complete.
    """

    def __init__(self, marker: int, frame: memoryview) -> None:
        self.progressive = marker in _PROGRESSIVE
        self._missing = {frame[6 + 3 * index]: set(range(_COEFFICIENTS)) for index in range(frame[5])}
        """Coefficients that are absent or not at full precision, by component id."""
        self._begun: dict[int, set[int]] = {component: set() for component in self._missing}
        """Coefficients with their first scan. A refinement without it means that the first scan is lost."""

    def add(self, scan: memoryview) -> None:
        """Add a scan.

        Args:
            scan: payload of the scan header.

        Raises:
            CorruptImage: the header is incomplete.
        """
        count = scan[0] if len(scan) else 0
        if not 1 <= count <= 4 or len(scan) < 4 + 2 * count:
            raise CorruptImage("The JPEG has an incomplete scan header")
        first, last, refined, precision = 0, _COEFFICIENTS - 1, 0, 0
        if self.progressive:  # sequential scans always cover all coefficients; Samsung phones write 0, 0
            first, last = scan[1 + 2 * count], scan[2 + 2 * count]
            refined, precision = scan[3 + 2 * count] >> 4, scan[3 + 2 * count] & 15
        covered = set(range(first, last + 1))
        for component in {scan[1 + 2 * index] for index in range(count)} & self._missing.keys():
            if refined == 0:
                self._begun[component] |= covered
            if precision == 0:
                self._missing[component] -= covered & self._begun[component]

    @property
    def complete(self) -> bool:
        """Whether the scans cover all coefficients of all components at full precision."""
        return not any(self._missing.values())
