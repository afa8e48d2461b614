import pytest

from clearcut.errors import ClientGone, DeadlineExceeded
from clearcut.observability.timing import RequestTiming, TraceParent, parse_traceparent
from tests.support.clock import FakeClock


def test_stages_become_server_timing_in_order_with_descriptions():
    clock = FakeClock()
    trace = RequestTiming(30, clock)
    with trace.stage("decode"):
        clock.now += 0.0125
    trace.add("inference", 0.02, "batch=4")
    clock.now += 0.1
    assert trace.server_timing() == 'decode;dur=12.50, inference;dur=20.00;desc="batch=4", total;dur=112.50'


def test_a_stage_does_not_begin_past_the_deadline():
    clock = FakeClock()
    trace = RequestTiming(1, clock)
    clock.now += 1.5
    with pytest.raises(DeadlineExceeded) as caught, trace.stage("decode"):
        pytest.fail("the stage began")
    assert caught.value.stage == "decode"
    assert trace.stages == []


def test_a_stage_does_not_begin_for_nobody():
    trace = RequestTiming(1)
    trace.abandoned = True
    with pytest.raises(ClientGone), trace.stage("encode"):
        pytest.fail("the stage began")


def test_a_failing_stage_is_timed_too():
    trace = RequestTiming(1)
    with pytest.raises(ZeroDivisionError), trace.stage("decode"):
        raise ZeroDivisionError
    assert [stage.name for stage in trace.stages] == ["decode"]


ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("given", "sampled"),
    [(f"00-{ID}-{SPAN}-01", True), (f"00-{ID}-{SPAN}-00", False), (f"00-{ID}-{SPAN}-03", True),
     (f"01-{ID}-{SPAN}-01-what.comes.later", True), (f" 00-{ID}-{SPAN}-01\t", True)],
)  # fmt: skip
def test_a_well_formed_traceparent_is_taken(given, sampled):
    assert parse_traceparent([given]) == TraceParent(ID, SPAN, sampled)


@pytest.mark.parametrize(
    "given",
    [
        [], [""], [f"00-{ID}-{SPAN}-01"] * 2, [f"00-{'0' * 32}-{SPAN}-01"], [f"00-{ID}-{'0' * 16}-01"],
        [f"ff-{ID}-{SPAN}-01"], [f"00-{ID}-{SPAN}-01-more"], [f"00-{ID.upper()}-{SPAN}-01"], [f"00-{ID}-{SPAN}-1"],
        [f"00-{ID[1:]}-{SPAN}-01"], [f"00-{ID}-{SPAN}-0g"], [f"00-{ID}-{SPAN}-01\n"],
    ],
)  # fmt: skip
def test_any_other_is_none(given):
    assert parse_traceparent(given) is None


def test_moments_know_when_they_began():
    clock = FakeClock()
    trace = RequestTiming(30, clock)
    clock.now += 1
    with trace.stage("encode"):
        clock.now += 0.25
    clock.now += 2
    trace.add("queue", 0.5, ago=1.5)
    trace.add("inference", 1.5, "batch=2")
    with trace.stage("encode"):
        clock.now += 0.5
    assert [(each.name, each.begun, each.seconds) for each in trace.moments] == [
        ("encode", 1.0, 0.25), ("queue", 1.25, 0.5), ("inference", 1.75, 1.5), ("encode", 3.25, 0.5),
    ]  # fmt: skip
    assert trace.stages[0].seconds == 0.75
