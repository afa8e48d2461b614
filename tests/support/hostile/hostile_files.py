"""Files of wrong types, of two types at once or of wrong sizes, and the most expensive valid files."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from clearcut.imaging.formats.heif.hevc_library import find_library
from tests.support import bombs, samples
from tests.support import heic_bombs as bombs_of_heic
from tests.support.hostile import file_mutations, valid_files


@dataclass(frozen=True, slots=True)
class File:
    what: str
    make: Callable[[], bytes]
    outcome: str = "any"
    """Expected outcome: ``good``, ``bad``, ``any``, or ``same`` (refused, or served with the pixels of ``base``)."""
    base: str = ""


def wrong_types() -> Iterator[File]:
    def saved(fmt: str, **options: object) -> bytes:
        out = io.BytesIO()
        Image.fromarray(samples.photo("coffee", 60, 40)).save(out, fmt, **options)
        return out.getvalue()

    by_pillow = {fmt: (lambda fmt=fmt: saved(fmt)) for fmt in ("PDF", "ICO", "PPM", "TGA", "EPS")}
    if features.check("jpg_2000"):
        by_pillow["JPEG2000"] = lambda: saved("JPEG2000")
    for name, make in by_pillow.items():
        yield File(name, make, "bad")
    box = b"\x00\x00\x00\x18ftyp"
    xml = b'<?xml version="1.0"?>'
    laughs = xml + b'<!DOCTYPE a [<!ENTITY a "ha">' + b'<!ENTITY b "&a;&a;&a;">' * 30 + b"]><svg>&b;</svg>"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as created:
        created.writestr("a.png", bytes(1_000_000))
    for what, data in {
        "HEIC": box + b"heic\x00\x00\x00\x00mif1heic" + bytes(400),
        "MP4": box + b"isom\x00\x00\x02\x00isomiso2" + bytes(400),
        "JPEG XL": b"\xff\x0a" + bytes(400),
        "JPEG XL box": b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(400),
        "SVG": xml + b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "SVG of entities": laughs,
        "HTML": b"<!doctype html><script>alert(1)</script>" + bytes(100),
        "PHP": b"<?php system($_GET['c']); ?>",
        "script": b"#!/bin/sh\nexit 0\n",
        "words": b"not an image at all\n" * 50,
        "JSON": b'{"image": "no"}',
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(500),
        "PE": b"MZ\x90\x00" + bytes(500),
        "Mach-O": b"\xcf\xfa\xed\xfe" + bytes(500),
        "class": b"\xca\xfe\xba\xbe" + bytes(500),
        "zip": archive.getvalue(),
        "gzip": b"\x1f\x8b\x08" + bytes(300),
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(300),
        "tar": b"a" + bytes(511),
        "PDF header": b"%PDF-1.7\n" + bytes(300),
        "PostScript": b"%!PS-Adobe-3.0\n",
        "PSD": b"8BPS\x00\x01" + bytes(300),
        "WAV": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40),
        "AVI": b"RIFF\x24\x00\x00\x00AVI LIST" + bytes(40),
        "MP3": b"ID3\x04" + bytes(300),
        "Ogg": b"OggS" + bytes(300),
        "font": b"wOF2" + bytes(300),
        "EXR": b"\x76\x2f\x31\x01" + bytes(300),
        "Radiance": b"#?RADIANCE\n" + bytes(300),
        "Sun raster": b"\x59\xa6\x6a\x95" + bytes(99),
        "one byte": b"\xff",
        "a NUL": b"\x00",
        "UTF-16": "<svg/>".encode("utf-16"),
        "noise": np.random.default_rng(3).bytes(5000),
        "JPEG's first bytes": b"\xff\xd8\xff",
        "PNG's first bytes": b"\x89PNG\r\n\x1a\n",
        "RIFF": b"RIFF\x00\x00\x00\x00WEBP",
        "MNG": b"\x8aMNG\r\n\x1a\n" + bytes(100),
        "JNG": b"\x8bJNG\r\n\x1a\n" + bytes(100),
        "PNG through a text mode": b"\x89PNG\n\x1a\n" + bytes(100),
    }.items():
        yield File(what, lambda data=data: data, "bad")


def polyglots() -> Iterator[File]:
    """Yield valid images with other data before (refused) or after (ignored) them."""
    behind = {
        "a zip": b"PK\x03\x04" + bytes(200),
        "a script": b"<script>alert(1)</script>",
        "ELF": b"\x7fELF" + bytes(99),
        "a megabyte": bytes(1 << 20),
        "a PDF": b"%PDF-1.7\n%%EOF",
        "another image": valid_files.base("png"),
    }
    for name in ("jpeg", "png", "webp"):
        for what, tail in behind.items():
            yield File(
                f"{name} before {what}", lambda name=name, tail=tail: valid_files.base(name) + tail, "same", name
            )
        for what, head in (
            ("GIF89a", b"GIF89a"),
            ("a PDF", b"%PDF-1.7\n"),
            ("a zip", b"PK\x03\x04"),
            ("a NUL", b"\x00"),
        ):
            yield File(f"{what} before {name}", lambda name=name, head=head: head + valid_files.base(name), "bad")
    yield File("PNG's signature on a JPEG", lambda: valid_files.base("png")[:8] + valid_files.base("jpeg"), "bad")
    yield File("JPEG's marker on a PNG", lambda: b"\xff\xd8\xff" + valid_files.base("png"), "bad")
    page = b"\xff\xfe\x00\x1d<script>/*" + b"x" * 17
    yield File(
        "a page in a comment",
        lambda: valid_files.base("jpeg")[:2] + page + valid_files.base("jpeg")[2:],
        "same",
        "jpeg",
    )


def wrong_sizes() -> Iterator[File]:
    """Yield files with wrong sizes in a PNG header with a valid checksum, in a JPEG frame or in a WebP canvas."""
    sizes = (
        (0, 0),
        (0, 80),
        (120, 0),
        (1, 1),
        (119, 80),
        (121, 80),
        (120, 79),
        (120, 81),
        (80, 120),
        (16_384, 1),
        (1, 16_384),
        (16_385, 1),
        (7000, 7000),
        (65_535, 65_535),
        (2**31 - 1, 1),
        (2**31, 2**31),
        (2**32 - 1, 2**32 - 1),
    )
    for width, high in sizes:

        def png(width: int = width, high: int = high) -> bytes:
            data = valid_files.base("png")
            return file_mutations.with_valid_checksums(data[:16] + struct.pack(">II", width, high) + data[24:])

        def jpeg(width: int = width, high: int = high) -> bytes:
            data = bytearray(valid_files.base("jpeg"))
            at = data.index(b"\xff\xc0")
            data[at + 5 : at + 9] = struct.pack(">HH", high & 0xFFFF, width & 0xFFFF)
            return bytes(data)

        def webp(width: int = width, high: int = high) -> bytes:
            data = bytearray(valid_files.base("webp alpha"))
            data[24:30] = ((width - 1) & 0xFFFFFF).to_bytes(3, "little") + ((high - 1) & 0xFFFFFF).to_bytes(3, "little")
            return bytes(data)

        for name, make in (("png", png), ("jpeg", jpeg), ("webp", webp)):
            yield File(f"{name} that says {width} x {high}", make)
    for offset, values in {
        24: (0, 3, 5, 32, 255),
        25: (1, 5, 7, 255),
        26: (1, 255),
        27: (1, 255),
        28: (2, 255),
    }.items():
        for value in values:

            def header(offset: int = offset, value: int = value) -> bytes:
                data = bytearray(valid_files.base("png"))
                data[offset] = value
                return file_mutations.with_valid_checksums(bytes(data))

            yield File(f"png header, byte {offset} is {value}", header, "bad")


def just_too_large() -> Iterator[File]:
    """Yield valid files slightly above the limits. Only the size in the header shows it."""
    for name, encode in (("png", samples.png), ("jpeg", samples.jpeg), ("webp", samples.webp)):
        yield File(f"{name} of 50.4 MP", lambda encode=encode: encode(_flat(7100, 7100)), "bad")
    yield File("png of 16385 x 8", lambda: samples.png(_flat(16_385, 8)), "bad")
    yield File("jpeg of 8 x 16385", lambda: samples.jpeg(_flat(8, 16_385)), "bad")


def _flat(width: int, high: int, channels: int = 3) -> np.ndarray:
    return np.full((high, width, channels) if channels > 1 else (high, width), 180, np.uint8)


def _tiff(pixels: np.ndarray, compression: str) -> bytes:
    return samples.saved(Image.fromarray(pixels), "TIFF", compression=compression)


def all_bombs() -> Iterator[File]:
    for name, (maker, _) in bombs.REFUSED.items():
        yield File(name, maker, "bad")
    for name, harmless in bombs.HARMLESS.items():
        # Files of 20 MiB: as base64, or beside a second image, they may exceed the limit of the body.
        yield File(name, harmless, "any" if name == "jpeg stuffed bytes" else "good")


def heic_bombs() -> Iterator[File]:
    """Yield HEIC bombs, and the most expensive valid HEIC files. All are refused where the system has no decoder."""
    for name, (maker, _) in (bombs_of_heic.REFUSED | bombs_of_heic.UNDECODABLE).items():
        yield File(name, maker, "bad")
    for name, valid in bombs_of_heic.EXPANDING.items():
        yield File(name, valid, "good" if find_library() is not None else "bad")


def largest_allowed() -> Iterator[File]:
    """Yield files within every limit: flat images of the largest pixel counts and sides, in a few kilobytes."""

    yield File("png of 49 MP", lambda: samples.png(_flat(7000, 7000)), "good")
    yield File("png of 49 MP, transparent", lambda: samples.png(_flat(7000, 7000, 4)), "good")
    yield File("png of 16384 x 3000, gray", lambda: samples.png(_flat(16_384, 3000, 1)), "good")
    yield File("jpeg of 49 MP", lambda: samples.jpeg(_flat(7000, 7000)), "good")
    yield File("jpeg of 49 MP, progressive", lambda: samples.jpeg(_flat(7000, 7000), progressive=True), "good")
    yield File("jpeg of 49 MP, CMYK", lambda: samples.jpeg_cmyk(_flat(7000, 7000, 4)), "good")
    yield File("webp of 49 MP", lambda: samples.webp(_flat(7000, 7000)), "good")
    yield File("avif of 15.2 MP", lambda: samples.saved(Image.fromarray(_flat(3900, 3900)), "AVIF", speed=10), "good")
    yield File("gif of 49 MP", lambda: samples.saved(Image.fromarray(_flat(7000, 7000, 1)), "GIF"), "good")
    yield File("tiff of 49 MP, LZW", lambda: _tiff(_flat(7000, 7000), "tiff_lzw"), "good")
    yield File("tiff of 49 MP, deflate, transparent", lambda: _tiff(_flat(7000, 7000, 4), "tiff_deflate"), "good")
    yield File("webp of 49 MP, lossless", lambda: samples.webp(_flat(7000, 7000), lossless=True), "good")
