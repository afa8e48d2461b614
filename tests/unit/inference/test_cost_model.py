"""The moving average of run times."""

import pytest

from clearcut.inference.cost_model import CostModel


def test_average_follows_a_slower_machine():
    cost = CostModel([1], {1: 1.0})
    for _ in range(40):
        cost.observe(1, 2.0)
    assert cost.seconds(1) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("measured", [{1: 3.0}, {}])
def test_extremely_long_runs_do_not_block_a_model(measured):
    """With an average of minutes, the queue would refuse each further request, and the average would never fall."""
    cost = CostModel([1], measured)
    cost.observe(1, 3.0)
    for _ in range(20):
        cost.observe(1, 300.0)
    assert cost.seconds(1) == 15.0
    cost.observe(1, 3.0)
    assert cost.seconds(1) < 15.0
