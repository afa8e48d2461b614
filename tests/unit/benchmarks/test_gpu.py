"""The GPU benchmark runs where nobody looks on: one batch size that fails leaves the others' figures."""

from __future__ import annotations

import pytest

from benchmarks.gpu import curve
from clearcut.inference.session import OutOfDeviceMemory


class Fake:
    bound: frozenset[int] = frozenset()

    def __init__(self, error: Exception) -> None:
        self._error = error

    def warm(self, batch):
        if len(batch) > 2:
            raise self._error
        return batch

    run = warm


@pytest.mark.parametrize("error", [OutOfDeviceMemory("out of memory"), RuntimeError("CUDNN_STATUS_NOT_SUPPORTED")])
def test_a_batch_that_fails_ends_the_curve_and_says_why(error):
    rows = curve(Fake(error), 4, (1, 2, 4, 8), 0.0)
    assert list(rows) == ["1", "2", "4", "bound batches"]
    assert str(error) in str(rows["4"])
