"""Every ``CLEARCUT_*`` variable, declared once: name, type, default, bounds and why it is there.

The environment is read when ``load()`` is called, never at import. The README's table is generated from this file
(``make docs``) and a test compares the two.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from app.errors import StartupError

PREFIX = "CLEARCUT_"
MIB = 1024 * 1024


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    # where it listens
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. A public one needs keys (`CLEARCUT_DATABASE_URL`) or "
        "`CLEARCUT_ALLOW_ANONYMOUS=true`.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one and logs it.")
    allow_anonymous: bool = Field(
        False,
        description="Serve callers without a key, on an address that others can reach or beside callers with one.",
    )
    cors_origins: str = Field("", description="Comma-separated browser origins that may call, or `*`. Empty: CORS off.")

    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Serve `/metrics` on this port instead of with everything else; 0 picks a free one and logs it.",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="Address for `CLEARCUT_METRICS_PORT`; what is said there needs no key."
    )

    # who may call, and how much
    database_url: str = Field(
        "",
        description="Where keys and credits are: `sqlite:///clearcut.db` or `postgresql://…`. Empty: no accounts.",
    )
    key_cache_s: float = Field(
        5, ge=0, le=300, description="How long a key is believed once found; so long may a revocation take, seconds."
    )
    requests_per_minute: int = Field(0, ge=0, description="Requests of one key a minute; then 429. 0: no limit.")
    megapixels_per_minute: int = Field(0, ge=0, description="Megapixels of one key a minute; then 429. 0: no limit.")
    concurrent: int = Field(0, ge=0, description="Requests of one key at once; then 429. 0: no limit.")
    limits_url: str = Field(
        "", description="`redis://…` or `valkey://…`: several nodes count the minute together. Empty: each for itself."
    )
    replay_mb: int = Field(
        64, ge=0, description="Memory for answers that are sent again to the same Idempotency-Key, MiB."
    )

    # the model
    model: str = Field("clearcut-s", description="Manifest entry to serve.")
    model_dir: Path | None = Field(None, description="Second folder to look for the model file in, after `models/`.")
    device: Literal["cpu", "cuda", "tensorrt", "auto"] = Field(
        "auto", description="Execution provider. Anything but `auto` refuses to start when it cannot be had."
    )

    cuda_graphs: bool = Field(
        False, description="Replay each batch size as a CUDA graph; worth trying where single pictures must be quick."
    )
    tensorrt_cache: Path | None = Field(
        None, description="Folder for TensorRT's engines (`make tensorrt-cache`). Empty: built at every start, minutes."
    )
    plan_cache: Path | None = Field(
        None,
        description="Folder that keeps, for a month, what the measurement at start chose. Empty: measured every time.",
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "auto",
        description="Which file of the model: `auto` takes a 16-bit one on a GPU, an 8-bit one on a CPU with VNNI if "
        "it is quick there, else 32-bit floats. Anything else refuses to start when the model has no such file.",
    )
    model_mirror: str = Field(
        "",
        description="Base URL from which `python -m app models pull` fetches files by their names, instead of their "
        "publishers' addresses. Nothing is fetched while serving.",
    )

    # limits, checked before the cost they bound
    max_bytes: int = Field(20 * MIB, ge=1024, le=1024 * MIB, description="Largest upload, bytes of the image part.")
    max_megapixels: float = Field(
        50,
        gt=0,
        le=500,
        description="Largest image, read from its header, megapixels. The output of a smaller image is limited to as "
        "many, and to 50.",
    )
    max_side: int = Field(16_384, ge=16, le=65_500, description="Longest side of a picture, pixels.")
    max_scans: int = Field(
        64, ge=1, le=10_000, description="Scans of a progressive JPEG; each costs a pass over the picture."
    )
    max_segments: int = Field(
        1_000, ge=16, le=1_000_000, description="Chunks or segments in a file; floods of them cost parsers seconds."
    )

    # how much at once
    slots: int = Field(
        64, ge=1, le=4096, description="Requests in the house at once; the next one gets 503 with Retry-After."
    )
    inflight_megapixels: float = Field(
        0,
        ge=0,
        description="Decoded megapixels in the house at once; more wait their turn. 0: a quarter of the memory limit.",
    )
    deadline_s: float = Field(
        60, gt=0, le=600, description="From a request's first byte to its answer, seconds; then 504."
    )
    body_stall_s: float = Field(
        10,
        gt=0,
        le=600,
        description="Longest pause within a request body, seconds; then 408. A response must be read at 8 KiB/s over "
        "the same time.",
    )

    # addresses that callers name
    fetch: bool = Field(
        False,
        description="Take pictures by address (`image_url`, `url`, `bg_image_url`) on the synchronous routes; jobs "
        "always do.",
    )
    fetch_allow: str = Field(
        "",
        description="Hosts, `host:port`, `.domain` or networks, comma-separated, that may be private, without https, "
        "and on another port where one is named.",
    )
    fetch_deny: str = Field(
        "",
        description="The same: never reached. `*`: nothing but what `CLEARCUT_FETCH_ALLOW` names.",
    )
    fetch_http: bool = Field(False, description="Fetch from, and call, plain http:// addresses too.")
    fetch_timeout_s: float = Field(
        15, gt=0, le=300, description="A fetch as a whole, from the name to the last byte, seconds."
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="`whsec_…`, base64 of 24 to 64 bytes: signs webhooks (Standard Webhooks). Each account has a "
        "secret derived from it (`python -m app jobs webhook-secret`). Empty: unsigned.",
    )
    webhook_shared_signature: bool = Field(
        True,
        description="Add a signature with `CLEARCUT_WEBHOOK_SECRET` itself to the webhooks of accounts, for receivers "
        "that do not use their account's secret yet. Set to `false` once all do.",
    )

    # inputs and outputs that are kept for a while
    data_dir: Path = Field(Path("clearcut-data"), description="Folder of what jobs keep; made when needed.")
    blobs: str = Field(
        "", description="`s3://bucket/prefix`: keep inputs and outputs there. Empty: in `CLEARCUT_DATA_DIR`."
    )
    blob_ttl_s: float = Field(86_400, ge=60, le=30 * 86_400, description="How long they are kept, seconds.")
    blob_quota_mb: int = Field(
        10_240, ge=1, description="How much may be kept at once, MiB; then new jobs get 503 with Retry-After."
    )
    signing_secret: SecretStr | None = Field(
        None,
        description="Signs the addresses of outputs; the same on every node. Several, comma-separated: the first "
        "signs, all are good. Empty: a random one, kept in `CLEARCUT_DATA_DIR`.",
    )
    public_url: str = Field(
        "", description="Where callers reach this service, for addresses of outputs. Empty: as the request's own."
    )

    # jobs: the asynchronous APIs
    jobs: Literal["off", "sqlite", "postgresql"] = Field(
        "off",
        description="The asynchronous APIs, and what keeps their jobs: a file in `CLEARCUT_DATA_DIR`, for one process, "
        "or PostgreSQL, for several.",
    )
    jobs_url: str = Field(
        "", description="`postgresql://…` of `CLEARCUT_JOBS=postgresql`. Empty: the one in `CLEARCUT_DATABASE_URL`."
    )
    jobs_waiting: int = Field(10_000, ge=1, description="Jobs that may wait; then new ones get 503 with Retry-After.")
    eachlabs_per_minute: int = Field(
        100, ge=0, description="each::labs API: predictions of one key a minute; then 429. 0: no limit."
    )
    eachlabs_concurrent: int = Field(
        10, ge=0, description="each::labs API: unfinished predictions of one key; then 429. 0: no limit."
    )

    # inference
    workers: int = Field(0, ge=0, le=256, description="Threads for decoding and encoding. 0: one per CPU of the quota.")
    lanes: int = Field(
        0,
        ge=0,
        le=64,
        description="Model sessions side by side. 0: chosen by measurement at start on a CPU, 1 on a GPU.",
    )
    intra_op_threads: int = Field(0, ge=0, le=256, description="Threads inside one model run. 0: chosen with `lanes`.")
    buckets: str = Field(
        "",
        pattern=r"^([1-9]\d{0,2}(,[1-9]\d{0,2})*)?$",
        description="Batch sizes to warm up, e.g. `1,2,4,8`. Empty: chosen by measurement at start.",
    )
    max_delay_ms: float = Field(
        5, ge=0, le=1000, description="Longest wait of a batch for requests known to be arriving, milliseconds."
    )
    watchdog_s: float = Field(
        60, gt=0, le=3600, description="A single model run longer than this is a hang: the process gives up, seconds."
    )

    # what it tells of itself
    otel_endpoint: str = Field(
        "",
        pattern=r"^(https?://[^@\s]+)?$",
        description="`http://collector:4318`: traces go there, as OTLP over HTTP, with the headers in "
        "`OTEL_EXPORTER_OTLP_HEADERS`. Empty: none.",
    )
    otel_sample: float = Field(
        1, ge=0, le=1, description="Share of requests that are traced, where the caller's `traceparent` does not say."
    )

    # leaving
    drain_delay_s: float = Field(
        0,
        ge=0,
        le=120,
        description="After SIGTERM: how long `/readyz` says 503 while requests are still taken, seconds.",
    )
    drain_timeout_s: float = Field(
        65, gt=0, le=900, description="Then: how long accepted requests may take to finish, seconds."
    )

    @property
    def bucket_sizes(self) -> tuple[int, ...]:
        return tuple(int(size) for size in self.buckets.split(",")) if self.buckets else ()

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe line that is logged."
    )


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment; all faults are reported together, each naming its variable.

    Raises:
        StartupError: a variable is malformed, out of range, or unknown (with a suggestion).
    """
    settings, faults = read(environ)
    if faults:
        raise StartupError("; ".join(faults))
    return settings


