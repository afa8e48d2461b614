import asyncio
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearcut.errors import (
    ClientGone,
    InvalidField,
    InvalidOption,
    MalformedBody,
    MissingImage,
    TooManyBytes,
    UploadTimeout,
)
from clearcut.web.apis.poof import UPLOAD
from clearcut.web.request.body import Body
from clearcut.web.request.limits import ENVELOPE_BYTES, MAX_FIELD_BYTES, MAX_FIELDS
from clearcut.web.request.upload import parse_query, read_upload
from tests.support.upload_bodies import FORM, MAX, form, part, read


@pytest.mark.parametrize("name", ["image_file", "file", "image"])
def test_form_options_may_surround_file(name):
    got = read(form(part("size", b"small"), part(name, b"\x00\r\n--X", "a.jpg"), part("crop", b"true")))
    assert bytes(got.image) == b"\x00\r\n--X"
    assert got.fields == {"size": "small", "crop": "true"}


def test_image_part_needs_no_file_name():
    assert bytes(read(form(part("image_file", b"\xff\xd8"))).image) == b"\xff\xd8"


@pytest.mark.parametrize("text", [b"photo.jpg", b"https://example.com/a.jpg", " größe.png ".encode()])
def test_text_in_place_of_a_file_is_explained(text):
    with pytest.raises(InvalidField, match=r"'mask'. Expected: a file, not text. Did you forget @, .* -F mask=@photo"):
        read(form(part("image_file", b"\xff\xd8", "x"), part("mask", text)))


def test_empty_fields_are_absent():
    assert read(form(part("size", b""), part("crop", b"  "), part("file", b"a", "x"))).fields == {}


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", ""])
def test_raw_body_has_options_in_query(kind):
    got = read(b"abc", {"content-type": kind} if kind else {}, b"size=small&crop=")
    assert bytes(got.image) == b"abc"
    assert got.fields == {"size": "small"}


def test_option_in_form_and_query_is_refused():
    content = form(part("file", b"a", "x"), part("size", b"small"))
    assert read(content, query=b"crop=true").fields == {"size": "small", "crop": "true"}
    with pytest.raises(InvalidOption) as caught:
        read(content, query=b"size=large")
    assert caught.value.field == "size"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (form(part("size", b"small")), MissingImage),
        (form(part("photo", b"a", "a.jpg")), MissingImage),
        (form(part("image_file", b"", "a.jpg")), MissingImage),
        (b"--XX--\r\n", MissingImage),
        (form(part("image_file", b"a", "x"), part("file", b"b", "y")), MalformedBody),
        (form(part("image_file", b"a", "x"), part("image_file", b"b", "y")), MalformedBody),
        (form(part("size", b"small"), part("size", b"large"), part("file", b"a", "x")), InvalidOption),
        (form(part("size", b"\xff\xfe"), part("file", b"a", "x")), InvalidOption),
        (form(part("size", b"s" * (MAX_FIELD_BYTES + 1))), InvalidOption),
        (form(part("n" * 65, b"a")), MalformedBody),
        (form(*[part(f"f{i}", b"a") for i in range(MAX_FIELDS + 1)]), MalformedBody),
        (part("image_file", b"abc", "x"), MalformedBody),  # no closing boundary
        (b"--XX\r\n\r\nno headers\r\n--XX--\r\n", MalformedBody),
        (b"--YY\r\nContent-Disposition: form-data; name=file\r\n\r\na\r\n--YY--\r\n", MalformedBody),
        (b"not multipart at all", MalformedBody),
        (b"", MalformedBody),
    ],
)
def test_invalid_form_is_refused(content, error):
    with pytest.raises(error):
        read(content)


def test_missing_image_names_field_of_unknown_file():
    with pytest.raises(MissingImage, match="'photo'"):
        read(form(part("photo", b"a", "a.jpg")))


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_unsupported_content_type_gets_hint(kind):
    with pytest.raises(MissingImage, match=kind) as caught:
        read(b"{}", {"content-type": kind})
    assert "image_file" in caught.value.details


