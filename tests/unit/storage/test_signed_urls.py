"""Signed URLs: valid only with a known secret, for one output, until they expire."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearcut.environment import load_settings
from clearcut.errors import InvalidSignature, OutputExpired, StartupError
from clearcut.storage.factory import blob_store, signing_secrets
from clearcut.storage.signed_urls import sign_url, verify

SECRETS = (b"first secret, 16 or more", b"second secret, older one")
NOW = 1_800_000_000


def parts(url):
    split = urlsplit(url)
    query = parse_qs(split.query)
    return split.path.rpartition("/")[2], query["expires"][0], query["signature"][0]


def test_signed_url_is_valid_until_it_expires():
    url = sign_url("https://cut.example.com/", "job1.png", NOW + 60.9, SECRETS)
    assert url.startswith("https://cut.example.com/outputs/job1.png?expires=1800000060&signature=")
    verify(*parts(url), SECRETS, NOW)
    verify(*parts(url), SECRETS, NOW + 59.99)
    with pytest.raises(OutputExpired):
        verify(*parts(url), SECRETS, NOW + 60)


def test_second_secret_verifies_and_an_unknown_one_does_not():
    old = sign_url("", "a", NOW + 60, SECRETS[1:])
    verify(*parts(old), SECRETS, NOW)
    with pytest.raises(InvalidSignature):
        verify(*parts(old), SECRETS[:1], NOW)


@given(st.text(max_size=60), st.text(max_size=14), st.sampled_from(["a", "b", "job1.png"]))
def test_changed_urls_are_refused(signature, expires, key):
    _, until, good = parts(sign_url("", "job1.png", NOW + 60, SECRETS))
    for tried_expires, tried_signature in ((expires, signature), (until, signature), (expires, good)):
        if (key, tried_expires, tried_signature) != ("job1.png", until, good):
            with pytest.raises(InvalidSignature):
                verify(key, tried_expires, tried_signature, SECRETS, NOW)
    if key != "job1.png":
        with pytest.raises(InvalidSignature):
            verify(key, until, good, SECRETS, NOW)


@pytest.mark.parametrize(
    "expires", ["01800000060", "1800000060 ", "+1800000060", "１８０００００0６0", "1_800_000_060", "-1"]
)
def test_other_spellings_of_the_expiry_are_refused(expires):
    key, _, good = parts(sign_url("", "a", NOW + 60, SECRETS))
    with pytest.raises((InvalidSignature, OutputExpired)):
        verify(key, expires, good, SECRETS, NOW + 61)


def test_invalid_signature_takes_precedence_over_expiry():
    with pytest.raises(InvalidSignature):
        verify("a", "1000", "invalid", SECRETS, NOW)


def configured(**environ):
    return load_settings({f"CLEARCUT_{name.upper()}": value for name, value in environ.items()})


def test_generated_secret_is_stored_privately(tmp_path):
    settings = configured(data_dir=str(tmp_path / "data"))
    made = signing_secrets(settings)
    assert signing_secrets(settings) == made
    assert len(made[0]) >= 32
    assert (tmp_path / "data" / "signing-secret").stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "data").iterdir())) == 1
    assert signing_secrets(configured(data_dir=str(tmp_path / "other"))) != made


def test_secrets_from_settings_are_not_shown(tmp_path):
    settings = configured(signing_secret="first-secret-of-16, second-secret-of-16", data_dir=str(tmp_path / "none"))
    assert signing_secrets(settings) == (b"first-secret-of-16", b"second-secret-of-16")
    assert not (tmp_path / "none").exists()
    assert "first-secret" not in repr(settings)
    with pytest.raises(StartupError) as caught:
        signing_secrets(configured(signing_secret="short-one"))
    assert "short-one" not in str(caught.value)


def test_unusable_store_prevents_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="CLEARCUT_DATA_DIR"):
        blob_store(configured(data_dir=str(tmp_path / "file" / "data")))
    for address in ("http://bucket", "s3://", "s3://a", "s3://Bucket/x", "s3://bucket/../x y"):
        with pytest.raises(StartupError, match="CLEARCUT_BLOBS"):
            blob_store(configured(blobs=address))
