"""The edge model corrects the mattes of the models that say so, and of no other."""

import asyncio
from dataclasses import replace

import pytest

from clearcut.environment import load_settings
from clearcut.errors import StartupError
from clearcut.inference.edge_model import OnnxEdgeModel
from clearcut.inference.startup.autotune import ExecutionPlan
from clearcut.inference.startup.load import ServedModel
from clearcut.lifecycle import State
from clearcut.service import build
from tests.support.fakes import ENTRY, BrightIsSubject


def service_with(edges: bool):
    plan = ExecutionPlan("cpu", 1, 1, (1, 2, 4), {1: 0.001, 2: 0.001, 4: 0.001}, 1000.0)
    entry = replace(ENTRY, edges=edges)
    return build(load_settings({}), load=lambda: ServedModel(entry, [BrightIsSubject()], plan))


@pytest.mark.parametrize("edges", [True, False])
def test_only_where_the_model_says_so(edges: bool) -> None:
    async def run() -> None:
        service = service_with(edges)
        await service.start()
        try:
            assert isinstance(service.pipeline.edges, OnnxEdgeModel) is edges
            assert service.pipeline.moderator is None
            assert service.model.labels["edges"] == ("yes" if edges else "no")
        finally:
            await service.stop()

    asyncio.run(run())


def test_a_damaged_file_is_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> OnnxEdgeModel:
        raise StartupError("Edge model: damaged")

    monkeypatch.setattr("clearcut.service.load_edge_model", damaged)

    async def run() -> None:
        service = service_with(True)
        try:
            with pytest.raises(StartupError, match="damaged"):
                await service.start()
            assert service.lifecycle.state is State.FAILED
        finally:
            await service.stop()

    asyncio.run(run())
