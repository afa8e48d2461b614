"""What an earlier start chose is believed while model, CPU and settings are the same, and never more than that."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from clearcut.inference.model_files import load_model
from clearcut.inference.startup.cache import MAX_AGE_S, CachedPlan, PlanCache, available_variants, cache_key
from tests.support.clock import FakeClock
from tests.support.onnx_models import ModelMaker

CHOICE = CachedPlan("int8", 2, 1, (1, 2))


def test_a_choice_comes_back_until_it_is_old(tmp_path: Path) -> None:
    clock = FakeClock()
    cache = PlanCache(tmp_path / "made" / "when-needed", clock)
    assert cache.get("a") is None
    cache.put("a", CHOICE)
    assert cache.get("a") == CHOICE
    assert cache.get("b") is None
    clock.now += MAX_AGE_S
    assert cache.get("a") is None
    clock.now = 0.0  # a clock that was set back
    assert cache.get("a") is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"at": 0}',
        json.dumps({"at": 0, "choice": {"precision": "fp32", "lanes": 0, "intra_op_threads": 1, "buckets": [1]}}),
        json.dumps({"at": 0, "choice": {"precision": "fp32", "lanes": 1, "intra_op_threads": 1, "buckets": []}}),
        json.dumps({"at": 0, "choice": {"precision": "fp32", "lanes": "2", "intra_op_threads": 1, "buckets": [1]}}),
        json.dumps({"at": 0, "choice": {"lanes": 1}}),
    ],
)
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert PlanCache(tmp_path, lambda: 1.0).get("a") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = PlanCache(tmp_path / "file")
    cache.put("a", CHOICE)
    assert cache.get("a") is None


def test_the_key_follows_model_settings_and_cpu(models: ModelMaker, tmp_path: Path) -> None:
    entry = load_model("tiny", models()).entry
    cpus = [tmp_path / name for name in ("one", "other")]
    for number, path in enumerate(cpus):
        path.write_text(f"model name\t: kind {number}\nflags\t\t: sse avx\ncpu MHz\t\t: {number}\n")
    asked = {"precision": "auto", "lanes": 0}
    key = cache_key(entry, asked, cpus[0])
    assert cache_key(entry, asked, cpus[0]) == key
    others = {
        cache_key(entry, asked, cpus[1]),
        cache_key(entry, asked | {"lanes": 2}, cpus[0]),
        cache_key(replace(entry, sha256="0" * 64), asked, cpus[0]),
    }
    assert key not in others
    assert len(others) == 3


def test_a_variant_that_is_made_later_is_seen(models: ModelMaker, tmp_path: Path) -> None:
    entry = load_model("tiny", models()).entry
    made = replace(entry, file="tiny.int8.onnx", sha256=None, precision="int8", recipe="make it")
    entry = replace(entry, variants={"int8": made})
    folders = [tmp_path / "nowhere", tmp_path]
    assert available_variants(entry, folders) == {}
    (tmp_path / made.file).write_bytes(b"one")
    first = available_variants(entry, folders)
    assert set(first) == {"int8"}
    os.utime(tmp_path / made.file, (1, 1))
    assert available_variants(entry, folders) not in ({}, first)
