import pytest

from clearcut.errors import InvalidOption
from clearcut.imaging.options import Length, RemoveOptions
from clearcut.web.apis.poof_options import parse_options


def options(**fields):
    return parse_options(fields)[0]


def test_defaults_are_documented_ones():
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
def test_bg_color_applies_to_opaque_output_only(fields, expected):
    assert parse_options(fields)[0].background == expected


@pytest.mark.parametrize(
    ("crop", "expected"),
    [("true", (True, None)), ("FALSE", (False, None)), ("1:1", (True, (1, 1))), ("16:9", (True, (16, 9)))],
)
def test_crop(crop, expected):
    got = options(crop=crop)
    assert (got.crop, got.crop_ratio) == expected


def test_padding_accepts_one_two_or_four_lengths():
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
        ("threshold", "1.1"), ("threshold", "-0.1"), ("threshold", "nan"), ("background_type", "black"),
        ("reverse", "yes"), ("scale", "9%"), ("scale", "101%"), ("scale", "0.5"), ("position", "left"),
        ("position", "101%"), ("position", "1% 2% 3%"), ("roi", "0 0 1"), ("roi", "0% 0% 101% 10%"), ("shadow", "2"),
        ("roi", "90% 0% 10% 100%"), ("roi", "0px 40px 90px 20px"),
        ("despill", "1"), ("quality", "0"), ("quality", "101"), ("crop_margin", "x"),
        ("url", "https://example.com/a.jpg"), ("image_url", "https://example.com/a.jpg"),
    ],
)  # fmt: skip
def test_invalid_value_names_field_and_accepted_values(field, value):
    with pytest.raises(InvalidOption) as caught:
        parse_options({field: value})
    assert caught.value.field == field
    assert f"'{field}'" in caught.value.details
    assert "Expected: " in caught.value.details


def test_unknown_fields_are_reported_not_refused():
    assert parse_options({"bgcolor": "red", "size": "small"})[1].unknown == ["bgcolor"]


def test_scale_position_and_roi():
    got = options(scale="50%", position="0% 100%", roi="10% 0px 90% 40px")
    assert got.scale == 0.5
    assert got.position == (0.0, 1.0)
    assert got.roi.left == Length(0.1, relative=True)
    assert got.roi.bottom == Length(40)
    assert options(scale="original", position="original") == RemoveOptions()
    assert options(position="center").position == (0.5, 0.5)
    assert options(position="25%").position == (0.25, 0.25)


def test_background_type_overrides_in_any_order():
    first = parse_options({"background_type": "white", "bg_color": "red"})[0]
    second = parse_options({"bg_color": "red", "background_type": "white"})[0]
    assert first == second
    assert first.background == (255, 255, 255, 255)


def test_padding_and_crop_margin_exclude_each_other():
    assert options(crop_margin="30px") == options(padding="30px")
    with pytest.raises(InvalidOption):
        parse_options({"padding": "1px", "crop_margin": "1px"})
