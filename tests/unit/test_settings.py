import pytest

from clearcut import settings
from clearcut.environment import load_settings
from clearcut.errors import StartupError


def test_defaults_are_safe():
    loaded = load_settings({})
    assert loaded.host == "127.0.0.1"
    assert not loaded.allow_anonymous
    assert loaded.max_bytes == 20 * 1024 * 1024
    assert loaded.max_megapixels == 50
    assert loaded.max_side == 16_384


def test_ignores_other_and_empty_variables():
    loaded = load_settings({"CLEARCUT_PORT": "9000", "CLEARCUT_MODEL": "", "PORT": "1"})
    assert loaded.port == 9000
    assert loaded.model == settings.Settings().model


def test_all_errors_are_reported_with_their_variable():
    with pytest.raises(StartupError) as caught:
        load_settings({"CLEARCUT_SLOTS": "many", "CLEARCUT_PORT": "99999", "CLEARCUT_PRT": "1"})
    text = str(caught.value)
    assert "CLEARCUT_SLOTS" in text
    assert "CLEARCUT_PORT" in text
    assert "did you mean CLEARCUT_PORT?" in text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("CLEARCUT_SLOTS", "abc", "CLEARCUT_SLOTS: expected a whole number (got 'abc')"),
        ("CLEARCUT_DEADLINE_S", "soon", "CLEARCUT_DEADLINE_S: expected a number (got 'soon')"),
        ("CLEARCUT_FETCH", "perhaps", "CLEARCUT_FETCH: expected true or false (got 'perhaps')"),
    ],
)
def test_error_names_the_expected_type(name, value, text):
    with pytest.raises(StartupError) as caught:
        load_settings({name: value})
    assert str(caught.value) == text


def test_start_of_a_name_suggests_that_setting():
    with pytest.raises(StartupError, match=r"CLEARCUT_OTEL: unknown setting; did you mean CLEARCUT_OTEL_ENDPOINT\?"):
        load_settings({"CLEARCUT_OTEL": "1"})


@pytest.mark.parametrize("value", ["0", "1,,2", "a", "1,0", "-1"])
def test_invalid_bucket_list(value):
    with pytest.raises(StartupError, match="CLEARCUT_BUCKETS"):
        load_settings({"CLEARCUT_BUCKETS": value})


def test_bucket_list():
    assert load_settings({"CLEARCUT_BUCKETS": "1,2,16"}).bucket_sizes == (1, 2, 16)
    assert load_settings({}).bucket_sizes == ()


def test_variable_of_clients_is_no_setting():
    assert load_settings({"CLEARCUT_API_KEY": "clc_secret"}) == load_settings({})


def test_moderation_limits_are_parsed_and_bounded():
    assert load_settings({}).moderation_thresholds == {}
    settings = load_settings({"CLEARCUT_MODERATION_LIMITS": "porn=0.5,very odd=1"})
    assert settings.moderation_thresholds == {"porn": 0.5, "very odd": 1.0}
    for text in ("porn", "porn=2", "porn=0.5,", "=0.5", "porn=0.5;hentai=0.5"):
        with pytest.raises(StartupError, match="CLEARCUT_MODERATION_LIMITS"):
            load_settings({"CLEARCUT_MODERATION_LIMITS": text})