def read(environ: Mapping[str, str] | None = None) -> tuple[Settings, list[str]]:
    """(the settings, with the default wherever a variable is at fault; the faults, each naming its variable)."""
    env = os.environ if environ is None else environ
    given = {
        name[len(PREFIX) :].lower(): value
        for name, value in env.items()
        if name.upper().startswith(PREFIX) and value != ""
    }
    faults = [
        f"{PREFIX}{name.upper()}: unknown setting{_hint(name)}" for name in given if name not in Settings.model_fields
    ]
    known = {name: value for name, value in given.items() if name in Settings.model_fields}
    try:
        return Settings.model_validate(known), faults
    except ValidationError as exc:
        wrong = {str(err["loc"][0]) for err in exc.errors()}
        faults += [
            f"{PREFIX}{str(err['loc'][0]).upper()}: {err['msg']}{_got(str(err['loc'][0]), err['input'])}"
            for err in exc.errors()
        ]
    return Settings.model_validate({name: value for name, value in known.items() if name not in wrong}), faults


def _got(name: str, value: object) -> str:
    """The value that was given, unless it is a secret or may hold a password."""
    return "" if "secret" in name or name.endswith(("_url", "_endpoint")) else f" (got {value!r})"


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {PREFIX}{close[0].upper()}?" if close else ""
