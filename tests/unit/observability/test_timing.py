import pytest

from clearcut.errors import ClientGone, DeadlineExceeded
from clearcut.observability.timing import RequestTiming, TraceParent, parse_traceparent
from tests.support.clock import FakeClock


def test_server_timing_header():
    clock = FakeClock()
    timing = RequestTiming(30, clock)
    with timing.stage("decode"):
        clock.now += 0.0125
    timing.add("inference", 0.02, "batch=4")
    clock.now += 0.1
    assert timing.server_timing() == 'decode;dur=12.50, inference;dur=20.00;desc="batch=4", total;dur=112.50'


def test_stage_after_deadline_fails():
    clock = FakeClock()
    timing = RequestTiming(1, clock)
    clock.now += 1.5
    with pytest.raises(DeadlineExceeded) as caught, timing.stage("decode"):
        pytest.fail("the stage started")
    assert caught.value.stage == "decode"
    assert timing.stages == []


def test_stage_of_abandoned_request_fails():
    timing = RequestTiming(1)
    timing.abandoned = True
    with pytest.raises(ClientGone), timing.stage("encode"):
        pytest.fail("the stage started")


def test_failing_stage_is_measured():
    timing = RequestTiming(1)
    with pytest.raises(ZeroDivisionError), timing.stage("decode"):
        raise ZeroDivisionError
    assert [stage.name for stage in timing.stages] == ["decode"]


ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [(f"00-{ID}-{SPAN}-01", True), (f"00-{ID}-{SPAN}-00", False), (f"00-{ID}-{SPAN}-03", True),
     (f"01-{ID}-{SPAN}-01-what.comes.later", True), (f" 00-{ID}-{SPAN}-01\t", True)],
)  # fmt: skip
def test_valid_traceparent(header, sampled):
    assert parse_traceparent([header]) == TraceParent(ID, SPAN, sampled)


@pytest.mark.parametrize(
    "headers",
    [
        [], [""], [f"00-{ID}-{SPAN}-01"] * 2, [f"00-{'0' * 32}-{SPAN}-01"], [f"00-{ID}-{'0' * 16}-01"],
        [f"ff-{ID}-{SPAN}-01"], [f"00-{ID}-{SPAN}-01-more"], [f"00-{ID.upper()}-{SPAN}-01"], [f"00-{ID}-{SPAN}-1"],
        [f"00-{ID[1:]}-{SPAN}-01"], [f"00-{ID}-{SPAN}-0g"], [f"00-{ID}-{SPAN}-01\n"],
    ],
)  # fmt: skip
def test_invalid_traceparent_is_ignored(headers):
    assert parse_traceparent(headers) is None


def test_intervals_have_start_times():
    clock = FakeClock()
    timing = RequestTiming(30, clock)
    clock.now += 1
    with timing.stage("encode"):
        clock.now += 0.25
    clock.now += 2
    timing.add("queue", 0.5, ago=1.5)
    timing.add("inference", 1.5, "batch=2")
    with timing.stage("encode"):
        clock.now += 0.5
    assert [(each.name, each.begun, each.seconds) for each in timing.intervals] == [
        ("encode", 1.0, 0.25), ("queue", 1.25, 0.5), ("inference", 1.75, 1.5), ("encode", 3.25, 0.5),
    ]  # fmt: skip
    assert timing.stages[0].seconds == 0.75