URL = "https://example.com/a.jpg"


@pytest.mark.parametrize("name", ["url", "image_url", "bg_image_url"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_url_in_text_body_names_setting(kind, name):
    content = json.dumps({name: URL}) if kind.endswith("json") else urlencode({name: URL})
    with pytest.raises(InvalidField) as caught:
        read(content.encode(), {"content-type": kind})
    assert caught.value.details == (
        f"Invalid value for '{name}'. Expected: no value, because URLs are disabled on this server. Send the file, "
        "or set CLEARCUT_FETCH=true on the server"
    )


@pytest.mark.parametrize(
    "content", ["[]", '{"image_url": ', '{"size": "small"}', json.dumps({"image_url": URL, "x": "a" * MAX})]
)
def test_other_json_body_gets_hint(content):
    with pytest.raises(MissingImage, match="Unsupported request Content-Type: application/json"):
        read(content.encode(), {"content-type": "application/json"})


def test_multipart_needs_boundary():
    with pytest.raises(MalformedBody, match="boundary"):
        read(b"x", {"content-type": "multipart/form-data"})


@pytest.mark.parametrize(("kind", "allowance"), [("image/png", 0), (FORM["content-type"], ENVELOPE_BYTES)])
def test_declared_length_is_refused_unread(kind, allowance):
    async def receive():
        pytest.fail("the body was read")

    headers = {"content-type": kind, "content-length": str(MAX + allowance + 1)}
    body = Body(receive, 1.0, lambda: 1.0)
    with pytest.raises(TooManyBytes, match="Maximum file size"):
        asyncio.run(read_upload(headers, b"", body, MAX, UPLOAD))


@pytest.mark.parametrize("headers", [FORM, {"content-type": "image/png"}])
def test_long_body_is_refused_while_it_arrives(headers):
    taken = 0

    async def receive():
        nonlocal taken
        taken += 1
        first = part("file", b"", "x")[:-2] if headers is FORM and taken == 1 else b""
        return {"type": "http.request", "body": first + b"a" * 10_000, "more_body": True}

    with pytest.raises(TooManyBytes):
        asyncio.run(read_upload(headers, b"", Body(receive, 1.0, lambda: 1.0), MAX, UPLOAD))
    assert taken <= (MAX + ENVELOPE_BYTES) // 10_000 + 1


def test_unknown_file_is_counted_and_dropped():
    got = read(form(part("other", b"x" * 50_000, "b.bin"), part("file", b"a", "x")))
    assert bytes(got.image) == b"a"
    assert got.fields == {}


def test_disconnect_during_upload():
    with pytest.raises(ClientGone):
        read(part("file", b"abc", "x"), end=False)


def test_stalled_body_times_out():
    async def receive():
        await asyncio.Event().wait()

    with pytest.raises(UploadTimeout):
        asyncio.run(read_upload({"content-type": "image/png"}, b"", Body(receive, 0.01, lambda: 1.0), MAX, UPLOAD))


def test_slow_body_times_out_at_deadline():
    async def receive():
        return {"type": "http.request", "body": b"a", "more_body": True}

    left = iter([1.0, 1.0, -0.5])
    with pytest.raises(UploadTimeout):
        asyncio.run(read_upload({"content-type": "image/png"}, b"", Body(receive, 5, lambda: next(left)), MAX, UPLOAD))


@pytest.mark.parametrize(
    "query", [b"size=%ff%fe", b"a=1&" * 65 + b"a=1", "größe=1".encode("latin-1"), b"size=a&size=b"]
)
def test_invalid_query_is_refused(query):
    with pytest.raises((MalformedBody, InvalidOption)):
        parse_query(query)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(min_size=1, max_size=300), step=st.integers(1, 40))
def test_chunk_boundaries_do_not_matter(content, step):
    whole = form(part("size", b"small"), part("file", content, "x"), part("crop", b"true"))
    if b"\r\n--XX" in b"\r\n" + content:
        return
    got = read(whole, step=step)
    assert bytes(got.image) == content
    assert got.fields == {"size": "small", "crop": "true"}
