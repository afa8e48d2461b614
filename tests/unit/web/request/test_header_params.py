import asyncio
from types import SimpleNamespace

import pytest

from clearcut.errors import MalformedBody
from clearcut.web.apis import removedo
from clearcut.web.request import json_body
from tests.support.upload_bodies import FORM, form, part, read

LONG = "multipart/form-data; boundary=XX" + "; a=b" * 6000
MANY = "multipart/form-data; boundary=XX" + ";" * 900


@pytest.mark.parametrize("kind", [LONG, MANY, "image/png" + " " * 2000, "application/json;" + "x" * 1100])
def test_content_type_beyond_limits_is_refused(kind):
    with pytest.raises(MalformedBody, match="Content-Type"):
        read(form(part("image_file", b"abc")), FORM | {"content-type": kind})


@pytest.mark.parametrize("kind", [LONG, MANY])
def test_jobs_refuse_content_type_beyond_limits(kind):
    request = SimpleNamespace(headers={"content-type": kind})
    with pytest.raises(MalformedBody, match="Content-Type"):
        asyncio.run(json_body.read_json(None, request, None, with_images=False))
    with pytest.raises(MalformedBody, match="Content-Type"):
        asyncio.run(removedo._read_form(request, None, 1000))


def test_part_header_with_too_many_parameters_is_refused():
    head = b'Content-Disposition: form-data; name="image_file"; filename="a"' + b";" * 3000
    with pytest.raises(MalformedBody, match="Content-Disposition"):
        read(form(b"--XX\r\n" + head + b"\r\n\r\nabc\r\n"))


def test_usual_headers_are_accepted():
    kind = f"{FORM['content-type']}; charset=utf-8; {'a' * 900}=b"
    assert bytes(read(form(part("image_file", b"abc", "ä" * 255)), FORM | {"content-type": kind}).image) == b"abc"
