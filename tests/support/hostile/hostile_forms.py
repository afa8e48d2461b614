"""Forms that no browser sends: thousands of parts, parts without headers, nested, duplicated, truncated or changed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.support import samples

BOUNDARY = b"hostile-4c2e"
KIND = f"multipart/form-data; boundary={BOUNDARY.decode()}"
IMAGE = samples.png(samples.photo("coffee", 48, 32))


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    body: bytes
    filename: str | None = None

    def head(self) -> bytes:
        file = "" if self.filename is None else f'; filename="{self.filename}"'
        return f'Content-Disposition: form-data; name="{self.name}"{file}'.encode()


@dataclass(frozen=True, slots=True)
class Form:
    what: str
    body: bytes
    kind: str = KIND
    outcome: str = "any"
    """Expected outcome: ``good`` must be served, ``bad`` must be refused, ``any`` allows both."""
    paths: tuple[str, ...] = ("/v1/remove", "/v1.0/removebg", "/v1/segment")
    """Routes that may receive the form. Forms about one dialect's fields go only to that dialect."""


def form(parts: Sequence[Part | bytes], boundary: bytes = BOUNDARY, end: bool = True, line: bytes = b"\r\n") -> bytes:
    """Return a form. A part given as ``bytes`` is used unchanged, including its header."""
    out = bytearray()
    for part in parts:
        complete = part if isinstance(part, bytes) else part.head() + line * 2 + part.body
        out += b"--" + boundary + line + complete + line
    return bytes(out + (b"--" + boundary + b"--" + line if end else b""))


POOF = ("/v1/remove",)
FILE = Part("image_file", IMAGE, "photo")


def all_forms(seed: int = 5) -> Iterator[Form]:
    yield from _floods()
    yield from _boundaries()
    yield from _parts()
    yield from _fields()
    yield from _cuts()
    yield from _changes(random.Random(seed), 150)


def _floods() -> Iterator[Form]:
    for count in (65, 1000, 10_000):
        yield Form(f"{count} text parts", form([*(Part(f"f{n}", b"x") for n in range(count)), FILE]), outcome="bad")
        yield Form(f"{count} files", form([Part("image_file", IMAGE, "a")] * count), outcome="bad")
        yield Form(f"{count} other files", form([FILE, *[Part("other", b"x", "a")] * count]), outcome="bad")
        yield Form(f"{count} parts without a head", form([b""] * count), outcome="bad")
    yield Form("100,000 boundaries in a row", (b"--" + BOUNDARY + b"\r\n") * 100_000, outcome="bad")
    yield Form("60 text parts of 8 KiB", form([*(Part(f"f{n}", b"x" * 8192) for n in range(60)), FILE]))
    yield Form("preamble of 1 MB", b"p" * 1_000_000 + b"\r\n" + form([FILE]))
    yield Form("epilogue of 1 MB", form([FILE]) + b"e" * 1_000_000)
    yield Form("dashes by the million", b"-" * 1_000_000, outcome="bad")
    yield Form("line ends by the million", b"\r\n" * 500_000, outcome="bad")
    near = BOUNDARY[:-1] + b"X"
    yield Form(
        "almost the boundary, 50,000 times", form([Part("image_file", (b"\r\n--" + near) * 50_000, "a")]), outcome="bad"
    )


