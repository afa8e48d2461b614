"""Keys, credits, limits and Idempotency-Keys through the whole application, with a fake model and a real database."""

import asyncio
import base64
import io
import threading
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from clearcut.accounts.idempotency import IdempotencyCache
from clearcut.accounts.keys import Quotas, hash_key, new_key, parse_key_id, verify_key
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from clearcut.accounts.types import Idempotency
from clearcut.errors import IdempotencyConflict, IdempotencyMismatch, PaymentRequired, PermissionDenied, StartupError
from tests.support.asgi import PNG, chunk, send_messages
from tests.support.clock import FakeClock
from tests.support.cutouts import sample_image
from tests.support.fakes import Stage, on_stage, until

MONTH_S = 32 * 24 * 3600


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/accounts.db"


@pytest.fixture
def clock():
    return FakeClock(time.time())


@pytest.fixture
def ledger(url, clock):
    ledger = Ledger(open_engine(url, 1), 70, clock)
    yield ledger
    ledger.close()


def states(url):
    """Count the ledger's charges by state."""
    engine = open_engine(url, 1)
    with engine.begin() as connection:
        rows = connection.execute(text("select state, count(*) from charges group by state")).all()
    engine.dispose()
    return {row[0]: row[1] for row in rows}


async def settled(on):
    """Wait until no charge is reserved."""
    await until(lambda: on.service.accounts.request_charges.unsettled == 0)


def send(on, key=None, path="/v1/remove", image=None, headers=None, **fields):
    headers = {"x-api-key": key, **(headers or {})} if key else headers
    name = "file" if path.startswith("/api") else "image_file"
    return on.client.post(path, files={name: image or sample_image()}, data=fields, headers=headers)


# keys


def test_only_digest_of_key_is_stored(ledger, tmp_path):
    key = ledger.create("shop", "unlimited", 0, Quotas())
    assert key.startswith(f"clc_{parse_key_id(key)}_")
    account = ledger.find(parse_key_id(key))
    assert verify_key(key, account)
    assert not verify_key(key[:-1] + ("A" if key[-1] != "A" else "B"), account)
    assert not verify_key(key, None)
    assert account.digest == hash_key(key)
    ledger.close()
    secret = key.split("_", 2)[2].encode()  # the secret may contain an underscore
    assert not any(secret in path.read_bytes() for path in tmp_path.iterdir())


def test_keys_are_unique():
    assert len({new_key()[1] for _ in range(200)}) == 200


@pytest.mark.parametrize(
    "key", ["", "clc_", "clc_short_x", "pk_123", "clc_abcdefghijkm_" + "x" * 42, "clc_" + "é" * 56]
)
def test_malformed_key_has_no_id(key):
    assert parse_key_id(key) is None


def test_key_is_accepted_in_all_headers(url, ledger):
    key = ledger.create("shop", "unlimited", 0, Quotas())
    basic = base64.b64encode(f"user:{key}".encode()).decode()
    places = [{"x-api-key": key}, {"authorization": f"Bearer {key}"}, {"authorization": f"basic {basic}"}]
    wrong = [{}, {"x-api-key": key + "x"}, {"authorization": "Basic !!"}, {"authorization": f"Digest {key}"},
             {"x-api-key": "clc_aaaaaaaaaaaa_" + "x" * 43}]  # fmt: skip

    async def scenario(on: Stage):
        taken = [await send(on, headers=headers) for headers in places]
        return taken, [await send(on, headers=headers) for headers in wrong]

    taken, refused = on_stage(scenario, database_url=url)
    assert [response.status_code for response in taken] == [200] * 3
    for response in refused:
        assert response.status_code == 401
        assert response.json()["code"] == "authentication_error"
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "unknown", "revoked", "spent"),
    [("/v1/remove", 401, 403, 402), ("/v1.0/removebg", 403, 403, 402), ("/api/remove", 401, 403, 402),
     ("/v1/segment", 401, 403, 402)],
)  # fmt: skip
def test_refusals_in_every_dialect(url, ledger, path, unknown, revoked, spent):
    gone = ledger.create("gone", "unlimited", 0, Quotas())
    ledger.revoke(parse_key_id(gone))
    empty = ledger.create("empty", "prepaid", 0, Quotas())

    async def scenario(on: Stage):
        return [await send(on, key, path) for key in (None, gone, empty)]

    responses = on_stage(scenario, database_url=url)
    assert [response.status_code for response in responses] == [unknown, revoked, spent]
    if path == "/v1.0/removebg":
        codes = [response.json()["errors"][0]["code"] for response in responses]
        assert codes == ["auth_failed", "auth_failed", "insufficient_credits"]
    assert states(url) == {}


