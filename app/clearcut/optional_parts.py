"""The rooms that a service may do without: each has dependencies of its own, which are imported only where it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clearcut.fetch.policy import fetch_policy

from .errors import StartupError
from .settings import Settings

if TYPE_CHECKING:
    from clearcut.accounts.service import AccountService
    from clearcut.fetch.client import FetchClient
    from clearcut.jobs.manager import JobManager
    from clearcut.observability.metrics import Metrics
    from clearcut.observability.tracing import Tracer

NO_CLIENT = "CLEARCUT_FETCH needs an HTTP client: pip install '.[jobs]'"
NO_TRACES = "CLEARCUT_OTEL_ENDPOINT: install the 'otel' extra for traces"


def create_fetcher(settings: Settings, metrics: Metrics) -> FetchClient | None:
    """For the synchronous routes; None while they take no addresses.

    Raises:
        StartupError: the rules cannot be read, or the client is not installed.
    """
    rules = fetch_policy(settings)
    if not settings.fetch:
        return None
    try:
        from clearcut.fetch.client import FetchClient
    except ImportError:
        raise StartupError(NO_CLIENT) from None
    return FetchClient(rules, on_result=metrics.fetch_ended)


def create_jobs(settings: Settings, access: AccountService, metrics: Metrics, workers: int) -> JobManager | None:
    """None where they are off."""
    if settings.jobs == "off":
        return None
    from clearcut.jobs.manager import JobManager

    return JobManager(settings, access, metrics, workers)


def create_tracer(settings: Settings) -> Tracer | None:
    """None without a collector.

    Raises:
        StartupError: what they need is not installed.
    """
    if not settings.otel_endpoint:
        return None
    try:
        from clearcut.observability.tracing import Tracer  # a second of imports
    except ModuleNotFoundError:
        raise StartupError(NO_TRACES) from None
    return Tracer(settings.otel_endpoint, settings.otel_sample)