def _boundaries() -> Iterator[Form]:
    body = form([FILE])
    base = "multipart/form-data"
    for what, kind, outcome in (
        ("no boundary", base, "bad"),
        ("empty boundary", f"{base}; boundary=", "bad"),
        ("another boundary", f"{base}; boundary=other", "bad"),
        ("quoted boundary", f'{base}; boundary="{BOUNDARY.decode()}"', "good"),
        ("half-quoted boundary", f'{base}; boundary="{BOUNDARY.decode()}', "any"),
        ("boundary twice", f"{base}; boundary=a; boundary={BOUNDARY.decode()}", "any"),
        ("boundary of 71", f"{base}; boundary={'b' * 71}", "bad"),
        ("boundary of 8,000", f"{base}; boundary={'b' * 8000}", "bad"),
        ("boundary with spaces", f'{base}; boundary="a b c"', "bad"),
        ("capitals", f"MULTIPART/FORM-DATA; BOUNDARY={BOUNDARY.decode()}", "any"),
        ("many parameters", base + "; a=b" * 500 + f"; boundary={BOUNDARY.decode()}", "any"),
        ("a form that says mixed", f"multipart/mixed; boundary={BOUNDARY.decode()}", "bad"),
        ("a form that says related", f"multipart/related; boundary={BOUNDARY.decode()}", "bad"),
        ("a form that says JSON", "application/json", "bad"),
        ("a form that says urlencoded", "application/x-www-form-urlencoded", "bad"),
        ("a form that says XML", "text/xml", "bad"),
        ("a form declared as an image", "image/png", "bad"),
        ("a type of commas", ",,,;;;===", "bad"),
        ("RFC 2231 boundary", f"{base}; boundary*=utf-8''{BOUNDARY.decode()}", "any"),
        (
            "continued boundary",
            f"{base}; boundary*0={BOUNDARY.decode()[:4]}; boundary*1={BOUNDARY.decode()[4:]}",
            "any",
        ),
    ):
        yield Form(what, body, kind, outcome)
    for what, line in (("line feeds", b"\n"), ("carriage returns", b"\r"), ("doubled ends", b"\r\r\n")):
        yield Form(f"{what} alone", form([FILE], line=line))
    yield Form("no final boundary", form([FILE], end=False), outcome="bad")
    yield Form("half a final boundary", form([FILE])[:-3])
    yield Form("only a final boundary", b"--" + BOUNDARY + b"--\r\n", outcome="bad")
    yield Form("final boundary first", b"--" + BOUNDARY + b"--\r\n" + form([FILE]), outcome="bad")
    yield Form("spaces behind the boundary", form([FILE]).replace(BOUNDARY + b"\r\n", BOUNDARY + b" \t \r\n"))
    yield Form("empty", b"", outcome="bad")


def _parts() -> Iterator[Form]:
    head = FILE.head()
    inner = b"inner-91"
    nested = form([Part("image_file", IMAGE, "a")], inner)
    for what, part, outcome in (
        ("no head at all", b"\r\n\r\n" + IMAGE, "bad"),
        ("no blank line", head + b"\r\n" + IMAGE, "any"),
        ("no name", b'Content-Disposition: form-data; filename="a"\r\n\r\n' + IMAGE, "bad"),
        ("empty name", b'Content-Disposition: form-data; name=""; filename="a"\r\n\r\n' + IMAGE, "bad"),
        ("attachment", b'Content-Disposition: attachment; name="image_file"\r\n\r\n' + IMAGE, "bad"),
        ("a type and no disposition", b"Content-Type: image/png\r\n\r\n" + IMAGE, "bad"),
        ("disposition twice", head + b"\r\n" + head + b"\r\n\r\n" + IMAGE, "any"),
        ("name of 65", Part("n" * 65, b"x").head() + b"\r\n\r\nx", "bad"),
        ("name of 100,000", Part("n" * 100_000, b"x").head() + b"\r\n\r\nx", "bad"),
        ("name of 1,000,000", Part("n" * 1_000_000, b"x").head() + b"\r\n\r\nx", "bad"),
        ("name not UTF-8", b'Content-Disposition: form-data; name="\xff\xfe"\r\n\r\nx', "bad"),
        ("head of 1 MB", head + b"\r\nX-A: " + b"a" * 1_000_000 + b"\r\n\r\n" + IMAGE, "bad"),
        ("10,000 heads", head + b"\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n" + IMAGE, "bad"),
        ("a head without a colon", head + b"\r\nnonsense\r\n\r\n" + IMAGE, "any"),
        ("a folded head", head.replace(b"; name", b";\r\n name") + b"\r\n\r\n" + IMAGE, "any"),
        ("NUL in the head", head.replace(b"photo", b"a\x00b") + b"\r\n\r\n" + IMAGE, "any"),
        ("base64 transfer", head + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + IMAGE, "any"),
        ("filename that climbs", head.replace(b"photo", b"../../../../etc/passwd") + b"\r\n\r\n" + IMAGE, "good"),
        ("filename in RFC 5987", head + b"; filename*=utf-8''%e2%82%ac%00\r\n\r\n" + IMAGE, "any"),
        ("filename of 20,000", head.replace(b"photo", b"p" * 20_000) + b"\r\n\r\n" + IMAGE, "any"),
        ("nested form", b"Content-Type: multipart/mixed; boundary=inner-91\r\n" + head + b"\r\n\r\n" + nested, "bad"),
        ("nested without a name", b"Content-Type: multipart/mixed; boundary=inner-91\r\n\r\n" + nested, "bad"),
        ("empty file", head + b"\r\n\r\n", "bad"),
        ("file without a filename", b'Content-Disposition: form-data; name="image_file"\r\n\r\n' + IMAGE, "good"),
    ):
        yield Form(what, form([part]), outcome=outcome)
    deep = form([FILE], b"b0")
    for level in range(1, 40):
        head = b'Content-Disposition: form-data; name="n"; filename="n"\r\nContent-Type: multipart/mixed; boundary=b'
        deep = form([head + str(level - 1).encode() + b"\r\n\r\n" + deep], b"b%d" % level)
    yield Form("nested 40 deep", deep, "multipart/form-data; boundary=b39", "bad")


