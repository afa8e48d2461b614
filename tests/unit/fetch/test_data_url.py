"""``data:`` URLs and base64 text: decoded, or refused with the role of the input."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearcut.errors import InvalidOption, TooManyBytes
from clearcut.fetch.data_url import decode_base64, decode_data_url, is_data_url


@given(st.binary(max_size=300), st.sampled_from(["image/png", "", "image/jpeg;charset=x", "text/plain"]))
def test_base64_decodes_to_the_original_bytes(data, kind):
    text = base64.b64encode(data).decode()
    assert decode_data_url(f"data:{kind};base64,{text}", role="image", max_bytes=300) == data
    assert decode_data_url(f"DATA:{kind};BASE64,{text}", role="image", max_bytes=300) == data
    assert decode_base64(text, role="image", max_bytes=300) == data


@given(st.binary(min_size=100, max_size=3000))
def test_line_ends_are_ignored(data):
    wrapped = base64.encodebytes(data).decode()
    assert decode_base64(wrapped, role="image", max_bytes=len(data)) == data
    assert decode_base64(wrapped.replace("\n", "\r\n"), role="image", max_bytes=len(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "data:image/png,plain", "data:image/png;base64", "data:;base64;x,AAAA", "data:image/png;base64,A", "AAAA",
        "data:image/png;base64,AA*A", "data:image/png;base64,AAA=A", "data:image/png;base64,AA%3D%3D", "", "data:",
        "data:image/png;base64,ÄÄÄÄ", "data:image/png;base64,AA=_", "https://example.com/a", " data:;base64,AAAA",
        "data:" + "x" * 300 + ";base64,AAAA",
    ],
)  # fmt: skip
def test_invalid_data_urls_are_refused(text):
    with pytest.raises(InvalidOption) as caught:
        decode_data_url(text, role="image", max_bytes=1000)
    assert caught.value.role == "image"
    assert "'input.image'" in caught.value.describe({"image": "input.image"})


def test_limit_applies_to_the_decoded_bytes():
    exact = base64.b64encode(b"x" * 1000).decode()
    assert len(decode_base64(exact, role="image", max_bytes=1000)) == 1000
    for size in (1001, 1002, 1003, 5000, 10_000_000):
        with pytest.raises(TooManyBytes) as caught:
            decode_base64(base64.b64encode(b"x" * size).decode(), role="image", max_bytes=1000)
        assert caught.value.role == "image"


def test_data_url_is_recognized_by_its_scheme():
    assert is_data_url("data:image/png;base64,AAAA")
    assert is_data_url("DaTa:,")
    assert not is_data_url("https://example.com/data:")
    assert not is_data_url("")
