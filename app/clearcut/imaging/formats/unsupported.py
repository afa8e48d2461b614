"""Names of unsupported file types, for error messages. Remove a type here when it gets a reader."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

EXPORT = "export the image as JPEG or PNG"
FRAME = "send one frame as JPEG or PNG"
PAGE = "export the page as JPEG or PNG"
FILE = "send the image file itself"


class FileType(NamedTuple):
    """The type of an unsupported file."""

    name: str
    advice: str
    """How the caller gets a file of a supported type; empty if unknown."""


_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"II+\x00", "BigTIFF", EXPORT),
    (b"MM\x00+", "BigTIFF", EXPORT),
    (b"IIU\x00", "camera raw", EXPORT),
    (b"II\xbc\x01", "JPEG XR", EXPORT),
    (b"II\x1a\x00\x00\x00HEAPCCDR", "camera raw", EXPORT),
    (b"IIRO", "camera raw", EXPORT),
    (b"FUJIFILMCCD-RAW", "camera raw", EXPORT),
    (b"FOVb", "camera raw", EXPORT),
    (b"\x00MRM", "camera raw", EXPORT),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL", EXPORT),
    (b"\xff\x0a", "JPEG XL", EXPORT),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000", EXPORT),
    (b"\xff\x4f\xff\x51", "JPEG 2000", EXPORT),
    (b"8BPS", "Photoshop document", EXPORT),
    (b"gimp xcf", "GIMP document", EXPORT),
    (b"\x8aMNG\r\n\x1a\n", "MNG animation", EXPORT),
    (b"\x8bJNG\r\n\x1a\n", "JNG", EXPORT),
    (b"BPG\xfb", "BPG", EXPORT),
    (b"FLIF", "FLIF", EXPORT),
    (b"DDS ", "DDS texture", EXPORT),
    (b"\xabKTX ", "KTX texture", EXPORT),
    (b"SIMPLE  =", "FITS", EXPORT),
    (b"farbfeld", "farbfeld", EXPORT),
    (b"icns", "Apple icon", EXPORT),
    (b"/* XPM", "XPM", EXPORT),
    (b"\x59\xa6\x6a\x95", "Sun raster image", EXPORT),
    (b"\x01\xda", "SGI image", EXPORT),
    (b"PF\n", "PFM", EXPORT),
    (b"Pf\n", "PFM", EXPORT),
    (b"\xd7\xcd\xc6\x9a", "WMF", EXPORT),
    (b"%PDF-", "PDF", PAGE),
    (b"%!PS", "PostScript", PAGE),
    (b"\xc5\xd0\xd3\xc6", "PostScript", PAGE),
    (b"AT&TFORM", "DjVu", PAGE),
    (b"\x00\x00\x01\x00", "ICO", EXPORT),
    (b"qoif", "QOI", EXPORT),
    (b"\x76\x2f\x31\x01", "OpenEXR", EXPORT),
    (b"#?RADIANCE", "Radiance HDR", EXPORT),
    (b"#?RGBE", "Radiance HDR", EXPORT),
    (b"\x1aE\xdf\xa3", "Matroska or WebM video", FRAME),
    (b"\x00\x00\x01\xba", "MPEG video", FRAME),
    (b"\x00\x00\x01\xb3", "MPEG video", FRAME),
    (b"FLV\x01", "FLV video", FRAME),
    (b"OggS", "Ogg media", FRAME),
    (b"ID3", "MP3 audio", FILE),
    (b"fLaC", "FLAC audio", FILE),
    (b"PK\x03\x04", "ZIP archive", FILE),
    (b"PK\x05\x06", "ZIP archive", FILE),
    (b"\x1f\x8b", "gzip archive", FILE),
    (b"BZh", "bzip2 archive", FILE),
    (b"\xfd7zXZ\x00", "xz archive", FILE),
    (b"7z\xbc\xaf\x27\x1c", "7z archive", FILE),
    (b"\x28\xb5\x2f\xfd", "zstd archive", FILE),
    (b"Rar!\x1a\x07", "RAR archive", FILE),
    (b"\x7fELF", "ELF executable", FILE),
    (b"MZ", "Windows executable", FILE),
    (b"\xca\xfe\xba\xbe", "Java class or Mach-O executable", FILE),
    (b"#!", "script", FILE),
    (b"BM", "BMP with an unknown header", EXPORT),
)
_RIFF = {b"AVI ": ("AVI video", FRAME), b"WAVE": ("WAV audio", FILE), b"ACON": ("animated cursor", EXPORT)}
_BRANDS = {
    b"mif1": ("HEIF", EXPORT), b"msf1": ("HEIF", EXPORT), b"crx ": ("camera raw", EXPORT),
    b"qt  ": ("QuickTime video", FRAME),
}  # fmt: skip
_NETPBM = re.compile(rb"P([1-7])[ \t\r\n]")
_NETPBM_NAMES = {b"1": "PBM", b"2": "PGM", b"3": "PPM", b"4": "PBM", b"5": "PGM", b"6": "PPM", b"7": "PAM"}
_PCX = re.compile(rb"\x0a[\x00\x02-\x05][\x00\x01][\x01\x02\x04\x08]")
_TGA_DEPTHS = frozenset({8, 15, 16, 24, 32})
_TGA_FOOTER = b"TRUEVISION-XFILE.\x00"
_HEAD = 512
"""Number of bytes that are inspected."""


def describe(view: memoryview) -> FileType:
    """Name the type of an unsupported file by its first bytes; never raises."""
    head = bytes(view[:_HEAD])
    if not head:
        return FileType("an empty file", FILE)
    for signature, name, advice in _SIGNATURES:
        if head.startswith(signature):
            return FileType(name, advice)
    if head[:4] == b"RIFF":
        return FileType(*_RIFF.get(head[8:12], ("RIFF data", "")))
    if head[4:8] == b"ftyp":
        return FileType(*_BRANDS.get(head[8:12], ("MP4 video", FRAME)))
    if netpbm := _NETPBM.match(head):
        return FileType(_NETPBM_NAMES[netpbm[1]], EXPORT)
    if head[128:132] == b"DICM":
        return FileType("DICOM", EXPORT)
    if head[:4] == b"\x01\x00\x00\x00" and head[40:44] == b" EMF":
        return FileType("EMF", EXPORT)
    if _PCX.match(head):
        return FileType("PCX", EXPORT)
    if _is_tga(head) or bytes(view[-len(_TGA_FOOTER) :]) == _TGA_FOOTER:
        return FileType("TGA", EXPORT)
    if head[:4] == b"\x00\x00\x02\x00":
        return FileType("CUR", EXPORT)
    return FileType(*_text(head))


def _is_tga(head: bytes) -> bool:
    """Return whether the header is one of a Truevision TGA file, which has no signature (TGA 2.0)."""
    if len(head) < 18 or head[1] > 1 or head[2] not in (1, 2, 3, 9, 10, 11) or head[16] not in _TGA_DEPTHS:
        return False
    has_map = head[2] in (1, 9)
    map_is_valid = head[7] in (15, 16, 24, 32) if has_map else head[1] == 1 or not any(head[3:8])
    sides = head[12:14], head[14:16]
    return has_map == (head[1] == 1) and map_is_valid and all(any(side) for side in sides)


def _text(head: bytes) -> tuple[str, str]:
    body = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if body.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "HTML", FILE
    if b"<svg" in body:
        return "SVG", EXPORT
    if body.startswith(b"<"):
        return "XML", FILE
    if body.startswith((b"{", b"[")):
        return "JSON", FILE
    if body.startswith(b"data:"):
        return "a data: URL", FILE
    if body.startswith((b"http://", b"https://")):
        return "a URL", FILE
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # accepts a last character that is cut off
    except UnicodeDecodeError:
        return "unknown data", ""
    if all(character.isprintable() or character in "\t\r\n\f" for character in text):
        return "text", FILE
    return "unknown data", ""