def _fields() -> Iterator[Form]:
    options = [Part("format", b"webp"), Part("size", b"small"), Part("channels", b"rgba")]
    for number, order in enumerate(itertools.permutations([*options, FILE])):
        yield Form(f"fields in order {number}", form(order), outcome="good", paths=POOF)
    for name in ("format", "size", "channels", "bg_color", "width", "crop", "unknown"):
        yield Form(f"'{name}' twice", form([Part(name, b"1"), Part(name, b"1"), FILE]), outcome="bad", paths=POOF)
    for names in itertools.product(("image_file", "file", "image"), repeat=2):
        yield Form(
            f"{' and '.join(names)}", form([Part(name, IMAGE, "a") for name in names]), outcome="bad", paths=POOF
        )
    for what, value in (
        ("NUL", b"p\x00ng"), ("not UTF-8", b"\xff\xfe"), ("8 KiB", b"x" * 8192), ("more than 8 KiB", b"x" * 8193),
        ("a boundary", b"--" + BOUNDARY), ("line ends", b"png\r\n\r\n"), ("a right-to-left mark", "png\u202e".encode()),
        ("a million digits", b"9" * 8000), ("an image", IMAGE),
    ):  # fmt: skip
        for name in ("format", "width", "bg_color", "padding", "variants"):
            yield Form(f"'{name}' is {what}", form([Part(name, value), FILE]), paths=POOF)
    deep = b"[" * 4000 + b"]" * 4000
    for what, value in (
        ("deep", deep), ("no list", b"{}"), ("empty", b"[]"), ("17", b"[" + b"{}," * 16 + b"{}]"), ("no JSON", b"[{]"),
        ("numbers", b"[1,2]"), ("infinite", b'[{"threshold":1e999}]'), ("NaN", b'[{"threshold":NaN}]'),
        ("nested", b'[{"variants":[{}]}]'), ("keys twice", b'[{"size":"full","size":"no"}]'),
        ("a huge number", b'[{"width":' + b"9" * 4400 + b"}]"), ("a lone surrogate", b'[{"size":"\\ud800"}]'),
    ):  # fmt: skip
        yield Form(f"variants: {what}", form([Part("variants", value), FILE]), outcome="bad", paths=POOF)


def _cuts() -> Iterator[Form]:
    complete = form([Part("format", b"png"), FILE, Part("size", b"full")])
    at, places = 0, set()
    while (at := complete.find(b"\r\n", at)) >= 0:
        places |= {at, at + 1, at + 2}
        at += 2
    for place in sorted(place for place in places if place < len(complete) - 2):
        yield Form(f"cut at {place}", complete[:place], outcome="bad")


def _changes(rng: random.Random, count: int) -> Iterator[Form]:
    complete = form([Part("format", b"png"), Part("bg_color", b"red"), FILE])
    heads = [n for n in range(len(complete)) if n < complete.index(IMAGE) or n >= complete.index(IMAGE) + len(IMAGE)]
    for number in range(count):
        changed = bytearray(complete)
        for at in rng.sample(heads, rng.choice((1, 1, 2, 4))):
            changed[at] = rng.choice((0, 0x0A, 0x0D, 0x20, 0x22, 0x2D, 0x3A, 0x3B, 0xFF, rng.randrange(256)))
        yield Form(f"change {number}", bytes(changed))
