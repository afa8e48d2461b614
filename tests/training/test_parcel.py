"""Packed training images survive packing and unpacking."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.data import PackWriter, Pool
from models.training.parcel import CHUNK, pack, unpack


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Return more images than a process unpacks at a time, of two sizes, some without a matte."""
    rng = np.random.default_rng(0)
    writer = PackWriter(tmp_path / "pool")
    for number in range(2 * CHUNK + 7):
        height, width = ((24, 40), (31, 17))[number % 2]
        rgb = cv2.resize(
            rng.integers(0, 256, (3, 4, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
        )
        alpha = rng.integers(0, 256, (height, width), dtype=np.uint8) * np.uint8(number % 3 > 0)
        writer.add(rgb.astype(np.uint8), alpha, f"picture{number}", "source", "photo" if number % 3 else "background")
    writer.close()
    return tmp_path / "pool"


def test_parcel_round_trip(packed: Path, tmp_path: Path) -> None:
    parcels = pack(packed, tmp_path / "parcels", most=0.04)
    assert len(parcels) > 2
    assert all(parcel.stat().st_size <= 40_000 for parcel in parcels)
    assert unpack(tmp_path / "parcels", tmp_path / "arrived", workers=1) == {"pool": 2 * CHUNK + 7}
    sent, arrived = Pool(packed), Pool(tmp_path / "arrived" / "pool")
    assert arrived.records == sent.records
    for number in range(len(sent)):
        np.testing.assert_array_equal(arrived[number][..., 3], sent[number][..., 3])
        gap = np.abs(arrived[number][..., :3].astype(int) - sent[number][..., :3]).mean()
        assert gap < 12, number


@pytest.mark.parametrize("which", [0, 1, -1])
def test_missing_parcel_is_detected(packed: Path, tmp_path: Path, which: int) -> None:
    parcels = pack(packed, tmp_path / "parcels", most=0.04)
    parcels[which].unlink()
    with pytest.raises(ValueError, match=r"^pool: .* missing$"):
        unpack(tmp_path / "parcels", tmp_path / "arrived", workers=1)


def test_truncated_parcel_is_detected(packed: Path, tmp_path: Path) -> None:
    parcels = pack(packed, tmp_path / "parcels", most=0.04)
    parcels[-1].write_bytes(parcels[-1].read_bytes()[:-2000])
    with pytest.raises(ValueError, match="damaged"):
        unpack(tmp_path / "parcels", tmp_path / "arrived", workers=1)
