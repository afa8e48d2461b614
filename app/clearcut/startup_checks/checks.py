"""The list of start-up checks: ``check`` runs and prints all of them, and ``serve`` refuses to start if one fails.

A new check is one function and one line in ``STARTUP_CHECKS``. ``serve`` skips the checks that the start itself repeats
(``at_start=False``): the start binds the port or loads the model and refuses with the same error.

No check writes anything: a port is bound and released, and a database is only read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from clearcut.environment import read_settings
from clearcut.errors import StartupError
from clearcut.settings import Settings

from .findings import Finding, StartupCheck
from .formats import check_formats
from .models import check_memory, check_model, check_moderation
from .network import check_fetch, check_ports, check_public_access, check_traces
from .stores import check_accounts, check_blobs, check_data_folder, check_jobs, check_rate_limits

STARTUP_CHECKS = (
    StartupCheck(check_public_access, "address"),
    StartupCheck(check_ports, "port", at_start=False),
    StartupCheck(check_model, "model", at_start=False),
    StartupCheck(check_moderation, "moderation", at_start=False),
    StartupCheck(check_memory, "memory", at_start=False),
    StartupCheck(check_formats, "formats", at_start=False),
    StartupCheck(check_accounts, "accounts"),
    StartupCheck(check_rate_limits, "limits"),
    StartupCheck(check_fetch, "fetch"),
    StartupCheck(check_data_folder, "data"),
    StartupCheck(check_blobs, "blobs", at_start=False),
    StartupCheck(check_jobs, "jobs"),
    StartupCheck(check_traces, "traces"),
)
"""All checks, in the order of a start."""


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
