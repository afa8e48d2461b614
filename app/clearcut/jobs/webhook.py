"""Webhooks: signature (Standard Webhooks specification), one delivery attempt, and the delays between attempts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clearcut.errors import FetchFailed, StartupError, UrlRefused

log = logging.getLogger("clearcut")

PREFIX = "whsec_"
TIMEOUT_S = 30.0
"""Timeout of one delivery attempt in seconds."""
WEBHOOK_RETRY_DELAYS = (5, 20, 80, 320, 1280, 3600, 3600, 3600, 3600)
"""Seconds before each further attempt: ten attempts in about five hours.

``docs/jobs.md`` lists them. A shorter list also ends deliveries in progress earlier.
"""
WEBHOOK_RETRY_JITTER = 0.2
"""Each delay is up to this fraction longer, at random."""


class WebhookClient(Protocol):
    """The part of ``fetch.client.FetchClient`` that webhooks need."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> int: ...


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """The result of one attempt, for the delivery log of the job. The fields are stored."""

    status: int | None
    """HTTP status of the response; None without a response."""
    error: str | None
    """Public reason why no response was received."""
    at: float
    """Time of the attempt, Unix time in seconds."""
    took_s: float
    """Duration in seconds."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver responded with 2xx."""
        return self.status is not None and 200 <= self.status < 300


def signing_key(secret: str) -> bytes:
    """Decode a ``whsec_…`` secret.

    Raises:
        StartupError: the secret is not ``whsec_`` and base64 of 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise StartupError(f"CLEARCUT_WEBHOOK_SECRET: expected {PREFIX} and base64 of 24 to 64 bytes")
    return key


def account_secret(secret: str, account: str) -> str:
    """Derive the ``whsec_…`` secret of an account: HMAC-SHA256 of its id with the service's secret.

    Raises:
        StartupError: ``secret`` is malformed.
    """
    key = hmac.digest(signing_key(secret), f"clearcut-webhook\n{account}".encode(), hashlib.sha256)
    return PREFIX + base64.b64encode(key).decode()


def secrets_for(secret: str | None, account: str | None, *, shared: bool) -> list[str]:
    """Return the secrets that sign a webhook; empty if the service has no secret.

    Args:
        secret: the secret of the service.
        account: id of the account; None for a caller without an account.
        shared: also sign the webhooks of accounts with the service's secret.
    """
    if secret is None:
        return []
    if account is None:
        return [secret]
    return [account_secret(secret, account), *([secret] if shared else [])]


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature for the ``webhook-signature`` header."""
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def webhook_headers(
    body: bytes, *, message_id: str, secrets: Sequence[str], timestamp: int, account: str | None = None
) -> dict[str, str]:
    """Return the headers of one delivery, with one signature for each secret.

    Args:
        timestamp: Unix time in seconds.
    """
    fields = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
    }
    if account is not None:
        fields["webhook-account"] = account
    if secrets:
        signatures = [sign(signing_key(secret), message_id, timestamp, body) for secret in secrets]
        fields["webhook-signature"] = " ".join(signatures)
    return fields


async def deliver(
    client: WebhookClient,
    url: str,
    payload: Mapping[str, Any],
    *,
    message_id: str,
    secrets: Sequence[str] = (),
    account: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> DeliveryAttempt:
    """Send a webhook once. A failed delivery is returned, not raised.

    Args:
        payload: the body, sent as JSON.
        message_id: the same for all attempts, so that a receiver can recognize a repeated message.
        secrets: ``whsec_…`` secrets that sign; empty for no signature.
        account: id of the account of the job.
    """
    body = json.dumps(payload, separators=(",", ":")).encode()
    at, started = time.time(), time.monotonic()
    status, error = None, None
    try:
        fields = webhook_headers(body, message_id=message_id, secrets=secrets, timestamp=int(at), account=account)
        status = await client.post(url, body, fields, timeout_s=timeout_s)
    except (UrlRefused, FetchFailed) as exc:
        error = exc.details
    except Exception:  # the delivery is retried in any case
        log.exception("webhook failed with an internal error", extra={"fields": {"message": message_id}})
        error = "internal error of the sender"
    return DeliveryAttempt(status, error, at, round(time.monotonic() - started, 3))


def retry_delays(rng: random.Random | None = None) -> Iterator[float]:
    """Yield the seconds to wait before each further attempt: ``WEBHOOK_RETRY_DELAYS`` with jitter."""
    jitter = rng or random.Random()  # nosec B311 # noqa: S311 - spreads load, no secret
    for delay in WEBHOOK_RETRY_DELAYS:
        yield delay * (1 + WEBHOOK_RETRY_JITTER * jitter.random())
