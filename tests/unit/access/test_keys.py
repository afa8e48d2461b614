import hmac

import pytest

import app.access.keys as keys_module
from app.access.keys import Account, digest_of, id_of, new_key, opens


def account(key: str) -> Account:
    return Account(id_of(key) or "", "someone", digest_of(key), revoked=False, plan="unlimited", credits=0)


def test_a_key_opens_its_own_account_only():
    _, key = new_key()
    _, other = new_key()
    assert opens(key, account(key))
    assert not opens(other, account(key))
    assert not opens(key[:-1] + ("A" if key[-1] != "A" else "B"), account(key))
    assert not opens(key, None)
    assert not opens("", None)


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
    opens(key if right else another, account(key) if there else None)
    assert compared == [(32, 32)]


def test_keys_are_256_random_bits_and_none_is_like_another():
    made = {new_key()[1] for _ in range(1000)}
    assert len({key.rsplit("_", 1)[0] for key in made}) == 1000
    assert len({key[-43:] for key in made}) == 1000
    assert all(id_of(key) for key in made)
