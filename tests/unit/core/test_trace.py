import pytest

from app.errors import ClientGone, DeadlineExceeded
from app.trace import Trace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_stages_become_server_timing_in_order_with_descriptions():
    clock = Clock()
    trace = Trace(30, clock)
    with trace.stage("decode"):
        clock.now += 0.0125
    trace.add("inference", 0.02, "batch=4")
    clock.now += 0.1
    assert trace.server_timing() == 'decode;dur=12.50, inference;dur=20.00;desc="batch=4", total;dur=112.50'


def test_a_stage_does_not_begin_past_the_deadline():
    clock = Clock()
    trace = Trace(1, clock)
    clock.now += 1.5
    with pytest.raises(DeadlineExceeded) as caught, trace.stage("decode"):
        pytest.fail("the stage began")
    assert caught.value.stage == "decode"
    assert trace.stages == []


def test_a_stage_does_not_begin_for_nobody():
    trace = Trace(1)
    trace.abandoned = True
    with pytest.raises(ClientGone), trace.stage("encode"):
        pytest.fail("the stage began")


def test_a_failing_stage_is_timed_too():
    trace = Trace(1)
    with pytest.raises(ZeroDivisionError), trace.stage("decode"):
        raise ZeroDivisionError
    assert [stage.name for stage in trace.stages] == ["decode"]
