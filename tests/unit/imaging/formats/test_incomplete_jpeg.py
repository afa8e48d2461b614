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


def three_by_one(rgb: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return a JPEG with 3 x 1 sampling of the luminance, which TurboJPEG refuses, and its pixels u8[H,W,3].

    Each component is a scan of its own, so the data of a gray file can be used as it is. libjpeg repeats the chroma
    samples; the colors follow from the formula of JFIF.
    """
    luma, blue, red = np.moveaxis(np.asarray(Image.fromarray(rgb).convert("YCbCr")), 2, 0)
    planes = [samples.jpeg(np.ascontiguousarray(each)) for each in (luma, blue[:, 1::3], red[:, 1::3])]
    frame, scan = (planes[0].index(marker) for marker in (b"\xff\xc0", b"\xff\xda"))
    size = struct.pack(">HH", *rgb.shape[:2])
    parts = [planes[0][:frame], b"\xff\xc0\x00\x11\x08", size, b"\x03\x01\x31\x00\x02\x11\x00\x03\x11\x00"]
    parts.append(planes[0][frame + 13 : scan])
    for number, plane in enumerate(planes, 1):
        at = scan_starts(plane)[0]
        parts += [b"\xff\xda\x00\x08\x01", bytes((number, 0, 0, 63, 0)), plane[at + 10 : -2]]
    y, cb, cr = (np.asarray(Image.open(BytesIO(plane)), np.float64) for plane in planes)
    cb, cr = (np.repeat(each, 3, axis=1) - 128 for each in (cb, cr))
    pixels = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2)
    return b"".join((*parts, b"\xff\xd9")), np.clip(pixels.round(), 0, 255).astype(np.uint8)


def test_unusual_sampling_is_decoded() -> None:
    data, expected = three_by_one(PHOTO[:96, :240])
    got = opened(data).rgb.astype(int)
    assert np.abs(got - expected).max() <= 1
    assert np.abs(opened(data[:-2]).rgb - got).max() == 0
    header = probe(data, ProbeLimits())
    half = expected.reshape(48, 2, 120, 2, 3).mean(axis=(1, 3))
    assert np.abs(decode(data, header, 2).rgb - half).max() <= 2


@pytest.mark.parametrize("lost", [0.02, 0.3, 0.9, 1])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_truncated_unusual_sampling_is_refused(lost: float, end: bytes) -> None:
    data, _ = three_by_one(PHOTO[:96, :240])
    start = scan_starts(data)[-1] + 10
    with pytest.raises(CorruptImage, match="blocks of the image are missing"):
        opened(data[: start + int((1 - lost) * (len(data) - 2 - start))] + end)


PROGRESSIVE = {
    f"quality {quality} {options}": samples.jpeg(
        samples.photo("astronaut", 400, 304), quality=quality, progressive=True, **options
    )
    for quality in (30, 90)
    for options in ({"subsampling": 0}, {"subsampling": 2}, {"subsampling": 2, "restart_marker_rows": 1})
}


@pytest.mark.parametrize("name", PROGRESSIVE)
def test_cut_progressive_files_are_refused(name: str) -> None:
    data = PROGRESSIVE[name]
    pixels = by_pillow(data)
    first, last = scan_starts(data)[0], scan_starts(data)[-1]
    cuts = [*np.linspace(first + 20, last, 3, dtype=int), *np.linspace(last + 12, len(data) - 40, 6, dtype=int)]
    for at in cuts:
        missing = len(data) - at
        ends = b"", b"\xff\xd9", bytes(missing), bytes(missing - 2) + b"\xff\xd9", bytes(20_000), b"\xff" * missing
        for end in ends:
            with pytest.raises(CorruptImage):
                opened(data[:at] + end)
    for trailer in (bytes(100), bytes(20_000), bytes(20) + NOISE):
        np.testing.assert_array_equal(opened(data[:-2] + trailer).rgb, pixels)


@pytest.mark.parametrize("name", PROGRESSIVE)
def test_holes_in_progressive_files_change_little(name: str) -> None:
    """A hole is refused, except in the last bit of the DC coefficients, where it moves blocks by one step."""
    data = PROGRESSIVE[name]
    pixels = by_pillow(data).astype(int)
    step = int(np.frombuffer(data[data.index(b"\xff\xdb") + 5 :][:1], np.uint8)[0])
    refused = 0
    places = np.linspace(scan_starts(data)[0] + 20, len(data) - 600, 16, dtype=int)
    for at in places:
        try:
            found = opened(data[:at] + bytes(512) + data[at + 512 :]).rgb
        except CorruptImage:
            refused += 1
        else:
            assert np.abs(found - pixels).max() <= 4 * step
    assert refused >= 0.9 * len(places)


def test_lost_first_scan_of_a_component_is_refused() -> None:
    data = PROGRESSIVE["quality 90 {'subsampling': 2}"]
    starts = scan_starts(data)
    tables = [data.rindex(b"\xff\xc4", 0, at) for at in starts[1:4]]
    with pytest.raises(CorruptImage, match="before its last scan"):
        opened(data[: tables[1]] + data[tables[2] :])  # its refinement is still in the file


@pytest.mark.parametrize(
    "options", [{}, {"optimize": True}, {"progressive": True}, {"progressive": True, "subsampling": 0}]
)
def test_drawings_have_no_hole(options: dict[str, object]) -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    blocks = np.kron(np.indices((64, 64)).sum(axis=0) % 2, np.ones((8, 8)))[:, :, None].repeat(3, 2)
    ramp = np.tile(np.arange(512) // 2, (512, 1))[:, :, None].repeat(3, 2)
    sparse = np.full((512, 512, 3), 255)
    sparse[::64, ::64] = 0
    for drawing in (stripes, blocks * 255, ramp, sparse):
        data = samples.jpeg(drawing.astype(np.uint8), **options)
        for file in (data, data[:-2], data[:-2] + bytes(4096)):
            np.testing.assert_array_equal(opened(file).rgb, by_pillow(data))


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