def test_anonymous_requests_where_allowed(url, ledger):
    async def scenario(on: Stage):
        return await send(on), await send(on, "clc_wrong"), await on.client.get("/v1/me")

    free, wrong, me = on_stage(scenario, database_url=url, allow_anonymous="true")
    assert (free.status_code, wrong.status_code, me.status_code) == (200, 401, 200)
    assert free.headers["x-credits-charged"] == "0"


def test_revocation_applies_at_once_to_charges(url, ledger):
    key = ledger.create("shop", "unlimited", 0, Quotas())

    async def scenario(on: Stage):
        first = await send(on, key)
        await asyncio.to_thread(ledger.revoke, parse_key_id(key))
        return first, await send(on, key)

    first, second = on_stage(scenario, database_url=url, key_cache_s="300")
    assert (first.status_code, second.status_code) == (200, 403)


@pytest.mark.parametrize("url", ["mysql://x", "nonsense", "sqlite:////proc/none/x.db"])
def test_unusable_database_prevents_start(url):
    with pytest.raises(StartupError, match="CLEARCUT_DATABASE_URL"):
        open_engine(url, 1)


# credits


def test_only_success_costs_a_credit(url, ledger):
    key = ledger.create("shop", "prepaid", 3, Quotas())

    async def scenario(on: Stage):
        responses = [
            await send(on, key),
            await send(on, key, image=b"no image"),
            await send(on, key, size="huge"),
            await send(on, key, "/v1.0/removebg", roi="0% 0% 5% 5%"),
        ]
        await settled(on)
        return responses, (await on.client.get("/v1/me", headers={"x-api-key": key})).json()

    responses, me = on_stage(scenario, database_url=url)
    assert [response.status_code for response in responses] == [200, 400, 400, 400]
    assert responses[0].headers["x-credits-charged"] == "1"
    assert me == {"organizationId": parse_key_id(key), "plan": "prepaid", "maxCredits": 3, "usedCredits": 1,
                  "autoRechargeThreshold": None}  # fmt: skip
    assert states(url)["charged"] == 1


def test_no_credits_is_402(url, ledger):
    key = ledger.create("shop", "monthly", 2, Quotas())

    async def scenario(on: Stage):
        responses = [await send(on, key, path) for path in ("/v1/remove", "/v1/segment", "/api/remove")]
        account = await on.client.get("/v1.0/account", headers={"x-api-key": key})
        return [response.status_code for response in responses], account.json()["data"]["attributes"]["credits"]

    codes, credits = on_stage(scenario, database_url=url)
    assert codes == [200, 200, 402]
    assert credits == {"total": 0, "subscription": 0, "payg": 0, "enterprise": 0}


def test_disconnect_before_response_is_not_charged(url, ledger):
    key = ledger.create("shop", "prepaid", 1, Quotas())

    async def scenario(on: Stage):
        on.engine.gate.clear()

        async def leaves():
            await asyncio.to_thread(on.engine.entered.wait, 10)
            return {"type": "http.disconnect"}

        sent = await send_messages(on, [chunk(sample_image(), more=False), leaves], [PNG, (b"x-api-key", key.encode())])
        on.engine.gate.set()
        await settled(on)
        return sent, await send(on, key)

    sent, after = on_stage(scenario, database_url=url)
    assert sent == []
    assert after.status_code == 200
    assert states(url) == {"released": 1, "charged": 1}


