import pytest

from app.errors import InvalidOption
from app.imaging.options import Length, RemoveOptions
from app.web.options import poof_options


def options(**fields):
    return poof_options(fields)[0]


def test_no_fields_are_the_documented_defaults():
    assert options() == RemoveOptions()


@pytest.mark.parametrize(
    ("size", "side", "pixels"),
    [("full", None, None), ("preview", 256, None), ("small", 512, None), ("medium", 1024, None), ("large", 2048, None),
     ("hd", None, 4_000_000), ("PREVIEW", 256, None)],
)  # fmt: skip
def test_size(size, side, pixels):
    got = options(size=size)
    assert (got.max_side, got.max_pixels) == (side, pixels)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bg_color": "red"}, None),
        ({"bg_color": "red", "channels": "rgb"}, (255, 0, 0, 255)),
        ({"bg_color": "00f", "format": "jpg"}, (0, 0, 255, 255)),
        ({"bg_color": "00f", "format": "webp"}, None),
    ],
)
def test_bg_color_is_for_opaque_output_only(fields, expected):
    assert poof_options(fields)[0].background == expected


@pytest.mark.parametrize(
    ("crop", "expected"),
    [("true", (True, None)), ("FALSE", (False, None)), ("1:1", (True, (1, 1))), ("16:9", (True, (16, 9)))],
)
def test_crop(crop, expected):
    got = options(crop=crop)
    assert (got.crop, got.crop_ratio) == expected


def test_padding_takes_one_two_or_four_lengths():
    one = options(padding="10%").padding
    assert one.top == one.left == Length(0.1, relative=True)
    two = options(padding="0.1,30px").padding
    assert (two.top, two.bottom) == (Length(0.1, relative=True),) * 2
    assert (two.right, two.left) == (Length(30),) * 2
    four = options(padding="1px 2px 3px 4px").padding
    assert [length.value for length in (four.top, four.right, four.bottom, four.left)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "gif"), ("channels", "cmyk"), ("size", "huge"), ("crop", "yes"), ("crop", "1"), ("crop", "0:1"),
        ("crop", "1:1000"), ("bg_color", "#12"), ("bg_color", "rgb(256,0,0)"), ("bg_color", "nocolour"),
        ("padding", "-1px"), ("padding", "101%"), ("padding", "2001px"), ("padding", "1px,2px,3px"), ("padding", "ten"),
        ("width", "0"), ("width", "6001"), ("width", "1.5"), ("height", "-1"), ("height", "٣"), ("fit", "fill"),
        ("url", "https://example.com/a.jpg"), ("image_url", "https://example.com/a.jpg"),
    ],
)  # fmt: skip
def test_a_bad_value_names_its_field_and_what_is_accepted(field, value):
    with pytest.raises(InvalidOption) as caught:
        poof_options({field: value})
    assert caught.value.field == field
    assert f"'{field}'" in caught.value.details
    assert "Expected: " in caught.value.details


def test_unknown_fields_are_named_not_refused():
    assert poof_options({"bgcolor": "red", "size": "small"})[1] == ["bgcolor"]
