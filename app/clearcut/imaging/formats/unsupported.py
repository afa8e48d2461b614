"""Names of unsupported file types, for error messages. Remove a type here when it gets a reader."""

from __future__ import annotations

import codecs

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"II+\x00", "BigTIFF"),
    (b"MM\x00+", "BigTIFF"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"IIRO", "camera raw"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop document"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x02\x00", "CUR"),
    (b"qoif", "QOI"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM video"),
    (b"\x00\x00\x01\xba", "MPEG video"),
    (b"\x00\x00\x01\xb3", "MPEG video"),
    (b"FLV\x01", "FLV video"),
    (b"OggS", "Ogg media"),
    (b"ID3", "MP3 audio"),
    (b"fLaC", "FLAC audio"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"PK\x05\x06", "ZIP archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ\x00", "xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"),
    (b"Rar!\x1a\x07", "RAR archive"),
    (b"\x7fELF", "ELF executable"),
    (b"MZ", "Windows executable"),
    (b"\xca\xfe\xba\xbe", "Java class or Mach-O executable"),
    (b"#!", "script"),
    (b"BM", "BMP with an unknown header"),
)
_RIFF = {b"AVI ": "AVI video", b"WAVE": "WAV audio", b"ACON": "animated cursor"}
_BRANDS = {
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"crx ": "camera raw",
    b"qt  ": "QuickTime video",
}
_HEAD = 512
"""Number of bytes that are inspected."""


def describe(view: memoryview) -> str:
    """Name the type of an unsupported file by its first bytes; never raises."""
    head = bytes(view[:_HEAD])
    if not head:
        return "an empty file"
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], "RIFF data")
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "MP4 video")
    return _text(head)


def _text(head: bytes) -> str:
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if body.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "HTML"
    if b"<svg" in body:
        return "SVG"
    if body.startswith(b"<"):
        return "XML"
    if body.startswith((b"{", b"[")):
        return "JSON"
    if body.startswith(b"data:"):
        return "a data: URL"
    if body.startswith((b"http://", b"https://")):
        return "a URL"
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # accepts a last character that is cut off
    except UnicodeDecodeError:
        return "unknown data"
    return "text" if all(character.isprintable() or character in "\t\r\n\f" for character in text) else "unknown data"
