"""Every Prometheus series: its name, help text, labels and buckets.

Label values are bounded: route template, status, error code or reason, output format, stage name. A raw path, a request
id or an API key is never a label. Each service has its own ``Metrics`` and registry, so two services in one process (in
tests) do not share counters.
"""

from __future__ import annotations

import platform
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    exposition,
)

from clearcut import __version__

_LATENCY = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.4, 0.6, 1, 1.5, 2.5, 4, 6, 10, 15, 30, 60)
_STAGE = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1, 2, 4, 8, 16, 30)
_JOB = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
_BATCH = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_MEGAPIXELS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 12, 16, 24, 32, 50)
_BYTES = (10e3, 30e3, 100e3, 300e3, 1e6, 3e6, 10e6, 20e6, 50e6, 100e6)


class ModelMetrics:
    """The series of one model. Implements ``inference.types.BatchObserver``."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._metrics = metrics
        self._model = model
        metrics.batch_size.labels(model)  # the series exists before the first run

    def batch_done(self, size: int, bucket: int, run_s: float) -> None:
        """Record a run; see ``inference.types.BatchObserver``."""
        self._metrics.batch_size.labels(self._model).observe(size)
        self._metrics.batch_seconds.labels(self._model, str(bucket)).observe(run_s)

    def entry_dropped(self, reason: str) -> None:
        """Record an image that left the queue without a run; see ``inference.types.BatchObserver``."""
        self._metrics.queue_dropped.labels(self._model, reason).inc()

    def connect_queue(self, depth: Callable[[], int], capacity: int) -> None:
        """Let the gauges of the queue read their values when they are scraped."""
        self._metrics.queue_depth.labels(self._model).set_function(depth)
        self._metrics.queue_capacity.labels(self._model).set(capacity)


class Metrics:
    """The series of one service. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        ProcessCollector(registry=r)  # RSS, CPU, descriptors, start time
        PlatformCollector(registry=r)

        self.requests = Counter(
            "clearcut_requests", "Responses sent, by route template, status, error code and output format.",
            ["route", "status", "code", "format"], registry=r,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "clearcut_request_seconds",
            "Time from the first byte of a request until its response is written to the socket.",
            ["route"], buckets=_LATENCY, registry=r,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "clearcut_stage_seconds", "Time in each pipeline stage. The label `stage` has the names in the "
            "header `Server-Timing`.",
            ["stage"], buckets=_STAGE, registry=r,
        )  # fmt: skip
        self.batch_size = Histogram(
            "clearcut_batch_size", "Images in one run of a model, without padding. A second pass counts as an image.",
            ["model"], buckets=_BATCH, registry=r,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "clearcut_batch_seconds", "Duration of one run of a model.",
            ["model", "bucket"], buckets=_STAGE, registry=r,
        )  # fmt: skip
        self.rejected = Counter(
            "clearcut_rejected", "Requests rejected before processing, by reason.", ["reason"], registry=r
        )
        self.charges = Counter(
            "clearcut_charges",
            "Requests that use credits, by outcome: the reserved credit was charged, the reserved credit was "
            "returned, or the request repeated a charged request and was free.",
            ["outcome"], registry=r,
        )  # fmt: skip
        self.cancelled = Counter(
            "clearcut_cancelled", "Requests cancelled because the client closed the connection, by pipeline stage.",
            ["stage"], registry=r,
        )  # fmt: skip
        self.expired = Counter(
            "clearcut_expired", "Requests that exceeded their deadline, by pipeline stage.", ["stage"], registry=r
        )
        self.queue_dropped = Counter(
            "clearcut_queue_dropped", "Images removed from a model's queue without a run, by reason.",
            ["model", "reason"], registry=r,
        )  # fmt: skip
        self.fetches = Counter(
            "clearcut_fetches",
            "Requests to URLs that clients sent (images and webhooks), by outcome: done, refused by the "
            "rules for URLs, or failed.",
            ["outcome"], registry=r,
        )  # fmt: skip
        self.input_megapixels = Histogram(
            "clearcut_input_megapixels", "Size of accepted images, megapixels.", buckets=_MEGAPIXELS, registry=r
        )
        self.input_bytes = Histogram(
            "clearcut_input_bytes", "Size of accepted uploads, bytes.", buckets=_BYTES, registry=r
        )
        self.output_bytes = Histogram(
            "clearcut_output_bytes", "Size of returned images, bytes.", buckets=_BYTES, registry=r
        )

        self.ready = Gauge("clearcut_ready", "1 while /readyz returns 200.", registry=r)
        self.jobs = Counter(
            "clearcut_jobs", "Finished jobs, by API and outcome: completed or the reason of the failure.",
            ["dialect", "outcome"], registry=r,
        )  # fmt: skip
        self.job_seconds = Histogram(
            "clearcut_job_seconds", "Time from the acceptance of a job to its end.", buckets=_JOB, registry=r
        )
        self.jobs_accepted = Counter("clearcut_jobs_accepted", "Accepted jobs, by API.", ["dialect"], registry=r)
        self.webhook_attempts = Counter(
            "clearcut_webhook_attempts",
            "Webhook calls, by outcome: delivered, refused by the receiver, or unreachable.",
            ["outcome"], registry=r,
        )  # fmt: skip
        self.event_loop_lag = Gauge(
            "clearcut_event_loop_lag_seconds", "Delay of the last heartbeat of the event loop.", registry=r
        )
        self.slots = Gauge("clearcut_slots", "Maximum concurrent requests.", registry=r)
        self.slots_used = Gauge("clearcut_slots_used", "Current concurrent requests.", registry=r)
        self.slow_uploads = Gauge(
            "clearcut_slow_uploads",
            "Current uploads that are so slow that they no longer hold a request slot.",
            registry=r,
        )
        self.inflight_pixels = Gauge("clearcut_inflight_pixels", "Decoded pixels in memory.", registry=r)
        self.inflight_pixels_capacity = Gauge(
            "clearcut_inflight_pixels_capacity", "Maximum decoded pixels in memory.", registry=r
        )
        self.pool_depth = Gauge("clearcut_pool_depth", "Tasks that wait for a thread of the image pool.", registry=r)
        self.queue_depth = Gauge("clearcut_queue_depth", "Images that wait for a model.", ["model"], registry=r)
        self.queue_capacity = Gauge(
            "clearcut_queue_capacity", "Maximum number of images that wait for a model.", ["model"], registry=r
        )
        self.jobs_queued = Gauge(
            "clearcut_jobs_queued", "Jobs that wait, on all nodes. 0 while jobs are disabled.", registry=r
        )
        self.jobs_processing = Gauge(
            "clearcut_jobs_processing", "Jobs in progress, on all nodes. 0 while jobs are disabled.", registry=r
        )
        self._build = Info("clearcut_build", "Version of the service and of Python.", registry=r)
        self._build.info({"version": __version__, "python": platform.python_version()})
        self._model = Info("clearcut_model", "The served models.", ["name"], registry=r)

    def add_model(self, labels: dict[str, str]) -> ModelMetrics:
        """Set the labels of ``clearcut_model`` for a model, and return its series."""
        self._model.labels(labels["name"]).info({key: value for key, value in labels.items() if key != "name"})
        return ModelMetrics(self, labels["name"])

    def fetch_ended(self, outcome: str) -> None:
        """Record an outgoing request: done, refused or failed."""
        self.fetches.labels(outcome).inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Encode all series.

        Args:
            accept: the Accept header of the scraper.

        Returns:
            The body and its content type: OpenMetrics if ``accept`` asks for it, else the Prometheus text format.
        """
        encode, content_type = exposition.choose_encoder(accept)
        return encode(self.registry), content_type
