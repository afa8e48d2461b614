"""The result of a start-up check, and the entry of a check in the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from clearcut.errors import StartupError
from clearcut.settings import MIB, Settings

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


def mib(count: int) -> str:
    """Return a number of bytes as text."""
    return f"{count / MIB:.0f} MiB"
