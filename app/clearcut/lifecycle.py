"""STARTING > READY > DRAINING > STOPPED, or FAILED: what the process may promise, and to whom.

STARTING   alive, not ready; work is refused with 503 and Retry-After
READY      everything is served
DRAINING   not ready; after the drain delay new work is refused, accepted work is finished
STOPPED    nothing is served
FAILED     not alive: an inference thread is gone or stuck; the supervisor should replace the process
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from .errors import Draining, Failed, Starting


class State(Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


_ALLOWED = {
    State.STARTING: {State.READY, State.DRAINING, State.STOPPED, State.FAILED},
    State.READY: {State.DRAINING, State.FAILED, State.STOPPED},
    State.DRAINING: {State.STOPPED, State.FAILED},
    State.STOPPED: set(),
    State.FAILED: {State.STOPPED},
}


class Lifecycle:
    """The state and its rules. Only the event loop's thread changes it."""

    def __init__(self, on_change: Callable[[State], None] | None = None) -> None:
        self._on_change = on_change
        self.state = State.STARTING
        self.why = ""
        self.refusing = False
        """While draining: whether the drain delay is over and new work is turned away."""

    def to(self, state: State, why: str = "") -> bool:
        """Move on; a step that the rules do not know is ignored, and False is returned."""
        if state not in _ALLOWED[self.state]:
            return False
        self.state, self.why = state, why
        if self._on_change is not None:
            self._on_change(state)
        return True

    @property
    def ready(self) -> bool:
        return self.state is State.READY

    @property
    def alive(self) -> bool:
        return self.state is not State.FAILED

    def admit(self) -> None:
        """Pass if new work may begin.

        Raises:
            Starting, Draining, Failed: it may not; each carries its Retry-After.
        """
        match self.state:
            case State.READY:
                return
            case State.STARTING:
                raise Starting
            case State.DRAINING if not self.refusing:
                return
            case State.DRAINING | State.STOPPED:
                raise Draining
            case State.FAILED:
                raise Failed
