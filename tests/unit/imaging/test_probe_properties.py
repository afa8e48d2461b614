"""Arbitrary bytes give a header or an InputError."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearcut.errors import CorruptImage, InputError
from clearcut.imaging.decode import decode
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ImageHeader, ProbeLimits
from tests.support import samples

LIMITS = ProbeLimits()
PIXELS = samples.corners(24, 16)
ALPHA = np.dstack([PIXELS, samples.disc(16, 24)])
SEEDS = [
    samples.jpeg_ycck(ALPHA, icc_profile=samples.icc_cmyk()),
    samples.jpeg(PIXELS[:, :, 0], icc_profile=samples.icc_gray(samples.gamma_curve(1.0))),
    samples.jpeg(PIXELS, orientation=6),
    samples.jpeg(PIXELS, progressive=True, icc_profile=samples.icc_rgb()),
    samples.jpeg_cmyk(ALPHA),
    samples.png(PIXELS, orientation=3, icc_profile=samples.icc_rgb()),
    samples.png(ALPHA),
    samples.png_raw(PIXELS[:, :, :1] >> 7, 1, 0, extra=samples.png_chunk(b"tRNS", b"\0\1"), interlaced=True),
    samples.animated([PIXELS, PIXELS[::-1]], "PNG"),
    samples.webp(PIXELS, orientation=8, icc_profile=samples.icc_rgb()),
    samples.webp(ALPHA, lossless=True),
    samples.animated([ALPHA, ALPHA[::-1]], "WEBP"),
]
SIGNATURES = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP", b"\0\0\0\x18ftyp"]


def _probe(data: bytes) -> ImageHeader | None:
    try:
        return probe(data, LIMITS)
    except InputError:
        return None


@given(st.sampled_from(SIGNATURES), st.binary(max_size=400))
@settings(max_examples=400, deadline=None)
def test_arbitrary_bytes(signature: bytes, rest: bytes) -> None:
    header = _probe(signature + rest)
    assert header is None or 1 <= header.width * header.height <= LIMITS.max_pixels


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        change = draw(st.sampled_from(["set", "cut", "insert", "repeat", "truncate"]))
        if change == "set":
            data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xD8, 0xD9, 0xDA, 0xFF]))
        elif change == "cut":
            del data[at : at + draw(st.integers(1, 16))]
        elif change == "insert":
            data[at:at] = draw(st.binary(max_size=16))
        elif change == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
        else:
            del data[at:]
        if not data:
            break
    return bytes(data)


@given(mutated())
@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_files_decode_or_are_refused(data: bytes) -> None:
    header = _probe(data)
    if header is None or header.pixels > 1_000_000:
        return
    try:
        image = decode(data, header)
    except CorruptImage:
        return
    assert (image.width, image.height) == header.upright_size
    assert image.rgb.flags.c_contiguous
