"""PNG files with missing or wrong checksums, without an end, with a wrong window, and animations."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from clearcut.errors import CorruptImage
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import DecodedImage, ProbeLimits
from tests.support import samples

PHOTO = samples.photo("chelsea", 61, 43)
ALPHA = samples.disc(43, 61)
WIDE = samples.photo("chelsea", 300, 200)
FILES: dict[str, bytes] = {
    "rgb": samples.png(PHOTO),
    "rgba": samples.png(np.dstack([PHOTO, ALPHA])),
    "gray": samples.png(ALPHA),
    "16 bits": samples.png_raw(PHOTO.astype(np.uint16) * 257, 16, 2),
    "interlaced": samples.png_raw(PHOTO, 8, 2, interlaced=True),
    "palette": samples.png_raw(ALPHA[:, :, None] // 17, 4, 3, extra=samples.png_chunk(b"PLTE", bytes(range(48)))),
    "larger than a window": samples.png(WIDE),
    "highly compressed": samples.png(np.tile(WIDE[:1], (200, 1, 1))),  # ISA-L takes all input before all output is read
}


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def joined(
    parts: list[tuple[bytes, bytes]], checksum: Callable[[bytes, int], int] = lambda kind, right: right
) -> bytes:
    """Return a PNG of these chunks; ``checksum`` changes the checksum of each."""
    body = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum(kind, zlib.crc32(kind + body)))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def with_stream(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change the zlib stream; the checksums of the chunks are right."""
    parts = chunks(data)
    stream = b"".join(body for kind, body in parts if kind == b"IDAT")
    first = next(index for index, part in enumerate(parts) if part[0] == b"IDAT")
    rest = [part for part in parts if part[0] != b"IDAT"]
    return joined([*rest[:first], (b"IDAT", change(stream)), *rest[first:]])


def window(bits: int) -> Callable[[bytes], bytes]:
    method = (bits - 8) << 4 | 8
    return lambda stream: bytes((method, 31 - method * 256 % 31)) + stream[2:]


def wrong(*kinds: bytes) -> Callable[[bytes], bytes]:
    return lambda data: joined(chunks(data), lambda kind, right: right ^ 0x5A5A if kind in kinds else right)


COMPLETE: dict[str, Callable[[bytes], bytes]] = {
    "no IEND": lambda data: data[:-12],
    "IEND without checksum": lambda data: data[:-4],
    "part of IEND": lambda data: data[:-7],
    "no IEND, no last checksum": lambda data: data[:-16],
    "no IEND, no checksums": lambda data: data[:-20],
    "no Adler-32": lambda data: with_stream(data, lambda stream: stream[:-4]),
    "half an Adler-32": lambda data: with_stream(data, lambda stream: stream[:-2]),
    "wrong Adler-32": lambda data: with_stream(data, lambda stream: stream[:-4] + b"\x12\x34\x56\x78"),
    "zero checksums": lambda data: joined(chunks(data), lambda kind, right: 0),
    "wrong IDAT checksum": wrong(b"IDAT"),
    "wrong IHDR checksum": wrong(b"IHDR"),
    "wrong IEND checksum": wrong(b"IEND"),
    "wrong PLTE checksum": wrong(b"PLTE"),
    "window of 256 bytes": lambda data: with_stream(data, window(8)),
    "window of 1024 bytes": lambda data: with_stream(data, window(10)),
    "data after the stream": lambda data: with_stream(data, lambda stream: stream + b"more"),
    "data after IEND": lambda data: data + b"<?php",
    "empty IDAT first": lambda data: joined([*chunks(data)[:-2], (b"IDAT", b""), *chunks(data)[-2:]]),
}


def opened(data: bytes) -> DecodedImage:
    return decode(data, probe(data, ProbeLimits()))


