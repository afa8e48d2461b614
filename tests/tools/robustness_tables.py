"""The tables of ``docs/robustness.md``, from ``benchmarks/results/`` and ``tests/support/fault_table.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.fault_table import FAULTS

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
TITLES = {
    "lying sizes": "wrong sizes in headers",
    "just too large": "slightly too large",
    "one more": "*one more client*",
    "requests given up": "cancelled requests",
    "500 slow heads": "500 connections with slow request headers",
    "500 slow bodies": "500 connections with slow request bodies",
}
"""Titles of cases that have another name in ``hostile.json``."""


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def hostile_table() -> str:
    result = _result("hostile")
    cost, honest = result["cost"]["families"], result.get("honest", {})
    rows = [
        "| Input or attack | Inputs | Responses | Highest CPU time | p95 of others: without, with | Median ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name in [*cost, *(name for name in honest if name not in cost)]:
        own, others = cost.get(name), honest.get(name)
        inputs = f"{own['inputs']:,}" if own else ""
        answers = ", ".join(f"{count} x {status}" for status, count in own["outcomes"].items()) if own else ""
        worst = f"{own['worst_cpu_s'] * 1e3:,.0f} ms" if own and own["worst_cpu_s"] else ""
        pair = ratio = ""
        if others:
            quiet, during = (_median(others[which]) for which in ("quiet_p95_ms", "attacked_p95_ms"))
            pair, ratio = f"{quiet:.0f} ms, {during:.0f} ms", f"{others['ratio']:g}"
            refused = sum(count for status, count in others["answers"].items() if status != "200")
            if refused:
                pair += f" ({refused} of their {sum(others['answers'].values())} requests got 503)"
        rows.append(f"| {TITLES.get(name, name)} | {inputs} | {answers} | {worst} | {pair} | {ratio} |")
    return "\n".join(rows)


def expensive_inputs_table() -> str:
    rows = ["| Most expensive inputs, each alone | CPU time | Memory | Status |", "|---|---|---|---|"]
    return "\n".join(
        rows
        + [
            f"| {each['what']} | {each['cpu_s']:.2f} s | {each['grown_mib']:,.0f} MiB | {each['outcome']} |"
            for each in _result("hostile")["most_expensive"]
        ]
    )


def option_costs_table() -> str:
    """Return the options with the highest CPU time of one request of at most 9 megapixels."""
    rows = [
        "| Option, with its most expensive matte | CPU time | Share of the reserved memory | Wait of another client |",
        "|---|---|---|---|",
    ]
    worst = sorted(_result("hostile")["options"]["worst_of_option"].items(), key=lambda each: -each[1]["cpu_s"])
    for option, of in worst[:10]:
        share = f"{100 * of['grown_share_of_held']:.0f} %"
        rows.append(f"| {option} | {of['cpu_s']:.2f} s | {share} | {of['wait_s'] * 1e3:.0f} ms |")
    return "\n".join(rows)


def faults_table() -> str:
    rows = ["| Fault | Result for clients | Metrics | Test in `tests/chaos/` |", "|---|---|---|---|"]
    return "\n".join(rows + [f"| {each.what} | {each.client} | {each.metrics} | `{each.test}` |" for each in FAULTS])


def soak_table() -> str:
    result = _result("soak")
    thirds, refusals, rest = result["thirds"], result["refusals"], result["at_rest"]

    def course(name: str, form: str = "{:g}") -> str:
        return " | ".join(form.format(third[name]) for third in thirds) + f" | {result['ratios'].get(name, '')}"

    low, middle, high = refusals["retry_after_over_that"]
    return "\n".join(
        [
            "| | First third of the run | Second third | Last third | Ratio of last to first |",
            "|---|---|---|---|---|",
            f"| Resident memory, median, MiB | {course('rss_mib', '{:.0f}')} |",
            f"| File descriptors, not counting connections, median | {course('descriptors')} |",
            f"| Threads | {course('threads')} |",
            f"| Successful responses per second | {course('good_per_s', '{:.2f}')} |",
            f"| Successful responses for each second of CPU time that the server used | "
            f"{course('good_per_cpu_s', '{:.2f}')} |",
            f"| Time of a 503, p95, ms | {course('refused_p95_ms', '{:.0f}')} |",
            "",
            f"The run took {result['seconds'] / 60:.0f} minutes at {result['offered_per_s']:g} requests per second. "
            f"This is 1.5 times the capacity measured just before ({result['saturation_per_s']:g} requests per "
            "second). The responses were "
            + ", ".join(f"{count:,} x {status}" for status, count in result["answers"].items())
            + f" and nothing else. We divided the `Retry-After` of each 503 by the time in which the requests "
            "then in progress "
            f"finished: the median of this ratio was {middle:g} (5th percentile {low:g}, 95th percentile "
            f"{high:g}). The idle process had "
            f"{rest['descriptors'][0]} file descriptors before the run and {rest['descriptors'][1]} after it, "
            f"{rest['threads'][0]} threads before and {rest['threads'][1]} after it. Clients, server and other work "
            "shared the machine. The number of successful responses per second therefore depends on the CPU time "
            "that was left for the server.",
        ]
    )


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


PARTS = {
    "hostile": hostile_table,
    "expensive inputs": expensive_inputs_table,
    "option costs": option_costs_table,
    "faults": faults_table,
    "soak": soak_table,
}