def test_disconnect_during_response_is_charged(url, ledger):
    key = ledger.create("shop", "prepaid", 1, Quotas())
    noise = np.random.default_rng(7).integers(130, 255, (500, 500, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")

    async def scenario(on: Stage):
        left = asyncio.Event()
        inbox = [{"type": "http.request", "body": out.getvalue(), "more_body": False}]
        sent = []

        async def receive():
            if inbox:
                return inbox.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send_(message):
            sent.append(message)
            if message["type"] == "http.response.body":
                left.set()
                await asyncio.sleep(0)

        headers = [(b"content-type", b"image/png"), (b"x-api-key", key.encode())]
        scope = {"type": "http", "method": "POST", "path": "/v1/remove", "query_string": b"", "headers": headers}
        await on.app(scope, receive, send_)
        await settled(on)
        return sent

    sent = on_stage(scenario, database_url=url)
    assert sent[0]["status"] == 200
    assert len(sent) > 2
    assert states(url) == {"charged": 1}


def test_concurrent_requests_never_overspend(url, ledger):
    """All requests of a key run concurrently."""
    each, credits = 10, 5
    keys = [ledger.create(f"shop {number}", "prepaid", credits, Quotas()) for number in range(4)]

    async def scenario(on: Stage):
        responses = await asyncio.gather(*(send(on, key) for key in keys * each))
        await settled(on)
        return [response.status_code for response in responses]

    codes = on_stage(scenario, database_url=url)
    assert sorted(codes) == [200] * 20 + [402] * 20
    assert states(url) == {"charged": 20}
    assert all(usage.used == credits and usage.left == 0 for usage in ledger.list_usage())


def test_credits_renew_each_month(ledger, clock):
    key_id = parse_key_id(ledger.create("shop", "monthly", 1, Quotas()))
    assert ledger.settle(ledger.reserve(key_id, 1, 0, None))
    with pytest.raises(PaymentRequired):
        ledger.reserve(key_id, 1, 0, None)
    clock.now += MONTH_S
    assert ledger.usage(key_id).left == 1
    late = ledger.reserve(key_id, 1, 0, None)
    clock.now += MONTH_S
    ledger.settle(late)
    assert ledger.usage(key_id).left == 1  # usage of the new month


def test_reservation_of_dead_process_expires(ledger, clock):
    key_id = parse_key_id(ledger.create("shop", "prepaid", 1, Quotas()))
    lost = ledger.reserve(key_id, 1, 0, None)
    with pytest.raises(PaymentRequired):
        ledger.reserve(key_id, 1, 0, None)
    clock.now += 71
    charge = ledger.reserve(key_id, 1, 0, None)
    assert ledger.settle(charge)
    assert not ledger.settle(charge)
    assert ledger.usage(key_id).used == 1
    ledger.release(lost)
    assert ledger.usage(key_id).used == 1


def test_set_credits_counts_from_now(ledger):
    key_id = parse_key_id(ledger.create("shop", "prepaid", 0, Quotas()))
    assert ledger.set_credits(key_id, "prepaid", 2)
    ledger.settle(ledger.reserve(key_id, 1, 0, None))
    assert ledger.usage(key_id).left == 1
    assert ledger.set_credits(key_id, "unlimited", 0)
    assert ledger.usage(key_id).left is None
    assert not ledger.set_credits("nobody", "unlimited", 0)
    assert not ledger.revoke("nobody")
    with pytest.raises(PermissionDenied):
        ledger.reserve("nobody", 1, 0, None)


# limits


def test_requests_per_minute_limit(url, ledger):
    key = ledger.create("shop", "unlimited", 0, Quotas(requests_per_minute=2))

    async def scenario(on: Stage):
        return [await send(on, key, path) for path in ("/v1/remove", "/v1.0/removebg", "/v1.0/removebg")]

    first, second, third = on_stage(scenario, database_url=url, requests_per_minute="100")
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert first.headers["ratelimit-policy"] == '"requests";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"requests";r=1;t=')
    assert "x-ratelimit-limit" not in first.headers
    assert third.headers["x-ratelimit-limit"] == "2"
    assert third.headers["x-ratelimit-remaining"] == "0"
    assert abs(int(third.headers["x-ratelimit-reset"]) - time.time()) <= 62
    assert 1 <= int(third.headers["retry-after"]) <= 60
    assert third.json()["errors"][0]["code"] == "rate_limit_exceeded"


def test_megapixels_per_minute_limit(url, ledger):
    key = ledger.create("shop", "unlimited", 0, Quotas())

    async def scenario(on: Stage):
        large = sample_image(1500, 1000)
        return [await send(on, key, image=large), await send(on, key, image=large), await send(on, key)]

    responses = on_stage(scenario, database_url=url, megapixels_per_minute="3")
    assert [response.status_code for response in responses] == [200, 429, 200]
    assert responses[1].headers["ratelimit-policy"] == '"megapixels";q=3;qu="megapixels";w=60'
    assert states(url) == {"charged": 2, "released": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"width": "2000", "height": "2000"},
        {"variants": '[{"width": "1500", "height": "1000"}, {"width": "1500", "height": "1000"}]'},
        {"crop": "true", "padding": "2000px"},
    ],
    ids=["size", "variants", "padding"],
)
def test_large_outputs_count_as_megapixels(url, ledger, fields):
    key = ledger.create("shop", "unlimited", 0, Quotas())

    async def scenario(on: Stage):
        return [(await send(on, key, image=sample_image(64, 48), **fields)).status_code for _ in range(2)]

    assert on_stage(scenario, database_url=url, megapixels_per_minute="4") == [200, 429]


