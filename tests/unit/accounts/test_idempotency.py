from clearcut.accounts.idempotency import ENTRY_BYTES, CachedResponse, IdempotencyCache


def response(size, headers=()):
    return CachedResponse(200, tuple(headers), bytes(size))


def test_least_recently_used_is_evicted_first():
    cache = IdempotencyCache(2 * (ENTRY_BYTES + 4) + 1)
    cache.put("k", "a", response(4))
    cache.put("k", "b", response(4))
    assert cache.get("k", "a") is not None
    cache.put("k", "c", response(4))
    assert cache.get("k", "b") is None
    assert cache.get("k", "a") is not None
    assert cache.used == 2 * (ENTRY_BYTES + 4)


def test_headers_and_entry_count_as_used_bytes():
    cache = IdempotencyCache(1_000_000)
    cache.put("k", "a", response(0, [(b"name", b"value")]))
    assert cache.used == ENTRY_BYTES + 9


def test_response_larger_than_capacity_is_not_stored():
    cache = IdempotencyCache(ENTRY_BYTES + 10)
    cache.put("k", "a", response(11))
    assert cache.get("k", "a") is None
    assert cache.used == 0


def test_repeated_put_counts_once():
    cache = IdempotencyCache(10_000)
    cache.put("k", "a", response(4))
    cache.put("k", "a", response(4))
    assert cache.used == ENTRY_BYTES + 4


def test_one_account_does_not_evict_others():
    cache = IdempotencyCache(10 * (ENTRY_BYTES + 100))
    cache.put("small", "a", response(100))
    for number in range(50):
        cache.put("large", f"b{number}", response(100))
    assert cache.get("small", "a") is not None
    assert cache.get("large", "b49") is not None
    assert cache.get("large", "b0") is None
    assert cache.used <= cache.capacity


def test_responses_of_other_accounts_are_not_found():
    cache = IdempotencyCache(10_000)
    cache.put("a", "1", response(4))
    assert cache.get("b", "1") is None
