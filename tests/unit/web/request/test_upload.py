import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearcut.errors import ClientGone, InvalidOption, MalformedBody, MissingImage, TooManyBytes, UploadTimeout
from clearcut.web.apis.poof import UPLOAD
from clearcut.web.request.body import Body
from clearcut.web.request.limits import ENVELOPE_BYTES, MAX_FIELD_BYTES, MAX_FIELDS
from clearcut.web.request.upload import parse_query, read_upload
from tests.support.upload_bodies import FORM, MAX, form, part, read


@pytest.mark.parametrize("name", ["image_file", "file", "image"])
def test_form_with_options_on_either_side_of_the_file(name):
    got = read(form(part("size", b"small"), part(name, b"\x00\r\n--X", "a.jpg"), part("crop", b"true")))
    assert bytes(got.image) == b"\x00\r\n--X"
    assert got.fields == {"size": "small", "crop": "true"}


def test_the_image_needs_no_file_name():
    assert bytes(read(form(part("image_file", b"abc"))).image) == b"abc"


def test_empty_fields_are_absent():
    assert read(form(part("size", b""), part("crop", b"  "), part("file", b"a", "x"))).fields == {}


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", ""])
def test_raw_body_takes_its_options_from_the_query(kind):
    got = read(b"abc", {"content-type": kind} if kind else {}, b"size=small&crop=")
    assert bytes(got.image) == b"abc"
    assert got.fields == {"size": "small"}


def test_form_takes_options_from_the_query_too_but_not_twice():
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
def test_what_a_form_is_refused_for(content, error):
    with pytest.raises(error):
        read(content)


def test_the_hint_names_the_field_that_the_file_came_in():
    with pytest.raises(MissingImage, match="'photo'"):
        read(form(part("photo", b"a", "a.jpg")))


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_other_content_types_are_told_what_to_send(kind):
    with pytest.raises(MissingImage, match=kind) as caught:
        read(b"{}", {"content-type": kind})
    assert "image_file" in caught.value.details


def test_a_boundary_is_needed():
    with pytest.raises(MalformedBody, match="boundary"):
        read(b"x", {"content-type": "multipart/form-data"})


@pytest.mark.parametrize(("kind", "allowance"), [("image/png", 0), (FORM["content-type"], ENVELOPE_BYTES)])
def test_too_long_by_its_own_word_is_refused_unread(kind, allowance):
    async def receive():
        pytest.fail("the body was read")

    headers = {"content-type": kind, "content-length": str(MAX + allowance + 1)}
    body = Body(receive, 1.0, lambda: 1.0)
    with pytest.raises(TooManyBytes, match="Maximum file size"):
        asyncio.run(read_upload(headers, b"", body, MAX, UPLOAD))


@pytest.mark.parametrize("headers", [FORM, {"content-type": "image/png"}])
def test_too_long_is_refused_while_it_arrives(headers):
    taken = 0

    async def receive():
        nonlocal taken
        taken += 1
        first = part("file", b"", "x")[:-2] if headers is FORM and taken == 1 else b""
        return {"type": "http.request", "body": first + b"a" * 10_000, "more_body": True}

    with pytest.raises(TooManyBytes):
        asyncio.run(read_upload(headers, b"", Body(receive, 1.0, lambda: 1.0), MAX, UPLOAD))
    assert taken <= (MAX + ENVELOPE_BYTES) // 10_000 + 1


def test_a_file_in_an_unknown_field_is_counted_and_not_kept():
    got = read(form(part("other", b"x" * 50_000, "b.bin"), part("file", b"a", "x")))
    assert bytes(got.image) == b"a"
    assert got.fields == {}


def test_a_body_that_ends_in_a_disconnect():
    with pytest.raises(ClientGone):
        read(part("file", b"abc", "x"), end=False)


def test_a_body_that_stalls():
    async def receive():
        await asyncio.Event().wait()

    with pytest.raises(UploadTimeout):
        asyncio.run(read_upload({"content-type": "image/png"}, b"", Body(receive, 0.01, lambda: 1.0), MAX, UPLOAD))


def test_a_body_that_trickles_past_the_deadline():
    async def receive():
        return {"type": "http.request", "body": b"a", "more_body": True}

    left = iter([1.0, 1.0, -0.5])
    with pytest.raises(UploadTimeout):
        asyncio.run(read_upload({"content-type": "image/png"}, b"", Body(receive, 5, lambda: next(left)), MAX, UPLOAD))


@pytest.mark.parametrize(
    "query", [b"size=%ff%fe", b"a=1&" * 65 + b"a=1", "größe=1".encode("latin-1"), b"size=a&size=b"]
)
def test_odd_queries_are_refused(query):
    with pytest.raises((MalformedBody, InvalidOption)):
        parse_query(query)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(min_size=1, max_size=300), step=st.integers(1, 40))
def test_the_way_a_body_is_cut_into_chunks_does_not_matter(content, step):
    whole = form(part("size", b"small"), part("file", content, "x"), part("crop", b"true"))
    if b"\r\n--XX" in b"\r\n" + content:
        return
    got = read(whole, step=step)
    assert bytes(got.image) == content
    assert got.fields == {"size": "small", "crop": "true"}
