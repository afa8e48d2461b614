"""Errors name inputs and options in the engine's terms; a dialect gives them the caller's field names."""

import pytest

from clearcut.errors import (
    AuthenticationError,
    CorruptImage,
    FetchFailed,
    InvalidField,
    InvalidOption,
    MissingImage,
    Overloaded,
    TooManyBytes,
    TooManyPixels,
    UnsupportedFormat,
)
from clearcut.web.apis import poof, removebg


@pytest.mark.parametrize(
    ("error", "names", "details"),
    [
        (InvalidOption("width", "1 to 6000"), {}, "Invalid value for 'width'. Expected: 1 to 6000"),
        (InvalidOption("padding", "x"), {"padding": "crop_margin"}, "Invalid value for 'crop_margin'. Expected: x"),
        (InvalidField("size", "small"), {"size": "other"}, "Invalid value for 'size'. Expected: small"),
        (CorruptImage("it ends early"), {}, "Cannot read the image: it ends early"),
        (CorruptImage("it ends early"), {"image": "file"}, "Cannot read the image in 'file': it ends early"),
        (FetchFailed("background", "it is gone"), {}, "Cannot fetch the URL in 'background': it is gone"),
        (UnsupportedFormat("GIF"), {}, "Unsupported image type: detected GIF"),
        (TooManyBytes(3 * 1024 * 1024), {}, "Maximum file size is 3 MiB (server setting CLEARCUT_MAX_BYTES)"),
        (TooManyBytes(10, role="mask"), {"mask": "mask_file"},
         "Maximum file size of 'mask_file' is 10 bytes (server setting CLEARCUT_MAX_BYTES)"),
        (TooManyPixels("The image is 9 x 9 pixels", role="background"), {"background": "bg_image"},
         "The image in 'bg_image' is 9 x 9 pixels"),
    ],
)  # fmt: skip
def test_describe_uses_names_of_caller(error, names, details):
    assert error.describe(names) == details


def test_role_may_be_set_later():
    error = CorruptImage("it ends early")
    error.role = "mask"
    assert error.describe({"image": "image_file", "mask": "mask_file"}) == (
        "Cannot read the image in 'mask_file': it ends early"
    )
    assert str(error) == "Cannot read the image in 'mask': it ends early"


def test_request_fields_override_dialect_fields():
    assert "'image_file'" in poof.DIALECT.error_body(MissingImage(), "req_1")["details"]
    assert "'file'" in poof.DIALECT.error_body(MissingImage(), "req_1", {"image": "file"})["details"]


def test_removebg_code_has_field_of_caller():
    body = removebg.DIALECT.error_body(InvalidOption("padding", "less"), "req_1", {"padding": "crop_margin"})
    assert body["errors"][0]["code"] == "invalid_crop_margin"


def test_class_defaults_can_be_overridden():
    assert (Overloaded().retry_after, Overloaded(retry_after=7).retry_after) == (1, 7)
    assert AuthenticationError().headers["WWW-Authenticate"] == "Bearer"
