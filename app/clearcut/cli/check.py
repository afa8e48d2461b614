"""``python -m clearcut check``: everything that could keep a server from starting or from surviving, found out
beforehand.

Nothing is served, and nothing is written: a port is bound and let go, a database is asked and not changed. All problems
are reported, not only the first.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clearcut.accounts.rate_limits import RateLimiter
from clearcut.accounts.schema import check_database
from clearcut.admission.transfers import TRANSFERS_SHARE
from clearcut.errors import StartupError
from clearcut.fetch.policy import fetch_policy
from clearcut.inference.edge_model import OnnxEdgeModel, find_edge_model
from clearcut.inference.manifest import models_folder
from clearcut.inference.moderation import load_moderator
from clearcut.inference.providers import runtime_version
from clearcut.inference.startup.load import load_configured_model
from clearcut.jobs.dbos_queue import dbos_installed
from clearcut.jobs.nodes import postgres_url
from clearcut.jobs.steps import MAX_FETCHES
from clearcut.jobs.webhook import signing_key
from clearcut.optional_parts import NO_CLIENT, NO_TRACES
from clearcut.service import BYTES_PER_PIXEL, pixel_capacity
from clearcut.settings import MIB, Settings, read
from clearcut.storage.factory import blob_store, signing_secrets
from clearcut.system import cpu_quota, memory_limit, memory_used
from clearcut.web.request.limits import parsing_bytes, request_bytes

Verdict = Literal["ok", "note", "FAULT"]


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    """A note is worth knowing; a fault keeps the service from starting, or from living."""
    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.verdict:5}  {self.about:9}  {self.text}"


def run_checks(environ: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """What there is to say, in the order of a start; takes seconds, as the model is loaded and run.

    Where a variable is wrong its default stands in, so that the rest is looked at too.
    """
    settings, faults = read(environ)
    yield from (Finding("FAULT", "settings", fault) for fault in faults)
    if not faults:
        given = len(settings.model_fields_set)
        yield Finding("ok", "settings", f"{given} given, the rest by default")
    yield from _address(settings)
    before = memory_used()
    yield from _model(settings)
    yield from _moderation(settings)
    yield from _memory(settings, max(before, memory_used()), memory_limit(), settings.workers or cpu_quota())
    yield from _accounts(settings)
    yield from _addresses(settings)
    yield from _data(settings)
    yield from _kept(settings)
    yield from _jobs(settings)
    yield from _traces(settings)


def public_without_keys(settings: Settings) -> str | None:
    """Why this address must not be listened on, or None."""
    if settings.allow_anonymous or settings.database_url or is_loopback(settings.host):
        return None
    return (
        f"CLEARCUT_HOST={settings.host} is reachable from other machines and no keys are configured. "
        "Set CLEARCUT_DATABASE_URL and make keys (python -m clearcut keys create), or set "
        "CLEARCUT_ALLOW_ANONYMOUS=true "
        "to serve everyone who can reach it, or listen on 127.0.0.1"
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(settings: Settings) -> Iterator[Finding]:
    if (fault := public_without_keys(settings)) is not None:
        yield Finding("FAULT", "address", fault)
    yield _port("port", settings.host, settings.port)
    if settings.metrics_port is not None:
        if settings.metrics_port == settings.port != 0:
            yield Finding("FAULT", "metrics", f"CLEARCUT_METRICS_PORT={settings.metrics_port} is CLEARCUT_PORT too")
        else:
            yield _port("metrics", settings.metrics_host, settings.metrics_port)


def _port(about: str, host: str, port: int) -> Finding:
    """Whether a server could listen there now."""
    where = f"{host}:{port}"
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(address)
                trial.listen(1)
    except OSError as exc:
        return Finding("FAULT", about, f"cannot listen on {where}: {exc.strerror}")
    return Finding("ok", about, f"{where} is free" if port else f"{host}, on a port that is picked at start")


def _model(settings: Settings) -> Iterator[Finding]:
    try:
        model, loaded = load_configured_model(settings, keep=False)
    except StartupError as exc:
        yield Finding("FAULT", "model", str(exc))
        return
    entry, plan = model.entry, loaded.plan
    yield Finding("ok", "model", f"{entry.name}, {entry.licence}, {model.path}, sha256 {entry.sha256} as it should be")
    if entry.edges:
        yield _edges()
    sizes = ", ".join(str(size) for size in plan.buckets)
    yield Finding(
        "ok",
        "provider",
        f"{plan.device} (onnxruntime {runtime_version()}), {plan.lanes} session(s) of {plan.intra_op_threads} "
        f"thread(s), batches of {sizes}, about {plan.images_per_s:.1f} images/s",
    )
    yield from (Finding("note", "provider", note) for note in plan.notes)
    yield Finding("ok", "self-test", "the golden picture's matte is the manifest's")


def _edges() -> Finding:
    try:
        path, data = find_edge_model(models_folder())
        OnnxEdgeModel(path, data)
    except StartupError as exc:
        return Finding("FAULT", "edges", str(exc))
    return Finding("ok", "edges", f"{path}, sha256 {hashlib.sha256(data).hexdigest()} as it should be")


def _moderation(settings: Settings) -> Iterator[Finding]:
    try:
        moderator = load_moderator(settings.model_dir)
    except StartupError as exc:
        yield Finding("FAULT", "moderation", str(exc))
        return
    if moderator is not None:
        yield Finding("ok", "moderation", f"{moderator.entry.file}, for jobs that ask for it")


def _memory(settings: Settings, base: int, limit: int, workers: int) -> Iterator[Finding]:
    """The worst that the limits let happen against what the control group, or the machine, has.

    Args:
        base: bytes in use with the model loaded.
        workers: threads that parse bodies.
    """
    one = int(settings.max_megapixels * 1e6) * BYTES_PER_PIXEL
    # One request's picture and outputs may be twice the largest picture, when it is alone.
    pictures = max(pixel_capacity(settings, limit), 2 * int(settings.max_megapixels * 1e6)) * BYTES_PER_PIXEL
    uploads = settings.slots * request_bytes(settings.max_bytes, fetching=settings.fetch)
    uploads += workers * parsing_bytes(settings.max_bytes)
    if settings.jobs != "off":  # requests for jobs have as many slots of their own; images are fetched for jobs
        uploads += settings.slots * request_bytes(settings.max_bytes, fetching=False)
        uploads += MAX_FETCHES * settings.max_bytes
    responses = limit // TRANSFERS_SHARE
    worst = base + pictures + uploads + responses + settings.replay_mb * MIB
    parts = (
        f"{_mib(base)} with the model, {_mib(pictures)} for pictures at once, {_mib(uploads)} for {settings.slots} "
        f"requests with the largest bodies and files, {_mib(responses)} for responses being sent, "
        f"{settings.replay_mb} MiB for replays: {_mib(worst)} of {_mib(limit)}"
    )
    if base + one > limit:
        yield Finding(
            "FAULT",
            "memory",
            f"one picture of CLEARCUT_MAX_MEGAPIXELS={settings.max_megapixels:g} needs {_mib(base + one)}, there are "
            f"{_mib(limit)}: lower it, or give more memory",
        )
    elif worst > limit:
        yield Finding(
            "note", "memory", f"{parts}. Lower CLEARCUT_SLOTS, CLEARCUT_MAX_BYTES or CLEARCUT_INFLIGHT_MEGAPIXELS"
        )
    else:
        yield Finding("ok", "memory", parts)


def _mib(count: int) -> str:
    return f"{count / MIB:.0f} MiB"


def _accounts(settings: Settings) -> Iterator[Finding]:
    if not settings.database_url:
        yield Finding("ok", "accounts", "none: whoever can reach the service may use it")
        return
    try:
        yield Finding("ok", "accounts", f"keys and credits in {check_database(settings.database_url)}")
    except StartupError as exc:
        yield Finding("FAULT", "accounts", str(exc))
    try:
        RateLimiter(settings.limits_url)
    except StartupError as exc:
        yield Finding("FAULT", "limits", str(exc))


def _addresses(settings: Settings) -> Iterator[Finding]:
    """Whether pictures by address could be fetched."""
    try:
        rules = fetch_policy(settings)
    except StartupError as exc:
        yield Finding("FAULT", "fetch", str(exc))
        return
    if not settings.fetch:
        return
    if importlib.util.find_spec("httpcore2") is None:
        yield Finding("FAULT", "fetch", NO_CLIENT)
    else:
        only = ", and from nowhere else" if rules.only_allowed else " and from the public internet"
        yield Finding("ok", "fetch", f"pictures by address, from {len(rules.allow)} hosts and networks allowed{only}")


def _kept(settings: Settings) -> Iterator[Finding]:
    """Whether jobs could keep their pictures in the bucket, and sign what they send; a bucket is listed once."""
    if settings.jobs == "off":
        return
    try:
        if settings.webhook_secret is not None:
            signing_key(settings.webhook_secret.get_secret_value())
        if settings.signing_secret is not None:
            signing_secrets(settings)
        if settings.blobs:
            blob_store(settings)
            yield Finding("ok", "blobs", f"{settings.blobs} can be listed")
    except StartupError as exc:
        yield Finding("FAULT", "blobs", str(exc))


def _data(settings: Settings) -> Iterator[Finding]:
    """Whether the data folder could be written to; it is not made."""
    folder = settings.data_dir
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), Path("/"))
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield Finding("ok", "data", f"{folder} " + ("can be written to" if there == folder else "can be made"))
    else:
        # Jobs need it; the synchronous routes do without.
        verdict: Verdict = "note" if settings.jobs == "off" else "FAULT"
        yield Finding(verdict, "data", f"CLEARCUT_DATA_DIR={folder} cannot be written to: jobs would not start")


def _jobs(settings: Settings) -> Iterator[Finding]:
    """Whether the jobs could be kept as asked for; nothing is made."""
    if settings.jobs == "off":
        return
    if not dbos_installed():
        yield Finding("FAULT", "jobs", f"CLEARCUT_JOBS={settings.jobs}: install the 'jobs' extra")
        return
    try:
        where = settings.data_dir if settings.jobs == "sqlite" else check_database(postgres_url(settings))
        yield Finding("ok", "jobs", f"kept in {where}" + (", by one process" if settings.jobs == "sqlite" else ""))
    except StartupError as exc:
        yield Finding("FAULT", "jobs", str(exc))


def _traces(settings: Settings) -> Iterator[Finding]:
    """Whether traces could be sent; the collector is not asked, as the service does without it."""
    if not settings.otel_endpoint:
        return
    try:
        importlib.import_module("clearcut.observability.tracing")
    except ModuleNotFoundError:
        yield Finding("FAULT", "traces", NO_TRACES)
    else:
        yield Finding("ok", "traces", f"{settings.otel_sample:.0%} of the requests whose caller does not decide")