def test_crop_counts_its_own_megapixels(url, ledger):
    key, image = ledger.create("shop", "unlimited", 0, Quotas()), sample_image(1500, 1000)

    async def scenario(on: Stage):
        return [await send(on, key, image=image, crop="true", padding="5%") for _ in range(3)]

    responses = on_stage(scenario, database_url=url, megapixels_per_minute="4")
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[0].headers["ratelimit"].startswith('"megapixels";r=2;t=')


def test_concurrent_large_crops_count_in_advance(url, ledger):
    """Each output exceeds 16 megapixels, from an input that counts as one."""
    key, image = ledger.create("shop", "unlimited", 0, Quotas()), sample_image(64, 48)

    async def scenario(on: Stage):
        return await asyncio.gather(*(send(on, key, image=image, crop="true", padding="2000px") for _ in range(4)))

    responses = on_stage(scenario, database_url=url, megapixels_per_minute="40")
    assert Counter(response.status_code for response in responses) == {200: 2, 429: 2}
    served = next(response for response in responses if response.status_code == 200)
    assert served.headers["ratelimit"].count("megapixels") == 1


def test_concurrent_requests_limit(url, ledger):
    key, other = (ledger.create(name, "unlimited", 0, Quotas(concurrent=1)) for name in "ab")

    async def scenario(on: Stage):
        on.engine.gate.clear()
        first = asyncio.create_task(send(on, key))
        await asyncio.to_thread(on.engine.entered.wait, 10)
        refused = await send(on, key)
        beside = asyncio.create_task(send(on, other))
        on.engine.gate.set()
        return (await first, refused, await beside, await send(on, key))

    responses = on_stage(scenario, database_url=url)
    assert [response.status_code for response in responses] == [200, 429, 200, 200]
    assert responses[1].headers["retry-after"] == "1"


def test_admission_errors_are_counted_by_reason(url, ledger):
    async def scenario(on: Stage):
        await send(on)
        return (await on.client.get("/metrics")).text

    assert 'clearcut_rejected_total{reason="authentication"} 1.0' in on_stage(scenario, database_url=url)


# Idempotency-Key


def test_repeated_request_is_free_and_equal(url, ledger):
    key = ledger.create("shop", "prepaid", 5, Quotas())

    async def scenario(on: Stage):
        again = {"idempotency-key": "order-17"}
        first = await send(on, key, headers=again)
        quoted = await send(on, key, headers={"idempotency-key": '"order-17"'})
        runs = on.service.metrics.registry.get_sample_value("clearcut_input_bytes_count")
        on.service.idempotency_cache = IdempotencyCache(0)  # as if the response had been evicted
        worked = await send(on, key, headers=again)
        await settled(on)
        return first, quoted, worked, runs

    first, quoted, worked, runs = on_stage(scenario, database_url=url)
    assert first.status_code == quoted.status_code == worked.status_code == 200
    assert first.content == quoted.content
    # A new run gives the same pixels; the compressed size may differ by a byte (ISA-L).
    pixels = [np.asarray(Image.open(io.BytesIO(response.content))) for response in (first, worked)]
    np.testing.assert_array_equal(*pixels)
    assert quoted.headers["idempotent-replayed"] == "true"
    assert quoted.headers["content-type"] == "image/png"
    assert quoted.headers["x-credits-charged"] == worked.headers["x-credits-charged"] == "0"
    assert runs == 1
    assert states(url) == {"charged": 1}


