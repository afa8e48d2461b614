"""States of the process: STARTING, READY, DRAINING, STOPPED, or FAILED.

STARTING   alive, not ready; requests are rejected with 503 and Retry-After
READY      requests are accepted
DRAINING   not ready; after the drain delay new requests are rejected, and accepted requests are finished
STOPPED    no requests are accepted
FAILED     not alive: an inference thread has ended or hangs; the supervisor must replace the process
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from .errors import Draining, Failed, Starting


class State(Enum):
    """The state of the process."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


_TRANSITIONS = {
    State.STARTING: {State.READY, State.DRAINING, State.STOPPED, State.FAILED},
    State.READY: {State.DRAINING, State.FAILED, State.STOPPED},
    State.DRAINING: {State.STOPPED, State.FAILED},
    State.STOPPED: set(),
    State.FAILED: {State.STOPPED},
}


class Lifecycle:
    """The current state and the permitted transitions. Only the event loop's thread changes the state."""

    def __init__(self, on_change: Callable[[State], None] | None = None) -> None:
        self._on_change = on_change
        self.state = State.STARTING
        self.why = ""
        self.refusing = False
        """True once the drain delay is over and new requests are rejected."""

    def to(self, state: State, why: str = "") -> bool:
        """Change the state and return True; ignore a transition that is not permitted and return False.

        Args:
            state: the new state.
            why: the reason, for log lines.
        """
        if state not in _TRANSITIONS[self.state]:
            return False
        self.state, self.why = state, why
        if self._on_change is not None:
            self._on_change(state)
        return True

    @property
    def ready(self) -> bool:
        """True while the service accepts new requests and is not draining."""
        return self.state is State.READY

    @property
    def alive(self) -> bool:
        """False if the process must be replaced."""
        return self.state is not State.FAILED

    def admit(self) -> None:
        """Return if a new request may start.

        Raises:
            Starting, Draining, Failed: the state does not permit new requests. Each error has its own Retry-After.
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
