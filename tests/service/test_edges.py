"""The edge model corrects mattes of the models whose manifest entry enables it."""

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
    return build(load_settings({}), load=lambda: [ServedModel(entry, [BrightIsSubject()], plan)])


@pytest.mark.parametrize("edges", [True, False])
def test_edge_model_is_used_if_manifest_enables_it(edges: bool) -> None:
    async def run() -> None:
        service = service_with(edges)
        await service.start()
        try:
            assert isinstance(service.pipeline.config.edge_model, OnnxEdgeModel) is edges
            assert service.pipeline.config.moderator is None
            assert service.model.labels["edges"] == ("yes" if edges else "no")
        finally:
            await service.stop()

    asyncio.run(run())


def test_damaged_edge_model_prevents_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> OnnxEdgeModel:
        raise StartupError("Edge model: damaged")

    monkeypatch.setattr("clearcut.pipeline_factory.load_edge_model", damaged)

    async def run() -> None:
        service = service_with(True)
        try:
            with pytest.raises(StartupError, match="damaged"):
                await service.start()
            assert service.lifecycle.state is State.FAILED
        finally:
            await service.stop()

    asyncio.run(run())
