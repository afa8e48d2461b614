"""The load tools, and a short form of benchmarks/mixed_load.py (`make test-load`). The long form stores its result."""

from __future__ import annotations

import json
import random

import pytest

from benchmarks import mixed_cases, mixed_load
from benchmarks.http_load import main
from tests.support import samples
from tests.support.live_server import served
from tests.support.raw_http import RawConnection

pytestmark = pytest.mark.live

SMALL = (0.15, 0.2, 0.3)


@pytest.mark.slow
def test_mixed_load_returns_each_client_its_own_image(monkeypatch):
    monkeypatch.setattr(mixed_cases, "MEGAPIXELS", SMALL)
    with served() as server:
        result = mixed_load.measure(server, requests=150, concurrency=16, catalogue_size=10)
    assert sum(result["answers"].values()) + sum(result["hung_up"].values()) == 150
    assert set(result["answers"]) == {"200"}
    assert result["wrong_answers"] == []
    assert result["descriptors"]["end"] <= result["descriptors"]["before"]
    assert result["threads"]["end"] <= result["threads"]["before"]


def test_load_check_detects_swapped_responses(server, monkeypatch):
    """Two photos of one size, so that only the pixels differ."""
    monkeypatch.setattr(mixed_cases, "MEGAPIXELS", SMALL)
    mine, other = mixed_cases.photos(2, random.Random(1))
    references = mixed_load.references_of(server, [mine])
    for options in mixed_cases.OPTIONS:
        case = mixed_cases.Case(1, mine, options, raw=True)
        with RawConnection(server.port) as connection:
            connection.send(case.connection())
            response = connection.read_response()
        assert mixed_cases.wrong(case, references[mine.name], response.headers, response.body) == ""
        flipped = mixed_cases.Reference(references[mine.name].rgba[:, ::-1, [1, 2, 0, 3]], references[mine.name].box)
        assert mixed_cases.wrong(case, flipped, response.headers, response.body) != ""
        assert mixed_cases.wrong(
            mixed_cases.Case(1, other, options, raw=True), references[mine.name], response.headers, response.body
        ).startswith("original size")


def test_load_tool_reports_results(server, capsys, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(samples.jpeg(samples.photo("coffee", 320, 240)))
    url = f"http://{server.host}:{server.port}/v1/remove?size=preview"
    for how in (["--rate", "5"], ["--at-once", "2"], ["--at-once", "2", "--form", "image_file"]):
        assert main([url, str(photo), *how, "--seconds", "1"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert set(result["statuses"]) == {"200"}
        assert 0 < result["p50_ms"] <= result["p99.9_ms"]
