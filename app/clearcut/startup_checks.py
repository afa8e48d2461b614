"""The list of start-up checks: ``check`` runs and prints all of them, and ``serve`` refuses to start if one fails.

A new check is one function and one line in ``STARTUP_CHECKS``. ``serve`` skips the checks that the start itself repeats
(``at_start=False``): the start binds the port or loads the model and refuses with the same error.

No check writes anything: a port is bound and released, and a database is only read.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clearcut.accounts.rate_limits import RateLimiter
from clearcut.accounts.schema import check_database
from clearcut.environment import read_settings
from clearcut.errors import StartupError, missing_extra
from clearcut.fetch.policy import fetch_policy
from clearcut.inference.edge_model import OnnxEdgeModel, find_edge_model
from clearcut.inference.manifest import models_folder
from clearcut.inference.moderation import HOW_TO_GET, load_moderator
from clearcut.inference.runtime import runtime_version
from clearcut.inference.startup.load import load_served_models
from clearcut.memory_estimate import estimate_memory
from clearcut.service import NO_FETCH_CLIENT, NO_TRACER
from clearcut.settings import MIB, Settings
from clearcut.storage.factory import blob_store, signing_secrets
from clearcut.system import cpu_quota, listen_error, memory_high_water, memory_limit, memory_used

Severity = Literal["ok", "note", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check."""

    severity: Severity
    """``ok``; ``note``: worth reading; ``error``: the service cannot start, or runs out of memory."""
    topic: str
    """One word, such as ``port``."""
    text: str

    def __str__(self) -> str:
        return f"{self.severity:5}  {self.topic:10}  {self.text}"


@dataclass(frozen=True, slots=True)
class StartupCheck:
    """One entry of ``STARTUP_CHECKS``."""

    run: Callable[[Settings], Iterator[Finding]]
    """Yields the findings. A ``StartupError`` becomes an error under ``topic``."""
    topic: str
    at_start: bool = True
    """False if the start of a service repeats the check, or if the check needs a loaded model."""

    def findings(self, settings: Settings) -> Iterator[Finding]:
        try:
            yield from self.run(settings)
        except StartupError as exc:
            yield Finding("error", self.topic, str(exc))


