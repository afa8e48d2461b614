"""Irregular requests that other servers accept: preambles, empty file parts, unusual base64 and Accept headers."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from urllib.parse import quote

import numpy as np
import pytest

from clearcut.errors import InvalidField, MalformedBody, MissingImage, MultipleImages, TooManyBytes
from clearcut.web.apis.poof import UPLOAD
from clearcut.web.apis.removebg import UPLOAD as REMOVEBG
from clearcut.web.request.header_params import accepts
from clearcut.web.request.text_bodies import base64_file, json_fields, urlencoded_fields
from tests.support import samples
from tests.support.upload_bodies import MAX, form, part, read

FILE = part("image_file", b"abc", "a.jpg")
PREAMBLES = [
    b"\r\n", b"\n", b"This is a multi-part message in MIME format.\r\n", b"first line\r\nsecond line\r\n",
    b"--\r\n", b"--X\r\n", b"text with --XX inside\r\n", b"\r\n\r\n\r\n", b"x" * 5000 + b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("preamble", PREAMBLES)
@pytest.mark.parametrize("step", [1, 3, 7, 100_000])
def test_preamble_is_ignored(preamble: bytes, step: int) -> None:
    got = read(preamble + form(FILE, part("size", b"small")), step=step)
    assert bytes(got.image) == b"abc"
    assert got.fields == {"size": "small"}


@pytest.mark.parametrize("body", [b"", b"\r\n", b"--", b"no boundary at all", b"text --XX\r\n", b"x" * 9000])
def test_body_without_delimiter_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody, match=r"boundary"):
        read(body)


@pytest.mark.parametrize("empty", ["image_file", "file", "image"])
@pytest.mark.parametrize("filled", ["image_file", "file", "image"])
@pytest.mark.parametrize("filename", ["", "a.jpg"])
def test_empty_file_beside_a_filled_one_is_absent(empty: str, filled: str, filename: str) -> None:
    blank, full = part(empty, b"", filename), part(filled, b"abc", "b.jpg")
    for parts in ((blank, full), (full, blank), (blank, full, blank), (blank, blank, full)):
        got = read(form(*parts))
        assert bytes(got.image) == b"abc"
        assert got.field_names["image"] == filled


def test_second_filled_file_is_refused_at_its_first_byte() -> None:
    full = part("image_file", b"abc", "a.jpg")
    for other in ("image_file", "file", "image"):
        with pytest.raises(MultipleImages):
            read(form(full, part(other, b"", "x"), part(other, b"d", "b.jpg")), step=2)


def test_empty_background_is_absent() -> None:
    got = read(form(FILE, part("bg_image", b"", ""), part("bg_image_file", b"xyz", "b.png")))
    assert bytes(got.files["background"]) == b"xyz"
    assert "background" not in read(form(FILE, part("bg_image", b"", ""))).files


DATA = bytes(range(256)) + b"\xfb\xff\xbf"
TEXTS = {
    "standard": base64.b64encode(DATA),
    "url-safe": base64.urlsafe_b64encode(DATA),
    "unpadded": base64.b64encode(DATA[:-1]).rstrip(b"="),
    "url-safe, unpadded": base64.urlsafe_b64encode(DATA[:-2]).rstrip(b"="),
    "both alphabets": base64.b64encode(DATA).replace(b"+", b"-", 1),
    "line ends": base64.encodebytes(DATA),
    "indented": b"  " + base64.b64encode(DATA).replace(b"A", b"A \t\r\n "),
    "data URL": b"data:image/png;base64," + base64.urlsafe_b64encode(DATA),
}


@pytest.mark.parametrize("name", TEXTS)
def test_base64_in_any_spelling(name: str) -> None:
    assert DATA.startswith(bytes(base64_file("image_file_b64", bytearray(TEXTS[name]), 1000)))
    assert len(base64_file("image_file_b64", TEXTS[name].decode(), 1000)) >= len(DATA) - 2


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=A", "=AAA", "AA*A", "AAA=AAAA", "AAÄA", "AA=", "AAA\x00"])
def test_invalid_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="base64"):
        base64_file("image_file_b64", text, 1000)


def test_base64_of_random_files_round_trips() -> None:
    rng = random.Random(1)
    for _ in range(200):
        data = rng.randbytes(rng.randrange(1, 60))
        text = rng.choice((base64.b64encode, base64.urlsafe_b64encode))(data)
        text = text.rstrip(b"=") if rng.random() < 0.5 else text
        assert bytes(base64_file("f", bytearray(text), 100)) == data


def test_base64_limit_counts_decoded_bytes() -> None:
    with pytest.raises(TooManyBytes):
        base64_file("f", base64.urlsafe_b64encode(bytes(101)).rstrip(b"=").decode(), 100)


@pytest.mark.parametrize("escape", [lambda text: text, quote, lambda text: quote(text, safe="")])
def test_urlencoded_base64_may_have_unescaped_plus_signs(escape: object) -> None:
    text = base64.b64encode(b"\xfb\xef\xbe" * 9).decode()
    assert "+" in text
    body = bytearray(f"image_file_b64={escape(text)}&size=full+size".encode())  # type: ignore[operator]
    fields = urlencoded_fields(body, REMOVEBG.base64_fields)
    assert bytes(base64_file("image_file_b64", fields["image_file_b64"], 100)) == b"\xfb\xef\xbe" * 9
    assert fields["size"] == "full size"


def test_url_safe_base64_in_json() -> None:
    fields = json_fields(bytearray(b'{"image_file_b64": "-_-_"}'), REMOVEBG.base64_fields)
    assert bytes(base64_file("image_file_b64", fields["image_file_b64"], 100)) == b"\xfb\xff\xbf"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", True),
        ("APPLICATION/JSON", True),
        ("Application/Json; charset=utf-8", True),
        ("text/plain, application/JSON;q=0.9", True),
        ("image/png,application/json;q=0", False),
        ("application/json; q=0.000", False),
        ("application/json-seq", False),
        ("*/*", False),
        ("image/png", False),
        ("", False),
    ],
)
def test_accept_header_is_parsed(accept: str, expected: bool) -> None:
    assert accepts(accept, "application/json") is expected


def test_schema_has_the_aliases_that_the_tests_use() -> None:
    assert set(UPLOAD.file_fields) >= {"image_file", "file", "image", "bg_image", "bg_image_file"}


@pytest.mark.parametrize(
    "kind", ["binary/octet-stream", "application/binary", "Application/Octet-Stream; charset=UTF-8"]
)
def test_types_of_unknown_content_are_raw_bodies(kind: str) -> None:
    assert bytes(read(b"abc", {"content-type": kind}, b"size=small").image) == b"abc"


@pytest.mark.parametrize("make", [samples.jpeg, samples.png, samples.webp])
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8"]
)
def test_image_declared_as_urlencoded_form_is_read(make: Callable[[np.ndarray], bytes], kind: str) -> None:
    """``curl --data-binary @photo.jpg`` declares this type."""
    image = make(samples.corners())
    got = read(image, {"content-type": kind}, b"size=small")
    assert bytes(got.image) == image
    assert got.fields == {"size": "small"}


def test_large_image_declared_as_urlencoded_form_is_refused() -> None:
    image = samples.png(samples.corners()) + bytes(MAX)
    with pytest.raises(TooManyBytes):
        read(image, {"content-type": "application/x-www-form-urlencoded"})


def test_percent_encoded_data_url_is_decoded() -> None:
    text = "data:image/png;base64," + quote(base64.b64encode(DATA).decode(), safe="")
    assert "%2F" in text
    assert bytes(base64_file("image_file_b64", text, 1000)) == DATA


LINES = b'--XX\nContent-Disposition: form-data; name="image_file"; filename="a.jpg"\nContent-Type: image/jpeg\n\n'
OPTION = b'\n--XX\nContent-Disposition: form-data; name="size"\n\nsmall\n--XX--\n'


@pytest.mark.parametrize("step", [1, 2, 5, 13, 100_000])
@pytest.mark.parametrize("preamble", [b"", b"\n", b"text\n", b"text\r\n"])
@pytest.mark.parametrize(
    "data",
    [b"abc", b"\n", b"\r\n", b"\n\n", b"a\nb\r\nc\n\nd", b"x\n--X", b"x\r", b"\n--XY\n\n", bytes(range(256)) * 9],
)
def test_line_feeds_without_cr_are_accepted(data: bytes, preamble: bytes, step: int) -> None:
    got = read(preamble + LINES + data + OPTION, step=step)
    assert bytes(got.image) == data
    assert got.fields == {"size": "small"}


@pytest.mark.parametrize("end", [b"", b"\n", b"\n--X", b"\n--XX", b"\n--XX\n"])
def test_truncated_form_with_line_feeds_is_refused(end: bytes) -> None:
    with pytest.raises(MalformedBody):
        read(LINES + b"abc" + end)


def test_form_with_line_feeds_keeps_its_limits() -> None:
    with pytest.raises(TooManyBytes):
        read(LINES + bytes(MAX + 1) + OPTION)
    with pytest.raises(MalformedBody):
        read(b"--XX\nA: " + b"x" * 40_000 + b"\n\nabc" + OPTION)
    with pytest.raises(MalformedBody):
        read((LINES + OPTION)[:-7] + b"\n--XX\nContent-Disposition: form-data; name=a\n\n" * 100)


@pytest.mark.parametrize("name", ["image_file[]", "file[]", "image[]"])
def test_list_names_are_accepted(name: str) -> None:
    got = read(form(part(name, b"abc", "a.jpg")))
    assert bytes(got.image) == b"abc"
    assert got.field_names["image"] == name[:-2]
    with pytest.raises(MultipleImages):
        read(form(part(name, b"abc", "a.jpg"), part(name, b"def", "b.jpg")))


@pytest.mark.parametrize("name", ["image_file[0]", "[]", "image_file[][]", "other[]"])
def test_other_names_with_brackets_are_unknown(name: str) -> None:
    got = read(form(FILE, part(name, b"abc", "a.jpg")))
    assert got.unknown_files == [name]


@pytest.mark.parametrize("quote_mark", [b'"', b"'"])
@pytest.mark.parametrize("prefix", [b"", b"data:image/png;base64,"])
def test_quotes_around_base64_are_ignored(quote_mark: bytes, prefix: bytes) -> None:
    text = quote_mark + prefix + base64.b64encode(DATA) + quote_mark
    assert bytes(base64_file("image_file_b64", text.decode(), MAX)) == DATA
    fields = urlencoded_fields(bytearray(b"image_file_b64=" + quote(text, safe="").encode()), {"image_file_b64"})
    assert bytes(base64_file("image_file_b64", fields["image_file_b64"], MAX)) == DATA


@pytest.mark.parametrize("text", ['"AAAA', "AAAA'", "\"AAAA'", 'AA"AA', '"', '""AAAA""'])
def test_unpaired_quotes_are_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="base64"):
        base64_file("image_file_b64", text, MAX)


@pytest.mark.parametrize("name", [";" * 200, "a;b;" * 60 + '\\"' + ";" * 99])
def test_file_names_with_many_semicolons_are_accepted(name: str) -> None:
    assert bytes(read(form(part("image_file", b"abc", name))).image) == b"abc"


@pytest.mark.parametrize("make", [samples.jpeg, samples.png])
def test_body_of_curl_data_names_the_right_flags(make: Callable[[np.ndarray], bytes]) -> None:
    """``curl -d @FILE`` removes NUL bytes and line ends, and declares an urlencoded form."""
    damaged = make(samples.photo("astronaut", 64, 64)).translate(None, b"\0\r\n")
    with pytest.raises(MissingImage, match=r"-F image_file=@photo.jpg, or curl --data-binary"):
        read(damaged, {"content-type": "application/x-www-form-urlencoded"})


def test_form_with_unescaped_utf8_is_read() -> None:
    """``curl -d text=Größe`` sends the bytes as they are, without line ends."""
    body = b"image_file_b64=" + base64.b64encode(DATA).replace(b"+", b"%2B") + "&text=Größe".encode()
    got = read(body, {"content-type": "application/x-www-form-urlencoded"}, schema=REMOVEBG)
    assert bytes(got.image) == DATA
    assert got.fields == {"text": "Größe"}
