import pytest

from clearcut.errors import Draining, Failed, Starting
from clearcut.lifecycle import Lifecycle, State


def test_walks_the_whole_way_and_tells_of_each_step():
    seen = []
    life = Lifecycle(seen.append)
    assert life.to(State.READY)
    assert life.to(State.DRAINING, "signal")
    assert life.to(State.STOPPED)
    assert seen == [State.READY, State.DRAINING, State.STOPPED]


def test_ignores_steps_that_the_rules_do_not_know():
    life = Lifecycle()
    life.to(State.READY)
    life.to(State.DRAINING)
    assert not life.to(State.READY)
    assert life.state is State.DRAINING


def test_starting_refuses_with_retry_after():
    with pytest.raises(Starting) as caught:
        Lifecycle().admit()
    assert caught.value.status == 503
    assert caught.value.retry_after >= 1


def test_draining_takes_work_until_its_delay_is_over():
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
