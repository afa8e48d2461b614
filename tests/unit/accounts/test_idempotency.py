from clearcut.accounts.idempotency import CachedResponse, IdempotencyCache

OWN = 2048  # what an entry is taken to weigh beside its bytes


def kept(size, headers=()):
    return CachedResponse(200, tuple(headers), bytes(size))


def test_the_least_recently_used_goes_first_and_the_room_is_never_exceeded():
    replays = IdempotencyCache(2 * (OWN + 4) + 1)
    replays.keep("k", "a", kept(4))
    replays.keep("k", "b", kept(4))
    assert replays.get("k", "a") is not None
    replays.keep("k", "c", kept(4))
    assert replays.get("k", "b") is None
    assert replays.get("k", "a") is not None
    assert replays.used == 2 * (OWN + 4)


def test_headers_and_the_entry_itself_have_weight():
    replays = IdempotencyCache(1_000_000)
    replays.keep("k", "a", kept(0, [(b"name", b"value")]))
    assert replays.used == OWN + 9


def test_what_is_larger_than_the_room_is_not_kept():
    replays = IdempotencyCache(OWN + 10)
    replays.keep("k", "a", kept(11))
    assert replays.get("k", "a") is None
    assert replays.used == 0


def test_keeping_twice_counts_once():
    replays = IdempotencyCache(10_000)
    replays.keep("k", "a", kept(4))
    replays.keep("k", "a", kept(4))
    assert replays.used == OWN + 4


def test_one_account_does_not_evict_others():
    replays = IdempotencyCache(10 * (OWN + 100))
    replays.keep("small", "a", kept(100))
    for number in range(50):
        replays.keep("large", f"b{number}", kept(100))
    assert replays.get("small", "a") is not None
    assert replays.get("large", "b49") is not None
    assert replays.get("large", "b0") is None
    assert replays.used <= replays.capacity


def test_keys_of_other_accounts_are_not_found():
    replays = IdempotencyCache(10_000)
    replays.keep("a", "1", kept(4))
    assert replays.get("b", "1") is None
