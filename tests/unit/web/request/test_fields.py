import pytest

from clearcut.errors import InvalidField, MalformedBody
from clearcut.web.request import fields
from clearcut.web.request.fields import parse_fields
from clearcut.web.request.json_body import parse_object

TABLE = {
    "crop": fields.boolean("", "crop"),
    "threshold": fields.number("", 0, 1, "threshold"),
    "crop_margin": fields.text("", lambda name, text: {"padding": text}, ["1px"]),
}


@pytest.mark.parametrize("values", [{"crop": "true", "threshold": "0.5"}, {"crop": True, "threshold": 0.5}])
def test_form_texts_and_json_scalars_are_equal(values):
    assert parse_fields(values, TABLE).options == {"crop": True, "threshold": 0.5}


def test_null_and_empty_are_absent():
    assert parse_fields({"crop": None, "threshold": ""}, TABLE).options == {}


def test_names_are_fields_that_set_options():
    parsed = parse_fields({"crop_margin": "1px", "extra": "1"}, TABLE, prefix="params.")
    assert parsed.names == {"padding": "params.crop_margin"}
    assert parsed.unknown == ["extra"]


@pytest.mark.parametrize("value", [[], {}, "maybe", "\ud800"])
def test_error_names_path(value):
    with pytest.raises(InvalidField) as caught:
        parse_fields({"crop": value}, TABLE, prefix="params.")
    assert caught.value.field == "params.crop"


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":' + b"[" * 5000, b'{"a":[' + b"0," * 5000 + b"0]}"])
def test_invalid_json_is_malformed(body):
    with pytest.raises(MalformedBody):
        parse_object(bytearray(body))
