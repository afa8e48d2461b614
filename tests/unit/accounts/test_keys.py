import hmac

import pytest

import clearcut.accounts.keys as keys_module
from clearcut.accounts.keys import Account, hash_key, new_key, parse_key_id, verify_key


def account(key: str) -> Account:
    return Account(parse_key_id(key) or "", "test", hash_key(key), revoked=False, plan="unlimited", credits=0)


def test_key_verifies_only_its_own_account():
    _, key = new_key()
    _, other = new_key()
    assert verify_key(key, account(key))
    assert not verify_key(other, account(key))
    assert not verify_key(key[:-1] + ("A" if key[-1] != "A" else "B"), account(key))
    assert not verify_key(key, None)
    assert not verify_key("", None)


@pytest.mark.parametrize("exists", [True, False], ids=["an account", "no account"])
@pytest.mark.parametrize("valid", [True, False], ids=["its key", "another key"])
def test_every_key_is_compared_in_constant_time(monkeypatch, exists, valid):
    """The comparison happens without an account too, so that timing does not reveal which ids exist."""
    compared, real = [], hmac.compare_digest

    def compare(left, other):
        compared.append((len(left), len(other)))
        return real(left, other)

    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)
    _, key = new_key()
    _, another = new_key()
    verify_key(key if valid else another, account(key) if exists else None)
    assert compared == [(32, 32)]


def test_keys_are_unique():
    generated = {new_key()[1] for _ in range(1000)}
    assert len({key.rsplit("_", 1)[0] for key in generated}) == 1000
    assert len({key[-43:] for key in generated}) == 1000
    assert all(parse_key_id(key) for key in generated)
