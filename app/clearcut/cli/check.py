"""``clearcut check``: print the findings of all start-up checks."""

from __future__ import annotations

from clearcut.startup_checks.checks import run_checks


def run() -> int:
    """Print all findings and return the exit code: 1 if the service cannot start with this environment, else 0."""
    errors = 0
    for finding in run_checks():
        _print(str(finding))
        errors += finding.severity == "error"
    _print(f"{errors} error(s): the service would not start" if errors else "ready to serve")
    return 1 if errors else 0


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - command line output
