"""One webhook: its signature after the Standard Webhooks specification, and one attempt to deliver it."""

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
_FIRST_S = 5.0
_LONGEST_S = 3600.0


class WebhookClient(Protocol):
    """What of ``fetch.Fetcher`` is used here."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> int: ...


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """For the job's delivery log."""

    status: int | None
    """Of the answer; None where there was none."""
    error: str | None
    """Why there was none, in public words."""
    at: float
    """When it was sent, Unix time."""
    took_s: float

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def signing_key(secret: str) -> bytes:
    """The bytes of a ``whsec_…`` secret.

    Raises:
        StartupError: it is not ``whsec_`` and base64 of 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise StartupError(f"CLEARCUT_WEBHOOK_SECRET: expected {PREFIX} and base64 of 24 to 64 bytes")
    return key


def account_secret(secret: str, account: str) -> str:
    """The ``whsec_…`` secret of one account: HMAC-SHA256 of its id under the service's secret.

    Raises:
        StartupError: ``secret`` is not ``whsec_`` and base64 of 24 to 64 bytes.
    """
    key = hmac.digest(signing_key(secret), f"clearcut-webhook\n{account}".encode(), hashlib.sha256)
    return PREFIX + base64.b64encode(key).decode()


def secrets_for(secret: str | None, account: str | None, *, shared: bool) -> list[str]:
    """The secrets that sign a webhook; none if the service has no secret.

    Args:
        shared: sign an account's webhooks with the service's secret too, after its own.
    """
    if secret is None:
        return []
    if account is None:
        return [secret]
    return [account_secret(secret, account), *([secret] if shared else [])]


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature of ``webhook-signature``."""
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def webhook_headers(
    body: bytes, *, message_id: str, secrets: Sequence[str], timestamp: int, account: str | None = None
) -> dict[str, str]:
    """The headers of one delivery, with one signature for each of ``secrets``."""
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
    fetcher: WebhookClient,
    url: str,
    payload: Mapping[str, Any],
    *,
    message_id: str,
    secrets: Sequence[str] = (),
    account: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> DeliveryAttempt:
    """Send ``payload`` once; never raises for what the other side does.

    Args:
        message_id: the same in every attempt at one message, so that a receiver can tell a repetition.
        secrets: ``whsec_…``, one signature each; none leaves it unsigned.
        account: id of the account whose job it is.
    """
    body = json.dumps(payload, separators=(",", ":")).encode()
    at, begun = time.time(), time.monotonic()
    status, error = None, None
    try:
        fields = webhook_headers(body, message_id=message_id, secrets=secrets, timestamp=int(at), account=account)
        status = await fetcher.post(url, body, fields, timeout_s=timeout_s)
    except (UrlRefused, FetchFailed) as exc:
        error = exc.details
    except Exception:  # the next attempt comes all the same
        log.exception("a webhook met a fault of ours", extra={"fields": {"message": message_id}})
        error = "an error on this side"
    return DeliveryAttempt(status, error, at, round(time.monotonic() - begun, 3))


def retry_delays(attempts: int = 10, rng: random.Random | None = None) -> Iterator[float]:
    """Seconds to wait before each further attempt: 5, 20, 80 … up to an hour, each up to a fifth longer by chance.

    Args:
        attempts: all of them, the first included; ten take about five hours.
    """
    chance = rng or random.Random()  # nosec B311 # noqa: S311 - spreads load, keeps no secret
    for number in range(attempts - 1):
        yield min(_FIRST_S * 4**number, _LONGEST_S) * (1 + 0.2 * chance.random())
