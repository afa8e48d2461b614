import hmac

import pytest

import clearcut.accounts.keys as keys_module
from clearcut.accounts.keys import Account, hash_key, new_key, parse_key_id, verify_key


def account(key: str) -> Account:
    return Account(parse_key_id(key) or "", "someone", hash_key(key), revoked=False, plan="unlimited", credits=0)


def test_a_key_opens_its_own_account_only():
    _, key = new_key()
    _, other = new_key()
    assert verify_key(key, account(key))
    assert not verify_key(other, account(key))
    assert not verify_key(key[:-1] + ("A" if key[-1] != "A" else "B"), account(key))
    assert not verify_key(key, None)
    assert not verify_key("", None)


@pytest.mark.parametrize("there", [True, False], ids=["an account", "no account"])
@pytest.mark.parametrize("right", [True, False], ids=["its key", "another key"])
def test_every_key_is_compared_once_in_constant_time_and_whole(monkeypatch, there, right):
    """Also where there is nothing to compare with: an id that exists must not answer later than one that does not."""
    compared, real = [], hmac.compare_digest

    def compare(left, other):
        compared.append((len(left), len(other)))
        return real(left, other)

    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)
    _, key = new_key()
    _, another = new_key()
    verify_key(key if right else another, account(key) if there else None)
    assert compared == [(32, 32)]


def test_keys_are_256_random_bits_and_none_is_like_another():
    made = {new_key()[1] for _ in range(1000)}
    assert len({key.rsplit("_", 1)[0] for key in made}) == 1000
    assert len({key[-43:] for key in made}) == 1000
    assert all(parse_key_id(key) for key in made)
