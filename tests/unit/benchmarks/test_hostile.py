"""The attacks of ``benchmarks.hostile``, and its repeated measurements."""

from __future__ import annotations

import pytest

from benchmarks import hostile, hostile_options
from benchmarks.hostile_options import Cost, Form


@pytest.mark.parametrize("family", ["wrong types", "AVIF, GIF, BMP, TIFF, HEIC"])
def test_attack_has_one_request_for_each_file(family: str) -> None:
    messages = list(hostile._files(family))
    assert len(messages) in (46, 300)
    assert all(message.startswith(b"POST /") for message in messages)


def test_lowest_of_several_measurements_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = [(2.0, 0.1), (1.0, 0.5), (1.2, 0.2)]

    def cost(*_: object) -> Cost:
        cpu_s, wait_s = measured.pop(0)
        return Cost("none", "noise", 1, 200, cpu_s, 1.0, 2.0, wait_s)

    monkeypatch.setattr(hostile_options, "_cost", cost)
    found = hostile_options._lowest_cost(None, "none", Form("noise", b"", 1, 1), 1, "")  # type: ignore[arg-type]
    assert (found.cpu_s, found.wait_s) == (1.0, 0.1)
    assert len(measured) == 1