@pytest.mark.parametrize(("path", "status"), [("/v1/remove", 400), ("/v1.0/removebg", 422), ("/v1/segment", 422)])
def test_other_request_under_same_key_is_refused(url, ledger, path, status):
    key = ledger.create("shop", "prepaid", 5, Quotas())

    async def scenario(on: Stage):
        again = {"idempotency-key": "order-17"}
        await send(on, key, path, headers=again)
        image = await send(on, key, path, image=sample_image(81), headers=again)
        options = await send(on, key, path, headers=again, crop="true")
        return image, options

    for response in on_stage(scenario, database_url=url):
        assert response.status_code == status
        assert "Idempotency-Key" in response.text


def test_duplicate_during_first_request_is_409(url, ledger):
    key = ledger.create("shop", "prepaid", 5, Quotas())

    async def scenario(on: Stage):
        on.engine.gate.clear()
        again = {"idempotency-key": "order-17"}
        first = asyncio.create_task(send(on, key, headers=again))
        await asyncio.to_thread(on.engine.entered.wait, 10)
        duplicate = await send(on, key, headers=again)
        on.engine.gate.set()
        return (await first).status_code, duplicate

    first, duplicate = on_stage(scenario, database_url=url)
    assert first == 200
    assert duplicate.status_code == 409
    assert int(duplicate.headers["retry-after"]) >= 1


def test_failure_frees_idempotency_key(url, ledger):
    key = ledger.create("shop", "prepaid", 1, Quotas())

    async def scenario(on: Stage):
        again = {"idempotency-key": "order-17"}
        failed = await send(on, key, image=b"no image", headers=again)
        await settled(on)
        return failed.status_code, (await send(on, key, headers=again)).status_code

    assert on_stage(scenario, database_url=url) == (400, 200)


def test_accounts_may_share_an_idempotency_key(url, ledger):
    keys = [ledger.create(name, "prepaid", 1, Quotas()) for name in "ab"]

    async def scenario(on: Stage):
        return [(await send(on, key, headers={"idempotency-key": "1"})).headers["x-credits-charged"] for key in keys]

    assert on_stage(scenario, database_url=url) == ["1", "1"]


def test_idempotency_key_expires_after_a_day(ledger, clock):
    key_id = parse_key_id(ledger.create("shop", "unlimited", 0, Quotas()))
    first = ledger.reserve(key_id, 1, 0, Idempotency("a", "1"))
    with pytest.raises(IdempotencyConflict):
        ledger.reserve(key_id, 1, 0, Idempotency("a", "1"))
    with pytest.raises(IdempotencyMismatch):
        ledger.reserve(key_id, 1, 0, Idempotency("a", "2"))
    ledger.settle(first)
    assert ledger.reserve(key_id, 1, 0, Idempotency("a", "1")).repeats
    clock.now += 24 * 3600 + 1
    assert not ledger.reserve(key_id, 1, 0, Idempotency("a", "2")).repeats


def test_dead_request_frees_idempotency_key(ledger, clock):
    key_id = parse_key_id(ledger.create("shop", "unlimited", 0, Quotas()))
    ledger.reserve(key_id, 1, 0, Idempotency("a", "1"))
    clock.now += 71
    assert not ledger.reserve(key_id, 1, 0, Idempotency("a", "1")).repeats


@pytest.mark.parametrize("value", ["x" * 256, "a b", "é"])
def test_malformed_idempotency_key_is_refused(url, ledger, value):
    key = ledger.create("shop", "unlimited", 0, Quotas())

    async def scenario(on: Stage):
        return await send(on, key, headers={"idempotency-key": value.encode()})

    response = on_stage(scenario, database_url=url)
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["details"]


def test_stored_response_is_copied_on_the_pool(url, ledger, monkeypatch):
    """Copying many megabytes would block the event loop."""
    key = ledger.create("shop", "prepaid", 1, Quotas())
    threads = []

    def copy(data):
        threads.append(threading.current_thread().name)
        return bytes(data)

    monkeypatch.setattr("clearcut.web.sync_handler.bytes", copy, raising=False)

    async def scenario(on: Stage):
        return await send(on, key, headers={"idempotency-key": "order-17"})

    assert on_stage(scenario, database_url=url).status_code == 200
    assert [name.rpartition("-")[0] for name in threads] == ["pixels"]
