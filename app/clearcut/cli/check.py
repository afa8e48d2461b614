"""``clearcut check``: print the findings of all start-up checks."""

from __future__ import annotations

from clearcut.startup_checks.checks import run_checks

from .terminal import print_output


def run() -> int:
    """Print all findings and return the exit code: 1 if the service cannot start with this environment, else 0."""
    errors = 0
    for finding in run_checks():
        print_output(str(finding), flush=True)
        errors += finding.severity == "error"
    print_output(f"{errors} error(s): the service would not start" if errors else "ready to serve", flush=True)
    return 1 if errors else 0
