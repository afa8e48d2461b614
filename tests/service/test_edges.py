"""The edge model corrects the mattes of the models that say so, and of no other."""

import asyncio
from dataclasses import replace

import pytest

from app import settings as app_settings
from app.errors import StartupError
from app.inference.edges import EdgeNetwork
from app.inference.plan import Plan
from app.lifecycle import State
from app.service import Served, build
from tests.fakes import ENTRY, BrightIsSubject


def service_with(edges: bool):
    plan = Plan("cpu", 1, 1, (1, 2, 4), {1: 0.001, 2: 0.001, 4: 0.001}, 1000.0)
    entry = replace(ENTRY, edges=edges)
    return build(app_settings.load({}), load=lambda: Served(entry, [BrightIsSubject()], plan))


@pytest.mark.parametrize("edges", [True, False])
def test_only_where_the_model_says_so(edges: bool) -> None:
    async def run() -> None:
        service = service_with(edges)
        await service.start()
        try:
            assert isinstance(service.pipeline.edges, EdgeNetwork) is edges
            assert service.pipeline.moderator is None
            assert service.served.facts["edges"] == ("yes" if edges else "no")
        finally:
            await service.stop()

    asyncio.run(run())


def test_a_damaged_file_is_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> EdgeNetwork:
        raise StartupError("Edge model: damaged")

    monkeypatch.setattr("app.service.load_edges", damaged)

    async def run() -> None:
        service = service_with(True)
        try:
            with pytest.raises(StartupError, match="damaged"):
                await service.start()
            assert service.lifecycle.state is State.FAILED
        finally:
            await service.stop()

    asyncio.run(run())
