"""The paired comparison: a figure counts as worse only if it is worse in every round."""

from __future__ import annotations

from pathlib import Path

from benchmarks import check
from benchmarks.summary import Figure

RATE = Figure("images/s", "a", ("rate",))
BYTES = Figure("bytes", "a", ("bytes",), higher_is_better=False)


def test_order_of_trees_alternates() -> None:
    order: list[Path] = []

    def run(tree: Path, benchmark: str) -> check.Values:
        order.append(tree)
        return {RATE: 2.0 if tree == check.ROOT else 1.0}

    assert check.rounds("a", 2, run) == [({RATE: 1.0}, {RATE: 2.0})] * 2
    assert order == [check.BASE, check.ROOT, check.ROOT, check.BASE]


def test_loss_in_every_round_fails() -> None:
    assert check.losses([({RATE: 10.0}, {RATE: 8.0}), ({RATE: 5.0}, {RATE: 4.4})])
    assert check.losses([({BYTES: 10.0}, {BYTES: 12.0})])


def test_loss_in_a_single_round_is_noise() -> None:
    assert check.losses([({RATE: 10.0}, {RATE: 8.0}), ({RATE: 5.0}, {RATE: 4.9})]) == []
    assert check.losses([({BYTES: 10.0}, {BYTES: 9.0})]) == []


def test_missing_figure_fails() -> None:
    assert check.losses([({RATE: 10.0, BYTES: 1.0}, {RATE: 10.0})]) == ["bytes: missing"]
