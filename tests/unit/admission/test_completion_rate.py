from clearcut.admission.completion_rate import CompletionRate
from clearcut.errors import MAX_RETRY_AFTER_S
from tests.support.clock import FakeClock


def test_retry_after_follows_the_measured_rate():
    clock = FakeClock()
    rate = CompletionRate(clock)
    for _ in range(50):
        clock.advance(0.5)
        rate.record_completion()
    assert 5 <= rate.retry_after(10) <= 7  # 10 requests at 2 a second, up to 30% jitter
    assert rate.retry_after(10_000) == MAX_RETRY_AFTER_S


def test_idle_time_does_not_slow_the_rate():
    clock = FakeClock()
    rate = CompletionRate(clock)
    for _ in range(20):
        clock.advance(0.1)
        rate.record_completion()
    clock.advance(3600)
    rate.start_busy_period()
    clock.advance(0.1)
    rate.record_completion()
    assert rate.retry_after(10) <= 2
