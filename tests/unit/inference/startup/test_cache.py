"""A cached plan is used while model, CPU and settings are the same."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from clearcut.inference.model_files import load_model
from clearcut.inference.startup.cache import MAX_AGE_S, CachedPlan, PlanCache, available_variants, cache_key
from tests.support.onnx_models import ModelMaker

PLAN = CachedPlan("int8", 2, 1, (1, 2), 40.5)


def test_plan_expires(tmp_path: Path) -> None:
    now = [1000.0]
    cache = PlanCache(tmp_path / "created" / "when-needed", lambda: now[0])
    assert cache.get("a") is None
    cache.put("a", PLAN)
    assert cache.get("a") == PLAN
    assert cache.get("b") is None
    now[0] += MAX_AGE_S
    assert cache.get("a") is None
    now[0] = 0.0  # the clock was set back
    assert cache.get("a") is None


VALID = {"precision": "fp32", "lanes": 1, "intra_op_threads": 1, "buckets": [1], "images_per_s": 1.5}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"at": 0}',
        json.dumps({"at": 0, "choice": VALID | {"lanes": 0}}),
        json.dumps({"at": 0, "choice": VALID | {"buckets": []}}),
        json.dumps({"at": 0, "choice": VALID | {"lanes": "2"}}),
        json.dumps({"at": 0, "choice": VALID | {"images_per_s": 0.0}}),
        json.dumps({"at": 0, "choice": VALID | {"images_per_s": "1"}}),
        json.dumps({"at": 0, "choice": {"lanes": 1}}),
    ],
)
def test_damaged_file_is_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert PlanCache(tmp_path, lambda: 1.0).get("a") is None


def test_valid_file_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"at": 0, "choice": VALID}))
    assert PlanCache(tmp_path, lambda: 1.0).get("a") == CachedPlan("fp32", 1, 1, (1,), 1.5)


def test_unwritable_folder_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = PlanCache(tmp_path / "file")
    cache.put("a", PLAN)
    assert cache.get("a") is None


def test_key_depends_on_model_settings_and_cpu(models: ModelMaker, tmp_path: Path) -> None:
    entry = load_model("tiny", models()).entry
    cpus = [tmp_path / name for name in ("one", "other")]
    for number, path in enumerate(cpus):
        path.write_text(f"model name\t: kind {number}\nflags\t\t: sse avx\ncpu MHz\t\t: {number}\n")
    requested = {"precision": "auto", "lanes": 0}
    key = cache_key(entry, requested, cpus[0])
    assert cache_key(entry, requested, cpus[0]) == key
    others = {
        cache_key(entry, requested, cpus[1]),
        cache_key(entry, requested | {"lanes": 2}, cpus[0]),
        cache_key(replace(entry, sha256="0" * 64), requested, cpus[0]),
    }
    assert key not in others
    assert len(others) == 3


def test_new_variant_file_is_found(models: ModelMaker, tmp_path: Path) -> None:
    entry = load_model("tiny", models()).entry
    variant = replace(entry, file="tiny.int8.onnx", sha256=None, precision="int8", recipe="make it")
    entry = replace(entry, variants={"int8": variant})
    folders = [tmp_path / "nowhere", tmp_path]
    assert available_variants(entry, folders) == {}
    (tmp_path / variant.file).write_bytes(b"one")
    first = available_variants(entry, folders)
    assert set(first) == {"int8"}
    os.utime(tmp_path / variant.file, (1, 1))
    assert available_variants(entry, folders) not in ({}, first)
