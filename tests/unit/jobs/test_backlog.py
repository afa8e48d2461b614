"""The capacity for waiting jobs, and the share of each account."""

from __future__ import annotations

import pytest

from clearcut.errors import Overloaded, RateLimited
from clearcut.jobs.backlog import Backlog
from clearcut.jobs.nodes import JobCounts
from clearcut.jobs.types import ANONYMOUS


def accept(backlog, account):
    """Accept jobs of an account until one is refused. Returns their number and the class of the error."""
    for number in range(1000):
        try:
            backlog.require_capacity(account)
        except (Overloaded, RateLimited) as exc:
            return number, type(exc)
        backlog.count_accepted(account or "anonymous-0")
    raise AssertionError


def test_accounts_leave_capacity_for_others():
    backlog = Backlog(100)
    assert accept(backlog, "a") == (75, RateLimited)
    assert accept(backlog, "b") == (18, RateLimited)
    assert accept(backlog, "c")[0] > 0


def test_jobs_counted_on_all_nodes_belong_to_the_share():
    backlog = Backlog(100)
    backlog.update(JobCounts(waiting=75, processing=2, by_partition={"a": 70, "b": 5}))
    assert accept(backlog, "a") == (1, RateLimited)
    assert accept(backlog, "b")[1] is RateLimited


@pytest.mark.parametrize("account", ["a", None])
def test_smallest_capacity_accepts_one_job(account):
    assert accept(Backlog(1), account) == (1, Overloaded)


def test_callers_without_account_may_use_the_whole_capacity():
    assert accept(Backlog(100), None) == (100, Overloaded)


def test_callers_without_account_share_like_one_account():
    backlog = Backlog(100)
    assert accept(backlog, ANONYMOUS) == (75, RateLimited)
    assert accept(backlog, "a")[0] > 0
