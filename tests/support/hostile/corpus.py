"""All generated inputs by family, in a fixed order. The seed is constant, so nothing is stored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from urllib.parse import quote

from clearcut.imaging.formats.heif.hevc_library import find_library
from tests.support.hostile import file_mutations, hostile_files
from tests.support.hostile.hostile_files import File
from tests.support.hostile.hostile_forms import all_forms
from tests.support.hostile.oracle import Oracle
from tests.support.hostile.valid_files import MAKERS, MORE_MAKERS, base, kind

SEED = 20_261_121
MUTATIONS, REARRANGEMENTS = 24, 8
TRUNCATIONS, MORE_MUTATIONS = 16, 24
"""Number for each valid file."""


def truncations() -> Iterator[File]:
    for name in MAKERS:
        for what, data in file_mutations.truncations(kind(name), base(name)):
            yield File(f"{name}, {what}", lambda data=data: data, "same", name)


def mutations() -> Iterator[File]:
    rng = random.Random(SEED)
    for name in MAKERS:
        for what, data in file_mutations.mutations(kind(name), base(name), rng, MUTATIONS):
            yield File(f"{name}, {what}", lambda data=data: data)


def rearrangements() -> Iterator[File]:
    rng = random.Random(SEED + 1)
    for name in MAKERS:
        for what, data in file_mutations.rearrangements(kind(name), base(name), rng, REARRANGEMENTS):
            yield File(f"{name}, {what}", lambda data=data: data)


def more_formats() -> Iterator[File]:
    """Yield the valid files of AVIF, GIF, BMP, TIFF and HEIC, cut, and with changed bytes, most of them in headers.

    HEIC files are refused where the system has no decoder.
    """
    rng = random.Random(SEED + 2)
    for name in MORE_MAKERS:
        data, refused = base(name), name.startswith("heic") and find_library() is None
        yield File(name, lambda data=data: data, "bad" if refused else "good")
        for length in sorted({rng.randrange(1, len(data)) for _ in range(TRUNCATIONS)}):
            yield File(f"{name}, cut at {length}", lambda cut=data[:length]: cut, "same", name)
        for number in range(MORE_MUTATIONS):
            changed = bytearray(data)
            for _ in range(rng.choice((1, 1, 2, 4))):
                changed[rng.randrange(min(len(data), 64 if number % 4 == 0 else 1024))] = rng.randrange(256)
            yield File(f"{name}, mutation {number}", lambda changed=bytes(changed): changed)


FILES: dict[str, Callable[[], Iterator[File]]] = {
    "whole files": lambda: (File(name, lambda name=name: base(name), "good") for name in MAKERS),
    "truncations": truncations,
    "mutations": mutations,
    "rearrangements": rearrangements,
    "wrong types": hostile_files.wrong_types,
    "AVIF, GIF, BMP, TIFF, HEIC": more_formats,
    "polyglots": hostile_files.polyglots,
    "lying sizes": hostile_files.wrong_sizes,
    "just too large": hostile_files.just_too_large,
    "bombs": hostile_files.all_bombs,
    "HEIC bombs": hostile_files.heic_bombs,
    "largest allowed": hostile_files.largest_allowed,
}
VALUES = (
    "",
    " ",
    "0",
    "-1",
    "1e9",
    "NaN",
    "inf",
    "9" * 400,
    "0x10",
    "1,5",
    "true;drop",
    "%",
    "%%%",
    "100%%",
    "px",
    "1px2px",
    "٣",
    "²",
    "½",
    "null",
    "[]",
    "{}",
    "../..",
    "\x00",
    "\r\nX-Injected: 1",
    "é" * 100,
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "a" * 9000,
    "rgb(" * 500,
    "0% " * 200,
    "#" + "f" * 3000,
    "99999px 99999px 99999px 99999px",
    "100% 0% 0% 0%",
    "10%,10%,10%,10%,10%",
)
FIELDS = {
    "/v1/remove": (
        "format",
        "channels",
        "bg_color",
        "size",
        "crop",
        "padding",
        "width",
        "height",
        "fit",
        "threshold",
        "roi",
        "scale",
        "position",
        "shadow",
        "background_type",
        "quality",
        "variants",
        "url",
        "unknown",
    ),
    "/v1.0/removebg": (
        "size",
        "type",
        "format",
        "roi",
        "crop_margin",
        "scale",
        "position",
        "shadow_opacity",
        "bg_color",
    ),
    "/api/remove": ("model", "bgc", "om", "af", "extras"),
    "/v1/segment": ("format", "channels", "bg_color", "size", "crop"),
}


def send_forms(oracle: Oracle) -> Iterator[None]:
    """Send each form to one of its routes in rotation.

    rembg's form has another name for its file. It is tested with files instead.
    """
    for number, each in enumerate(all_forms()):
        oracle.form(each, each.paths[number % len(each.paths)])
        yield


def send_options(oracle: Oracle) -> Iterator[None]:
    """Send unusual values for every dialect's fields in the query string."""
    number = 0
    for path, names in FIELDS.items():
        for name in names:
            for value in VALUES:
                number += 1
                if number % 3 == 0:  # one third of the product still covers every field and every value many times
                    oracle.options(f"{path} {name}={value[:40]!r}", path, f"{name}={quote(value)}".encode())
                    yield
    for query, outcome in (
        (b"format=png&format=jpg", "bad"),
        (b"&" * 5000, "any"),
        (b"a=b&" * 3000, "bad"),
        (b"=" * 3000, "any"),
        (b"%ff=%fe", "bad"),
        (b"format=%", "bad"),
        (b"format=%zz", "bad"),
        (b"%00=%00", "any"),
        (b"a" * 20_000, "any"),
        (b";format=jpg", "any"),
        (b"format[]=png", "any"),
        (b"format=png%00", "bad"),
        (b"width=1&height=1", "good"),
        (b"width=6000&height=6000&format=jpg", "good"),
        (b"crop=true&padding=100%25", "good"),
    ):
        oracle.options(f"query {query[:30]!r}", "/v1/remove", query, outcome)
        yield
