"""The summary of bulk runs."""

import pytest

from clearcut.batch.summary import BatchSummary


def test_percentiles_are_within_two_percent():
    summary = BatchSummary()
    for ms in range(1, 1001):
        summary.add("ok", "", float(ms))
    assert summary.percentiles((0.5, 0.95, 0.99)) == pytest.approx([500, 950, 990], rel=0.02)


def test_counts_by_status_and_code():
    summary = BatchSummary()
    for status, code, ms in (("ok", "", 10.0), ("skipped", "", None), ("error", "storage_error", None)):
        summary.add(status, code, ms)
    values = summary.as_dict(2.0)
    assert (values["images"], values["written"], values["skipped"], values["failed"]) == (3, 1, 1, 1)
    assert values["codes"] == {"storage_error": 1}
    assert values["images_per_second"] == 0.5


def test_run_without_images_has_no_times():
    assert BatchSummary().as_dict(0)["ms"] == {"p50": 0.0, "p95": 0.0, "p99": 0.0}
