"""The capacity plan: the queueing simulation against formulas, and the number of replicas."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.capacity import Load, interpolate, mean, measured_costs, required_replicas, simulate


def test_single_queue_has_the_wait_of_the_formula():
    """Mean wait of M/D/1: rho / (2 (1 - rho)) service times (Pollaczek-Khinchine)."""
    rng = np.random.default_rng(3)
    arrivals = np.cumsum(rng.exponential(1 / 0.7, 200_000))
    waits = simulate(arrivals, np.ones(len(arrivals)), replicas=1, servers=1) - 1
    assert waits.mean() == pytest.approx(0.7 / (2 * 0.3), rel=0.05)


def test_idle_replicas_add_no_wait():
    times = simulate(np.arange(100) * 10.0, np.full(100, 0.5), replicas=2, servers=2)
    assert times == pytest.approx(np.full(100, 0.5))


def test_more_load_needs_more_replicas():
    costs = {1.0: 0.1}
    few, p95 = required_replicas(costs, Load(50, {1: 1}, 0.5), servers=2)
    many, _ = required_replicas(costs, Load(500, {1: 1}, 0.5), servers=2)
    assert 3 <= few <= 5
    assert 26 <= many <= 32
    assert p95 <= 0.5


def test_target_below_the_service_time_is_refused():
    with pytest.raises(ValueError, match="without a queue"):
        required_replicas({1.0: 0.1}, Load(1, {1: 1}, 0.05), servers=2)


def test_costs_between_measured_sizes_are_interpolated():
    values = {1.0: 10.0, 3.0: 30.0}
    assert [interpolate(values, size) for size in (0.5, 2, 6)] == [10, 20, 60]
    assert mean(values, {1: 3, 3: 1}) == 15


def test_measured_costs_grow_with_the_size():
    costs = measured_costs()
    for values in (costs.cpu_s, costs.cpu_beyond_model_s, costs.bytes_out):
        ordered = [values[size] for size in sorted(values)]
        # The model costs the same at every size. Between 0.3 and 1 MP the total differs by less than the noise.
        assert all(large > 0.9 * small for small, large in pairwise(ordered))
        assert ordered[-1] > 2 * ordered[0] > 0