def by_pillow(data: bytes, frame: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return (RGB, alpha) of a regular file."""
    image = Image.open(BytesIO(data))
    image.seek(frame)
    pixels = np.asarray(image.convert("RGBA"))
    return pixels[:, :, :3], pixels[:, :, 3]


@pytest.mark.parametrize("change", COMPLETE)
@pytest.mark.parametrize("name", FILES)
def test_complete_images_are_decoded(name: str, change: str) -> None:
    rgb, alpha = by_pillow(FILES[name])
    image = opened(COMPLETE[change](FILES[name]))
    np.testing.assert_array_equal(image.rgb, rgb)
    np.testing.assert_array_equal(255 if image.alpha is None else image.alpha, alpha)


MISSING: dict[str, Callable[[bytes], bytes]] = {
    "half of the file": lambda data: data[: len(data) // 2],
    "half of the stream": lambda data: with_stream(data, lambda stream: stream[: len(stream) // 2]),
    "half, then zeros": lambda data: data[: len(data) // 2] + bytes(len(data) // 2),
    "one row": lambda data: with_stream(data, lambda stream: zlib.compress(zlib.decompress(stream)[:-300])),
    "both checksums wrong": lambda data: wrong(b"IDAT")(with_stream(data, lambda s: s[:-4] + b"\x12\x34\x56\x78")),
    "changed byte": lambda data: data[: len(data) // 2] + b"\x5a\xa5" + data[len(data) // 2 + 2 :],
    "header of another size": lambda data: data[:16] + struct.pack(">I", 60) + data[20:],
}


@pytest.mark.parametrize("change", MISSING)
@pytest.mark.parametrize("name", ["rgb", "rgba", "16 bits", "interlaced"])
def test_damaged_images_are_refused(name: str, change: str) -> None:
    with pytest.raises(CorruptImage):
        opened(MISSING[change](FILES[name]))


def test_every_truncation_is_refused_or_complete() -> None:
    data = FILES["rgb"]
    rgb, _ = by_pillow(data)
    header_end = data.index(b"IDAT") + 4
    served = 0
    for length in [*range(header_end + 1, len(data) - 40, 97), *range(len(data) - 40, len(data))]:
        try:
            image = opened(data[:length])
        except CorruptImage:
            continue
        served += 1
        np.testing.assert_array_equal(image.rgb, rgb)
    assert served >= 16


# Animations


def animation(
    frames: list[np.ndarray], default: np.ndarray | None = None, place: tuple[int, int] = (0, 0), canvas: bytes = b""
) -> bytes:
    """Return an APNG; ``default`` is not a frame. ``place``: left and top of the frames."""
    head = canvas or chunks(samples.png(frames[0] if default is None else default))[0][1]
    parts = [(b"IHDR", head), (b"acTL", struct.pack(">II", len(frames), 0))]
    if default is not None:
        parts.append((b"IDAT", stream_of(default)))
    sequence = 0
    for number, frame in enumerate(frames):
        control = struct.pack(">5I", sequence, frame.shape[1], frame.shape[0], *place) + struct.pack(
            ">HHBB", 1, 10, 0, 0
        )
        parts.append((b"fcTL", control))
        sequence += 1
        if number == 0 and default is None:
            parts.append((b"IDAT", stream_of(frame)))
        else:
            stream = stream_of(frame)
            for piece in (stream[: len(stream) // 2], stream[len(stream) // 2 :]):
                parts.append((b"fdAT", struct.pack(">I", sequence) + piece))
                sequence += 1
    return joined([*parts, (b"IEND", b"")])


def stream_of(pixels: np.ndarray) -> bytes:
    return b"".join(body for kind, body in chunks(samples.png(pixels)) if kind == b"IDAT")


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("channels", [3, 4])
def test_hidden_default_image_is_not_decoded(count: int, channels: int) -> None:
    pixels = np.dstack([PHOTO, ALPHA])[:, :, :channels]
    frames = [np.ascontiguousarray(np.roll(pixels, 7 * number, axis=1)) for number in range(count)]
    data = animation(frames, default=np.zeros_like(pixels))
    rgb, alpha = by_pillow(data, frame=1)  # Pillow counts the default image
    image = opened(data)
    shown = alpha > 0
    np.testing.assert_array_equal(image.rgb[shown], rgb[shown])
    np.testing.assert_array_equal(255 if image.alpha is None else image.alpha, alpha)


def test_small_first_frame_is_placed_on_transparent_canvas() -> None:
    frame = np.ascontiguousarray(PHOTO[:20, :30])
    image = opened(animation([frame], default=PHOTO, place=(11, 5)))
    assert image.alpha is not None
    expected = np.zeros(PHOTO.shape[:2], np.uint8)
    expected[5:25, 11:41] = 255
    np.testing.assert_array_equal(image.alpha, expected)
    np.testing.assert_array_equal(image.rgb[5:25, 11:41], frame)


def test_visible_default_image_is_the_first_frame() -> None:
    data = animation([PHOTO, np.ascontiguousarray(PHOTO[::-1])])
    np.testing.assert_array_equal(opened(data).rgb, by_pillow(data)[0])


@pytest.mark.parametrize("fault", ["no data", "outside", "too little data"])
def test_invalid_first_frame_gives_default_image(fault: str) -> None:
    frame = np.ascontiguousarray(PHOTO[::-1])
    data = animation([frame], default=PHOTO, place=(1, 0) if fault == "outside" else (0, 0))
    parts = chunks(data)
    if fault == "no data":
        parts = [part for part in parts if part[0] != b"fdAT"]
    if fault == "too little data":
        parts = [(kind, body[:40] if kind == b"fdAT" else body) for kind, body in parts]
    np.testing.assert_array_equal(opened(joined(parts)).rgb, PHOTO)


@pytest.mark.parametrize("cut", [1, 4])
def test_profile_without_its_checksum_applies(cut: int) -> None:
    whole = opened(samples.png(PHOTO, icc_profile=samples.icc_rgb())).rgb
    body = b"p\x00\x00" + zlib.compress(samples.icc_rgb())[:-cut]
    np.testing.assert_array_equal(
        opened(samples.png_raw(PHOTO, 8, 2, extra=samples.png_chunk(b"iCCP", body))).rgb, whole
    )
    assert not np.array_equal(whole, PHOTO)


@pytest.mark.parametrize("cut", [40, 200])
def test_truncated_profile_is_ignored(cut: int) -> None:
    body = b"p\x00\x00" + zlib.compress(samples.icc_rgb())[:-cut]
    np.testing.assert_array_equal(
        opened(samples.png_raw(PHOTO, 8, 2, extra=samples.png_chunk(b"iCCP", body))).rgb, PHOTO
    )
