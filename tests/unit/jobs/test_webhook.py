"""Webhooks: signatures, verified with the package standardwebhooks, delivery attempts and retry delays."""

import asyncio
import base64
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from clearcut.errors import FetchFailed, StartupError
from clearcut.fetch.client import FetchClient
from clearcut.fetch.policy import FetchPolicy, HostRule
from clearcut.jobs.webhook import (
    WEBHOOK_RETRY_DELAYS,
    account_secret,
    deliver,
    retry_delays,
    secrets_for,
    signing_key,
    webhook_headers,
)
from tests.support.http_servers import bytes_of, redirect, serving

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()


def now():
    return int(datetime.now(UTC).timestamp())


TEXT = st.text(st.characters(codec="utf-8"))


@settings(deadline=None)  # the machine may be busy
@given(
    st.dictionaries(TEXT, st.none() | TEXT | st.integers() | st.floats(allow_nan=False), max_size=5),
    st.from_regex(r"msg_[A-Za-z0-9]{1,40}", fullmatch=True),
)
def test_standardwebhooks_verifies_signatures(payload, message_id):
    body = json.dumps(payload, ensure_ascii=False).encode()
    fields = webhook_headers(body, message_id=message_id, secrets=[SECRET], timestamp=now())
    assert Webhook(SECRET).verify(body, fields) == payload


@pytest.mark.parametrize("changed", ["body", "id", "timestamp", "secret", "old"])
def test_standardwebhooks_refuses_changed_messages(changed):
    body = b'{"a":1}'
    at = now() - int(timedelta(minutes=6).total_seconds()) if changed == "old" else now()
    fields = webhook_headers(body, message_id="msg_1", secrets=[SECRET], timestamp=at)
    if changed == "id":
        fields["webhook-id"] = "msg_2"
    if changed == "timestamp":
        fields["webhook-timestamp"] = str(at + 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER if changed == "secret" else SECRET).verify(b'{"a":2}' if changed == "body" else body, fields)


def test_account_secret_verifies_only_its_own_webhooks():
    body = b'{"a":1}'
    own, other = account_secret(SECRET, "a" * 12), account_secret(SECRET, "b" * 12)
    fields = webhook_headers(
        body, message_id="msg_1", secrets=secrets_for(SECRET, "a" * 12, shared=False), timestamp=now()
    )
    assert Webhook(own).verify(body, fields) == {"a": 1}
    for secret in (other, SECRET):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, fields)


def test_shared_signature_still_verifies():
    """Receivers that use the service's secret still work while the setting is on."""
    body = b'{"a":1}'
    secrets = secrets_for(SECRET, "a" * 12, shared=True)
    fields = webhook_headers(body, message_id="msg_1", secrets=secrets, timestamp=now(), account="a" * 12)
    assert fields["webhook-account"] == "a" * 12
    for secret in (account_secret(SECRET, "a" * 12), SECRET):
        assert Webhook(secret).verify(body, fields) == {"a": 1}


def test_webhook_without_account_uses_the_service_secret():
    assert secrets_for(SECRET, None, shared=False) == [SECRET]
    assert secrets_for(None, "a" * 12, shared=True) == []


def test_webhook_without_secret_is_unsigned():
    assert "webhook-signature" not in webhook_headers(b"{}", message_id="msg_1", secrets=[], timestamp=1)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_abc", "whsec_" + base64.b64encode(b"short").decode(), SECRET[6:]]
)
def test_invalid_secret_is_refused_and_not_shown(secret):
    with pytest.raises(StartupError, match="CLEARCUT_WEBHOOK_SECRET") as caught:
        signing_key(secret)
    assert not secret[6:] or secret[6:] not in str(caught.value)


def delivering(answer, url=None, **options):
    async def run():
        received = []

        async def record(head, reader, writer):
            lines = dict(line.split(": ", 1) for line in head.decode().rstrip().split("\r\n")[1:])
            fields = {name.lower(): value for name, value in lines.items()}
            received.append((fields, await reader.readexactly(int(fields["content-length"]))))
            await answer(head, reader, writer)

        async with serving(record) as (port, _):
            fetcher = FetchClient(FetchPolicy(allow=(HostRule("127.0.0.1", port=port),)))
            payload = {"jobId": "j1", "name": "Zoë", "n": 1.5}
            target = url or f"http://127.0.0.1:{port}/hook"
            return await deliver(fetcher, target, payload, message_id="msg_1", secrets=[SECRET], **options), received

    return asyncio.run(run())


def test_attempt_delivers_signed_json():
    attempt, ((fields, body),) = delivering(bytes_of(b"HTTP/1.1 204 X\r\n\r\n"))
    assert (attempt.status, attempt.error, attempt.delivered) == (204, None, True)
    assert fields["content-type"] == "application/json"
    assert Webhook(SECRET).verify(body, fields) == {"jobId": "j1", "name": "Zoë", "n": 1.5}


@pytest.mark.parametrize("status", [301, 400, 410, 500])
def test_other_statuses_than_2xx_are_no_delivery(status):
    attempt, received = delivering(bytes_of(redirect("http://169.254.169.254/", status)))
    assert (attempt.status, attempt.error, attempt.delivered) == (status, None, False)
    assert len(received) == 1


def test_failed_attempt_is_returned_not_raised():
    async def hang(head, reader, writer):
        await reader.read()

    attempt, _ = delivering(hang, timeout_s=0.2)
    assert (attempt.status, attempt.delivered) == (None, False)
    assert "0.2 s" in attempt.error
    attempt, received = delivering(hang, url="https://127.0.0.1/hook")
    assert "public IP address" in attempt.error
    assert received == []


def test_fetch_failure_is_a_failed_attempt():
    class Broken:
        async def post(self, *_, **__):
            raise FetchFailed("webhook", "the connection to the server failed", temporary=True)

    attempt = asyncio.run(deliver(Broken(), "https://example.com/", {}, message_id="m"))
    assert attempt.error == "Cannot fetch the URL in 'webhook': the connection to the server failed"


def test_internal_error_is_a_failed_attempt():
    class Failing:
        async def post(self, *_, **__):
            raise RuntimeError("of a library")

    attempt = asyncio.run(deliver(Failing(), "https://example.com/", {}, message_id="m"))
    assert (attempt.status, attempt.delivered, attempt.error) == (None, False, "internal error of the sender")


def test_retry_delays_grow_to_an_hour():
    delays = list(retry_delays(random.Random(1)))
    assert list(WEBHOOK_RETRY_DELAYS) == [min(5 * 4**number, 3600) for number in range(9)]
    assert all(base <= delay <= base * 1.2 for base, delay in zip(WEBHOOK_RETRY_DELAYS, delays, strict=True))
    assert 4 * 3600 < sum(delays) < 6 * 3600
