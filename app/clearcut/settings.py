"""Every ``CLEARCUT_*`` variable, declared once: name, type, default, bounds and description.

``clearcut.environment`` reads the variables. ``make docs`` generates the table in ``docs/configuration.md`` from this
file, and a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from .model_settings import ModelSettings

PREFIX = "CLEARCUT_"
MIB = 1024 * 1024


class Settings(ModelSettings):
    """The configuration of one process."""

    # listening sockets
    host: str = Field(
        "127.0.0.1",
        description="IP address to listen on. Addresses that other machines can reach need API keys "
        "(`CLEARCUT_DATABASE_URL`) or `CLEARCUT_ALLOW_ANONYMOUS=true`.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on. 0 selects a free port and logs it.")
    allow_anonymous: bool = Field(
        False, description="`true`: serve requests without an API key. With accounts these requests are free."
    )
    cors_origins: str = Field(
        "", description="Comma-separated browser origins that may call the API, or `*`. Empty: CORS is off."
    )
    playground: bool = Field(True, description="Serve the [page for browsers](playground.md) at `/`.")

    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Serve `/metrics` on this port instead of the main port. 0 selects a free port and logs it.",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="IP address for `CLEARCUT_METRICS_PORT`. Requests to this port need no API key."
    )

    # accounts and rate limits
    database_url: str = Field(
        "", description="Database of accounts: `sqlite:///clearcut.db` or `postgresql://…`. Empty: no accounts."
    )
    key_cache_s: float = Field(
        5,
        ge=0,
        le=300,
        description="Time for which API keys are cached, seconds. A revoked key can work this long on routes that "
        "process no image.",
    )
    requests_per_minute: int = Field(
        0, ge=0, description="Maximum requests per minute for each key; further requests get 429. 0: no limit."
    )
    megapixels_per_minute: int = Field(
        0, ge=0, description="Maximum megapixels per minute for each key; further requests get 429. 0: no limit."
    )
    concurrent: int = Field(
        0, ge=0, description="Maximum concurrent requests for each key; further requests get 429. 0: no limit."
    )
    limits_url: str = Field(
        "",
        description="URL of a Redis or Valkey server (`redis://…` or `valkey://…`), in which all nodes count "
        "the limits per "
        "minute together. Empty: each node counts alone.",
    )
    replay_mb: int = Field(
        64, ge=0, description="Memory for stored responses of requests with an Idempotency-Key, in MiB."
    )

    # input limits, checked before the work they limit
    max_bytes: int = Field(20 * MIB, ge=1024, le=1024 * MIB, description="Maximum size of an uploaded image, in bytes.")
    max_megapixels: float = Field(
        50,
        gt=0,
        le=500,
        description="Maximum size of an input image, megapixels. An output can always be as large as its input. A "
        "larger output is limited to this setting or to 50 megapixels, whichever is lower.",
    )
    max_side: int = Field(16_384, ge=16, le=65_500, description="Maximum width and height of an image, in pixels.")
    max_scans: int = Field(
        64,
        ge=1,
        le=10_000,
        description="Maximum number of scans in a progressive JPEG. Each scan is a pass over the image.",
    )
    max_segments: int = Field(
        1_000,
        ge=16,
        le=1_000_000,
        description="Maximum number of parts in a file: JPEG segments, PNG or WebP chunks, GIF blocks, AVIF and "
        "HEIC items.",
    )

    # concurrency and timeouts
    slots: int = Field(
        64, ge=1, le=4096, description="Maximum concurrent requests; further requests get 503 with Retry-After."
    )
    inflight_megapixels: float = Field(
        0,
        ge=0,
        description="Maximum decoded megapixels in memory; further requests wait. 0: as many as fit into a "
        "quarter of the memory "
        "limit, with 29 bytes for each pixel, but at least `CLEARCUT_MAX_MEGAPIXELS`.",
    )
    deadline_s: float = Field(
        60,
        gt=0,
        le=600,
        description="Maximum time from the first byte of a request to its response, seconds; then 504.",
    )
    body_stall_s: float = Field(
        10,
        gt=0,
        le=600,
        description="Maximum pause in a request body, in seconds. After this time the request gets 408, or the "
        "connection closes if the response is already sent. The service also disconnects clients that read a response "
        "at less than 8 KiB/s, averaged over this time.",
    )

    # URLs in requests
    fetch: bool = Field(
        False,
        description="`true`: synchronous requests may contain URLs of images (`image_url`, `url`, `bg_image_url`). "
        "Jobs accept URLs even if it is `false`. Needs the extra `jobs`.",
    )
    fetch_allow: str = Field(
        "",
        description="Exceptions to the [rules for URLs](url-input.md#rules): comma-separated hosts, `host:port`, "
        "`.domain` or networks. For these, private IP addresses and `http://` URLs are allowed. An entry `host:port` "
        "also allows that port. All other public hosts stay allowed.",
    )
    fetch_deny: str = Field(
        "",
        description="Comma-separated list of hosts, `host:port`, `.domain` or networks that the service never "
        "connects to. `*` denies all hosts that `CLEARCUT_FETCH_ALLOW` does not name.",
    )
    fetch_http: bool = Field(False, description="`true`: allow `http://` URLs of images and webhooks.")
    fetch_timeout_s: float = Field(
        15, gt=0, le=300, description="Timeout of one download, in seconds. It includes the DNS lookup."
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="Secret that signs webhooks (Standard Webhooks): `whsec_` and base64 of 24 to 64 bytes. Each "
        "account has its own secret, derived from this one; `.venv/bin/clearcut jobs webhook-secret` prints "
        "that of an account. "
        "Empty: webhooks are not signed.",
    )
    webhook_shared_signature: bool = Field(
        True,
        description="`true`: webhooks of accounts have a second signature, made with `CLEARCUT_WEBHOOK_SECRET` "
        "itself. Set it to `false` when all receivers use the secret of their account.",
    )

    # stored inputs and outputs
    data_dir: Path = Field(
        Path("clearcut-data"), description="Folder for stored inputs, outputs and jobs. Created when needed."
    )
    blobs: str = Field(
        "",
        description="`s3://bucket/prefix`: bucket for stored inputs and outputs. Empty: they are stored in "
        "`CLEARCUT_DATA_DIR`.",
    )
    blob_ttl_s: float = Field(86_400, ge=60, le=30 * 86_400, description="Lifetime of stored outputs, in seconds.")
    blob_quota_mb: int = Field(
        10_240,
        ge=1,
        description="Maximum size of all stored inputs and outputs, in MiB; further jobs get 503 with Retry-After.",
    )
    signing_secret: SecretStr | None = Field(
        None,
        description="Secret that signs the URLs of outputs. Use the same value on all nodes. It can be a comma-"
        "separated list: the first secret signs, and URLs signed with any of them are valid. Empty: a random secret, "
        "stored in `CLEARCUT_DATA_DIR`.",
    )
    public_url: str = Field(
        "",
        description="Base URL of this service in the URLs of outputs and in the examples of `/docs`, with the path "
        "prefix of a proxy. Empty: taken from each request.",
    )

    # jobs (asynchronous APIs)
    jobs: Literal["off", "sqlite", "postgresql"] = Field(
        "off",
        description="Enables the asynchronous APIs. `sqlite`: the queue is a file in `CLEARCUT_DATA_DIR`, for one "
        "process. `postgresql`: for several processes.",
    )
    jobs_url: str = Field(
        "", description="`postgresql://…` for `CLEARCUT_JOBS=postgresql`. Empty: the value of `CLEARCUT_DATABASE_URL`."
    )
    jobs_waiting: int = Field(
        10_000, ge=1, description="Maximum number of waiting jobs; further jobs get 503 with Retry-After."
    )
    eachlabs_per_minute: int = Field(
        100, ge=0, description="each::labs API: maximum predictions per minute for each key, then 429. 0: no limit."
    )
    eachlabs_concurrent: int = Field(
        10, ge=0, description="each::labs API: maximum unfinished predictions for each key, then 429. 0: no limit."
    )

    # inference
    workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads that decode and encode images. 0: one for each CPU that the process may use.",
    )
    lanes: int = Field(
        0, ge=0, le=64, description="Number of parallel model sessions. 0: measured at start on a CPU, 1 on a GPU."
    )
    intra_op_threads: int = Field(
        0, ge=0, le=256, description="Threads of one model session. 0: measured at start with `CLEARCUT_LANES`."
    )
    buckets: str = Field(
        "",
        pattern=r"^([1-9]\d{0,2}(,[1-9]\d{0,2})*)?$",
        description="Batch sizes that the service prepares, such as `1,2,4,8`. Empty: measured at start.",
    )
    max_delay_ms: float = Field(
        5, ge=0, le=1000, description="Maximum time that a batch waits for uploads in progress, milliseconds."
    )
    watchdog_s: float = Field(
        60, gt=0, le=3600, description="Maximum duration of one model run, seconds. Then the process exits with code 1."
    )

    # traces
    otel_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^@\s]+)?$",
        description="URL of an OpenTelemetry collector, such as `http://collector:4318`. Traces go there as OTLP over"
        " HTTP, with the headers in `OTEL_EXPORTER_OTLP_HEADERS`. Empty: no traces.",
    )
    otel_sample: float = Field(
        1,
        ge=0,
        le=1,
        description="Share of requests that are traced, 0 to 1. The `traceparent` of a request overrides it.",
    )

    # shutdown
    drain_delay_s: float = Field(
        0,
        ge=0,
        le=120,
        description="Seconds after SIGTERM during which requests are still accepted, while `/readyz` already "
        "returns 503.",
    )
    drain_timeout_s: float = Field(
        65,
        gt=0,
        le=900,
        description="Maximum time for accepted requests to finish after `CLEARCUT_DRAIN_DELAY_S`, seconds.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum level of log lines: `debug`, `info`, `warning` or `error`."
    )

    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="`json`: one JSON object for each event. `text`: readable lines. `auto`: `text` if standard "
        "output is a terminal, else `json`.",
    )

    @property
    def bucket_sizes(self) -> tuple[int, ...]:
        """The batch sizes in ``buckets``; empty if they are to be measured."""
        return tuple(int(size) for size in self.buckets.split(",")) if self.buckets else ()
