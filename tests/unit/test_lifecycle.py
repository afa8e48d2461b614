import pytest

from clearcut.errors import Draining, Failed, Starting
from clearcut.lifecycle import Lifecycle, State


def test_reports_each_transition():
    seen = []
    life = Lifecycle(seen.append)
    assert life.to(State.READY)
    assert life.to(State.DRAINING, "signal")
    assert life.to(State.STOPPED)
    assert seen == [State.READY, State.DRAINING, State.STOPPED]


def test_ignores_transitions_that_are_not_permitted():
    life = Lifecycle()
    life.to(State.READY)
    life.to(State.DRAINING)
    assert not life.to(State.READY)
    assert life.state is State.DRAINING


def test_starting_rejects_with_retry_after():
    with pytest.raises(Starting) as caught:
        Lifecycle().admit()
    assert caught.value.status == 503
    assert caught.value.retry_after >= 1


def test_draining_accepts_requests_during_the_delay():
    life = Lifecycle()
    life.to(State.READY)
    life.to(State.DRAINING)
    assert not life.ready
    life.admit()
    life.refusing = True
    with pytest.raises(Draining) as caught:
        life.admit()
    assert caught.value.headers["Connection"] == "close"


def test_failed_is_not_alive():
    life = Lifecycle()
    life.to(State.FAILED, "thread ended")
    assert not life.alive
    with pytest.raises(Failed):
        life.admit()