def run_checks(environ: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Run all checks and yield their findings. This takes seconds, because the model is loaded and run.

    Args:
        environ: variables by name; None reads the process environment. An invalid variable is reported, and the other
            checks run with its default.
    """
    settings, errors = read_settings(environ)
    yield from (Finding("error", "settings", error) for error in errors)
    if not errors:
        yield Finding("ok", "settings", f"{len(settings.model_fields_set)} set, defaults for the others")
    for check in STARTUP_CHECKS:
        yield from check.findings(settings)


def require_startable(settings: Settings) -> None:
    """Run the checks of a start.

    Raises:
        StartupError: a check failed. The text lists all errors.
    """
    checks = (check for check in STARTUP_CHECKS if check.at_start)
    findings = [finding for check in checks for finding in check.findings(settings)]
    if errors := [finding.text for finding in findings if finding.severity == "error"]:
        raise StartupError("; ".join(errors))


def check_public_access(settings: Settings) -> Iterator[Finding]:
    """A public address needs API keys or an explicit permission."""
    if not (settings.allow_anonymous or settings.database_url or is_loopback(settings.host)):
        raise StartupError(
            f"CLEARCUT_HOST={settings.host} is reachable from other machines and no API keys are configured. Set "
            "CLEARCUT_DATABASE_URL and create keys (clearcut keys create NAME), or set "
            "CLEARCUT_ALLOW_ANONYMOUS=true to serve all clients that can reach it, or listen on 127.0.0.1"
        )
    yield from ()


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is an address or the name of this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_ports(settings: Settings) -> Iterator[Finding]:
    """The ports must be free."""
    yield _check_port("port", settings.host, settings.port)
    if settings.metrics_port is not None:
        if settings.metrics_port == settings.port != 0:
            text = f"CLEARCUT_METRICS_PORT={settings.metrics_port} is also CLEARCUT_PORT"
            yield Finding("error", "metrics", text)
        else:
            yield _check_port("metrics", settings.metrics_host, settings.metrics_port)


def _check_port(topic: str, host: str, port: int) -> Finding:
    if reason := listen_error(host, port):
        return Finding("error", topic, f"cannot listen on {host}:{port}: {reason}")
    return Finding("ok", topic, f"{host}:{port} is free" if port else f"{host}, with a port selected at start")


def check_model(settings: Settings) -> Iterator[Finding]:
    """All models and the edge model must load, run and pass the self-test, within the memory of models."""
    models = load_served_models(settings, save_plan=False)
    for model in models:
        entry, plan = model.entry, model.plan
        text = f"{entry.name}, {entry.licence}, {model.path}, correct sha256 {entry.sha256}, {_mib(model.memory_bytes)}"
        yield Finding("ok", "model", text)
        yield Finding(
            "ok",
            "provider",
            f"{entry.name}: {plan.device} (onnxruntime {runtime_version()}), {plan.lanes} session(s) of "
            f"{plan.intra_op_threads} thread(s), batches of {', '.join(map(str, plan.buckets))}, about "
            f"{plan.images_per_s:.1f} images/s",
        )
        yield from (Finding("note", "provider", f"{entry.name}: {note}") for note in plan.notes)
        if (seconds := min(plan.cost_s.values())) > settings.deadline_s:
            yield Finding(
                "error", "provider", f"{entry.name}: a run takes {seconds:.1f} s, more than CLEARCUT_DEADLINE_S"
            )
    if any(model.entry.edges for model in models):
        yield from StartupCheck(_check_edge_model, "edges").findings(settings)
    yield Finding("ok", "self-test", f"correct for {', '.join(model.entry.name for model in models)}")


def _check_edge_model(_: Settings) -> Iterator[Finding]:
    path, data = find_edge_model(models_folder())
    OnnxEdgeModel(path, data)
    yield Finding("ok", "edges", f"{path}, correct sha256 {hashlib.sha256(data).hexdigest()}")


def check_moderation(settings: Settings) -> Iterator[Finding]:
    """A classifier for moderation must load and run."""
    moderator = load_moderator(settings.model_dir, limits=settings.moderation_thresholds)
    if moderator is None:
        yield Finding("ok", "moderation", f"not run, because there is no classifier. {HOW_TO_GET}")
        return
    limits = ", ".join(f"{label} {limit:g}" for label, limit in moderator.thresholds.items())
    yield Finding("ok", "moderation", f"{moderator.file}, correct sha256 {moderator.sha256}, refuses at {limits}")


def check_memory(settings: Settings) -> Iterator[Finding]:
    """The largest permitted load must fit into the memory limit. Run this check with the model loaded."""
    # A run of a large further model takes more memory than the loaded model. The peak of its start includes a run.
    base = memory_high_water() if settings.further_models else memory_used()
    yield memory_finding(settings, base, memory_limit(), settings.workers or cpu_quota())


def memory_finding(settings: Settings, base: int, limit: int, workers: int) -> Finding:
    """Compare the memory of the largest permitted load with ``limit``; see ``estimate_memory`` for the arguments."""
    load = estimate_memory(settings, base, limit, workers)
    if (smallest := load.base + load.largest_image) > limit:
        text = (
            f"one image of CLEARCUT_MAX_MEGAPIXELS={settings.max_megapixels:g} needs {_mib(smallest)}, and the limit "
            f"is {_mib(limit)}: lower it, or provide more memory"
        )
        return Finding("error", "memory", text)
    text = (
        f"{_mib(load.base)} with the model, {_mib(load.images)} for images, {_mib(load.uploads)} for {settings.slots} "
        f"requests with the largest bodies and files, {_mib(load.responses)} for responses, {_mib(load.replays)} for "
        f"stored responses: {_mib(load.total)} of {_mib(limit)}"
    )
    if load.total > limit:
        text += ". Lower CLEARCUT_SLOTS, CLEARCUT_MAX_BYTES or CLEARCUT_INFLIGHT_MEGAPIXELS"
        return Finding("note", "memory", text)
    return Finding("ok", "memory", text)


def _mib(count: int) -> str:
    return f"{count / MIB:.0f} MiB"


def check_accounts(settings: Settings) -> Iterator[Finding]:
    """The database of keys and credits must be usable."""
    if settings.database_url:
        yield Finding("ok", "accounts", f"keys and credits in {check_database(settings.database_url)}")
    else:
        yield Finding("ok", "accounts", "none: all clients that can reach the service may use it")


def check_rate_limits(settings: Settings) -> Iterator[Finding]:
    """The URL of the rate-limit store must be valid and its client installed."""
    if settings.database_url:
        RateLimiter(settings.limits_url)
    yield from ()


def check_fetch(settings: Settings) -> Iterator[Finding]:
    """The rules for URLs must be valid, and the HTTP client installed if URLs are enabled."""
    policy = fetch_policy(settings)
    if not settings.fetch:
        return
    if importlib.util.find_spec("httpcore2") is None:
        raise StartupError(NO_FETCH_CLIENT)
    others = "no other hosts" if policy.only_allowed else "the public internet"
    yield Finding("ok", "fetch", f"image URLs from {len(policy.allow)} allowed hosts and networks and {others}")


def check_data_folder(settings: Settings) -> Iterator[Finding]:
    """The data folder must be writable if jobs store their queue, their files or a signing secret in it."""
    folder = settings.data_dir
    elsewhere = settings.jobs == "postgresql" and settings.blobs and settings.signing_secret is not None
    existing = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        yield Finding("ok", "data", f"{folder} " + ("is writable" if existing == folder else "can be created"))
    else:
        severity: Severity = "note" if settings.jobs == "off" or elsewhere else "error"
        yield Finding(severity, "data", f"CLEARCUT_DATA_DIR={folder} cannot be written to; jobs need it")


def check_blobs(settings: Settings) -> Iterator[Finding]:
    """Jobs need valid secrets, and access to their bucket."""
    if settings.jobs == "off":
        return
    from clearcut.jobs.webhook import signing_key

    if settings.webhook_secret is not None:
        signing_key(settings.webhook_secret.get_secret_value())
    if settings.signing_secret is not None:
        signing_secrets(settings)
    if settings.blobs:
        blob_store(settings)
        yield Finding("ok", "blobs", f"{settings.blobs} can be listed")


def check_jobs(settings: Settings) -> Iterator[Finding]:
    """The job queue must be installed and its database usable."""
    if settings.jobs == "off":
        return
    from clearcut.jobs.dbos_queue import dbos_installed
    from clearcut.jobs.nodes import postgres_url

    if not dbos_installed():
        raise StartupError(f"CLEARCUT_JOBS={settings.jobs}: {missing_extra('jobs')}")
    if settings.jobs == "sqlite":
        yield Finding("ok", "jobs", f"stored in {settings.data_dir}, for one process")
    else:
        yield Finding("ok", "jobs", f"stored in {check_database(postgres_url(settings))}")


def check_traces(settings: Settings) -> Iterator[Finding]:
    """The exporter must be installed. The collector is not contacted: the service also runs without it."""
    if not settings.otel_endpoint:
        return
    try:
        importlib.import_module("clearcut.observability.tracing")
    except ModuleNotFoundError:
        raise StartupError(NO_TRACER) from None
    yield Finding("ok", "traces", f"{settings.otel_sample:.0%} of the requests without a sampling decision")


STARTUP_CHECKS = (
    StartupCheck(check_public_access, "address"),
    StartupCheck(check_ports, "port", at_start=False),
    StartupCheck(check_model, "model", at_start=False),
    StartupCheck(check_moderation, "moderation", at_start=False),
    StartupCheck(check_memory, "memory", at_start=False),
    StartupCheck(check_accounts, "accounts"),
    StartupCheck(check_rate_limits, "limits"),
    StartupCheck(check_fetch, "fetch"),
    StartupCheck(check_data_folder, "data"),
    StartupCheck(check_blobs, "blobs", at_start=False),
    StartupCheck(check_jobs, "jobs"),
    StartupCheck(check_traces, "traces"),
)
"""All checks, in the order of a start."""
