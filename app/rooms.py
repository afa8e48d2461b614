"""The rooms that a service may do without: each has dependencies of its own, which are imported only where it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import StartupError
from app.fetch.rules import fetch_rules
from app.settings import Settings

if TYPE_CHECKING:
    from app.access.gate import Access
    from app.fetch.fetcher import Fetcher
    from app.jobs.desk import Jobs
    from app.metrics import Metrics
    from app.spans import Spans

NO_CLIENT = "CLEARCUT_FETCH needs an HTTP client: pip install '.[jobs]'"
NO_TRACES = "CLEARCUT_OTEL_ENDPOINT: install the 'otel' extra for traces"


def fetcher(settings: Settings, metrics: Metrics) -> Fetcher | None:
    """For the synchronous routes; None while they take no addresses.

    Raises:
        StartupError: the rules cannot be read, or the client is not installed.
    """
    rules = fetch_rules(settings)
    if not settings.fetch:
        return None
    try:
        from app.fetch.fetcher import Fetcher
    except ImportError:
        raise StartupError(NO_CLIENT) from None
    return Fetcher(rules, ended=metrics.fetch_ended)


def jobs(settings: Settings, access: Access, metrics: Metrics, workers: int) -> Jobs | None:
    """None where they are off."""
    if settings.jobs == "off":
        return None
    from app.jobs.desk import Jobs

    return Jobs(settings, access, metrics, workers)


def spans(settings: Settings) -> Spans | None:
    """None without a collector.

    Raises:
        StartupError: what they need is not installed.
    """
    if not settings.otel_endpoint:
        return None
    try:
        from app.spans import Spans  # a second of imports
    except ModuleNotFoundError:
        raise StartupError(NO_TRACES) from None
    return Spans(settings.otel_endpoint, settings.otel_sample)
