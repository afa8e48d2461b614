"""JPEG files without a regular end: complete images are decoded, images with missing blocks are refused."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from clearcut.errors import ClearcutError, CorruptImage
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import DecodedImage, ProbeLimits
from tests.support import bombs, samples

PHOTO = samples.photo("coffee", 240, 160)
INKS = np.dstack([255 - PHOTO, np.full(PHOTO.shape[:2], 20, np.uint8)])
FILES: dict[str, bytes] = {
    "baseline": samples.jpeg(PHOTO),
    "subsampled": samples.jpeg(PHOTO, subsampling=2),
    "progressive": samples.jpeg(PHOTO, progressive=True),
    "optimized": samples.jpeg(PHOTO, optimize=True),
    "restarts": samples.jpeg(PHOTO, restart_marker_blocks=4),
    "gray": samples.jpeg(PHOTO[:, :, 1]),
    "cmyk": samples.jpeg_cmyk(INKS),
    "1x1": samples.jpeg(PHOTO[:1, :1]),
    "odd size": samples.jpeg(PHOTO[:77, :55]),
}
NOISE = random.Random(3).randbytes(20_000)
SAMSUNG = b"\x00\x00\x01\x0aMotionPhoto_Data" + NOISE + b"SEFH" + bytes(24) + b"SEFT"
TRAILERS: dict[str, bytes] = {
    "nothing": b"",
    "half a marker": b"\xff",
    "zeros": bytes(4096),
    "noise": NOISE,
    "samsung": SAMSUNG,
    "another jpeg": samples.jpeg(PHOTO[::-1]),
    "a frame header": b"\xff\xc0\x00\x11\x08" + bytes(12),
    "a scan header": b"\xff\xda\x00\x0c" + bytes(10),
    "a segment past the end": b"\xff\xe1\xff\xff",
    "a segment of length 0": b"\xff\xe1\x00\x00\xff\xda",
    "text": b"<?xpacket end='w'?>",
}


def opened(data: bytes) -> DecodedImage:
    return decode(data, probe(data, ProbeLimits()))


def by_pillow(data: bytes) -> np.ndarray:
    """Decode a regular file."""
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("name", FILES)
def test_missing_end_marker_loses_no_pixel(name: str, trailer: str) -> None:
    data = FILES[name]
    assert data.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(opened(data[:-2] + TRAILERS[trailer]).rgb, by_pillow(data))


@pytest.mark.parametrize("name", FILES)
def test_doubled_start_marker_is_ignored(name: str) -> None:
    data = FILES[name]
    tables = data.index(b"\xff\xdb")
    inside = data[:tables] + b"\xff\xd8" + data[tables:]
    for changed in (b"\xff\xd8" + data, b"\xff\xd8\xff\xd8" + data[:-2], inside):
        np.testing.assert_array_equal(opened(changed).rgb, by_pillow(data))


def test_orientation_and_profile_survive_repair() -> None:
    data = samples.jpeg(PHOTO, orientation=6, icc_profile=samples.icc_rgb())
    whole, repaired = opened(data), opened(b"\xff\xd8" + data[:-2])
    assert whole.rgb.shape == (240, 160, 3)
    np.testing.assert_array_equal(repaired.rgb, whole.rgb)


def test_reduced_decode_of_repaired_file() -> None:
    data = samples.jpeg(samples.photo("rocket", 640, 480))
    cut = data[:-2]
    whole = decode(data, probe(data, ProbeLimits()), 4).rgb
    assert whole.shape == (120, 160, 3)
    np.testing.assert_array_equal(decode(cut, probe(cut, ProbeLimits()), 4).rgb, whole)


def scan_starts(data: bytes) -> list[int]:
    return [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]


def zero_hole(data: bytes, size: int = 1500) -> bytes:
    middle = (scan_starts(data)[-1] + len(data)) // 2
    return data[: middle - size // 2] + bytes(size) + data[middle + size // 2 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "half, with an end marker": lambda data: data[: (scan_starts(data)[0] + len(data)) // 2] + b"\xff\xd9",
    "half": lambda data: data[: (scan_starts(data)[0] + len(data)) // 2],
    "half, then zeros": lambda data: data[: (scan_starts(data)[0] + len(data)) // 2] + bytes(len(data) // 2),
    "last 40 bytes": lambda data: data[:-40],
    "last 40 bytes, with an end marker": lambda data: data[:-40] + b"\xff\xd9",
    "hole of zeros": zero_hole,
    "hole of zeros, no end marker": lambda data: zero_hole(data)[:-2],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["baseline", "subsampled", "progressive", "restarts", "gray", "cmyk"])
def test_missing_blocks_are_refused(name: str, damage: str) -> None:
    damaged = DAMAGE[damage](FILES[name])
    with pytest.raises(CorruptImage, match=r"truncated|damaged"):
        opened(damaged)


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_missing_scans_are_refused(end: bytes) -> None:
    data = FILES["progressive"]
    for start in scan_starts(data)[1:]:
        with pytest.raises(CorruptImage, match="truncated"):
            opened(data[:start] + end)


@pytest.mark.parametrize("count", [1, 2, 16])
def test_padding_before_end_marker_is_ignored(count: int) -> None:
    data = FILES["baseline"]
    for byte in (b"\x00", b"\x5a"):
        np.testing.assert_array_equal(opened(data[:-2] + count * byte + data[-2:]).rgb, by_pillow(data))


def test_foreign_data_before_end_marker_is_ignored() -> None:
    data = FILES["baseline"]
    foreign = NOISE[:3000].replace(b"\xff", b"\x00")
    np.testing.assert_array_equal(opened(data[:-2] + foreign + data[-2:]).rgb, by_pillow(data))


@pytest.mark.parametrize("parameters", [b"\x00\x00\x00", b"\x00\x3f\x01", b"\x01\x3f\x00", b"\x00\x05\x00"])
def test_invalid_scan_parameters_are_ignored_silently(parameters: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    data = FILES["baseline"]
    at = scan_starts(data)[0] + 2 + 8 + 1
    changed = data[:at] + parameters + data[at + 3 :]
    assert changed != data
    np.testing.assert_array_equal(opened(changed).rgb, by_pillow(data))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("gap", [b"\x00", b"\x00" * 18, b"garbage between segments"])
def test_bytes_between_header_segments_are_ignored(gap: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    data = FILES["baseline"]
    at = data.index(b"\xff\xdb")
    np.testing.assert_array_equal(opened(data[:at] + gap + data[at:]).rgb, by_pillow(data))
    assert capfd.readouterr().err == ""


def test_unknown_jfif_version_and_adobe_transform_are_ignored() -> None:
    data = bytearray(FILES["baseline"])
    data[data.index(b"JFIF\x00") + 5] = 9
    np.testing.assert_array_equal(opened(bytes(data)).rgb, by_pillow(FILES["baseline"]))


def test_damaged_files_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(5)
    served = 0
    for data in FILES.values():
        for _ in range(30):
            changed = bytearray(data)
            for _ in range(rng.choice((1, 2, 8))):
                changed[rng.randrange(2, len(changed))] = rng.randrange(256)
            try:
                opened(bytes(changed))
                served += 1
            except ClearcutError:
                pass
    assert served
    assert capfd.readouterr().err == ""


def test_flat_image_with_optimized_tables_has_no_hole() -> None:
    flat = np.full((800, 800, 3), 255, np.uint8)
    flat[:100, :100] = PHOTO[:100, :100]
    data = samples.jpeg(flat, optimize=True)
    assert bytes(256) in data
    np.testing.assert_array_equal(opened(data).rgb, by_pillow(data))
    np.testing.assert_array_equal(opened(data[:-2] + SAMSUNG).rgb, by_pillow(data))


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("shape", [(1500, 1500), (1500, 1500, 3)])
@pytest.mark.parametrize("level", [0, 128, 180, 255])
def test_flat_images_have_no_hole(level: int, shape: tuple[int, ...], options: dict[str, object]) -> None:
    data = samples.jpeg(np.full(shape, level, np.uint8), **options)
    np.testing.assert_array_equal(opened(data).rgb, by_pillow(data))
    np.testing.assert_array_equal(opened(data[:-2]).rgb, by_pillow(data))


def test_unusual_sampling_is_decoded() -> None:
    """TurboJPEG refuses 3 x 1 sampling of the luminance. The header of a gray file gets it without other changes."""
    data = bytearray(samples.jpeg(PHOTO[:8, :24], subsampling=0))
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == 0x11
    data[frame + 11] = 0x31
    try:
        got = opened(bytes(data)).rgb
    except CorruptImage:
        return  # the data is too short for this sampling
    np.testing.assert_array_equal(got, by_pillow(bytes(data)))


def test_scans_after_a_false_end_are_not_decoded() -> None:
    bomb = bombs.jpeg_scan_bomb(scans=500, side=256)
    start = bomb.rindex(b"\xff\xda")
    data = FILES["baseline"]
    evil = data[:-2] + b"\xff\xe1\x00\x00" + bomb[start:-2] * 200 + b"\xff\xd9"
    header = probe(evil, ProbeLimits())
    assert header.needs_repair
    np.testing.assert_array_equal(decode(evil, header).rgb, by_pillow(data))


def test_missing_component_scan_is_refused() -> None:
    data = FILES["baseline"]
    at = scan_starts(data)[0]
    one = b"\xff\xda" + struct.pack(">HB", 8, 1) + data[at + 5 : at + 7] + b"\x00\x3f\x00"
    with pytest.raises(CorruptImage, match="before its last scan"):
        opened(data[:at] + one + data[at + 14 :])


@pytest.mark.parametrize("extra", [b"\x12", b"\x12\x34", b"\x01\x02\x03\x04"])
def test_bytes_before_restart_markers_are_ignored(extra: bytes) -> None:
    data = FILES["restarts"]
    start = scan_starts(data)[-1] + 14
    scan = b"".join(
        extra + data[at : at + 1] if data[at] == 0xFF and data[at + 1] & 0xF8 == 0xD0 else data[at : at + 1]
        for at in range(start, len(data))
    )
    np.testing.assert_array_equal(opened(data[:start] + scan).rgb, by_pillow(data))


def test_rows_after_the_last_one_are_ignored() -> None:
    data = FILES["restarts"]
    rows = b"".join(
        b"\xff" + bytes((0xD0 + number % 8,)) + NOISE[:500].replace(b"\xff", b"\x00") for number in range(20)
    )
    np.testing.assert_array_equal(opened(data[:-2] + rows + b"\xff\xd9").rgb, by_pillow(data))
