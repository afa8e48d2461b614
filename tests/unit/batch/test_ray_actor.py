"""The memory of an actor of a bulk run between blocks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import clearcut
from clearcut.batch.types import BatchItem, BatchPlan, BatchResources

pytest.importorskip("pyarrow", reason="not installed: pyarrow; run `make test-ray`")


def test_memory_is_released_after_the_last_call(tmp_path, monkeypatch):
    from clearcut.batch import ray_actor

    releases = []
    finish = {name: threading.Event() for name in ("first", "second")}

    class Backend:
        concurrency = 2

    class WaitingActor(ray_actor.CutActor):
        def _load_backend(self):
            return Backend()

        def _process(self, item):
            assert finish[item.key].wait(10)
            return [item.key, "ok", "", "", 1.0]

    monkeypatch.setattr(ray_actor, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(ray_actor, "release_free_memory", lambda: releases.append(1))
    plan = BatchPlan(
        str(tmp_path), str(tmp_path / "out"), "png", "", False, {}, {}, BatchResources(1, 1, 0.0), clearcut.__version__
    )
    actor = WaitingActor(plan)
    assert len(releases) == 1  # after the model is loaded
    with ThreadPoolExecutor(2) as pool:
        blocks = [ray_actor.encode(ray_actor.item_values([BatchItem(name, name, name)])) for name in finish]
        calls = [pool.submit(actor, block) for block in blocks]
        while actor._calls < 2:
            threading.Event().wait(0.01)
        finish["first"].set()
        assert ray_actor.decode(calls[0].result(10))[0][0] == "first"
        assert len(releases) == 1
        finish["second"].set()
        assert ray_actor.decode(calls[1].result(10))[0][0] == "second"
    assert len(releases) == 2
