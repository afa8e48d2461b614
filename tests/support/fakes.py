"""A service with a fake model: bright pixels are the subject. For tests of the service around the model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import numpy as np

from clearcut.environment import load_settings
from clearcut.imaging.types import InputSpec
from clearcut.inference.manifest import ModelEntry
from clearcut.inference.startup.autotune import ExecutionPlan
from clearcut.inference.startup.load import ServedModel
from clearcut.service import Service, build
from clearcut.web.app import create_app

SIDE = 64
ENTRY = ModelEntry(
    name="fake",
    file="fake.onnx",
    sha256="0" * 64,
    licence="none",
    source="tests",
    input=InputSpec(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    output="probability",
    batch_min=1,
    batch_max=8,
    golden=None,
)


class BrightIsSubject:
    """f32[n,3,S,S] to f32[n,S,S]: 1 where the image is brighter than mid-gray. Runs wait while ``gate`` is cleared."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.fault: BaseException | None = None

    def run(self, batch):
        self.entered.set()
        self.gate.wait(30)
        if self.fault is not None:
            raise self.fault
        return (batch.mean(axis=1) > 0).astype(np.float32)


class DarkIsSubject(BrightIsSubject):
    """The opposite of ``BrightIsSubject``, for tests with several models."""

    def run(self, batch):
        return 1 - super().run(batch)


PLAN = ExecutionPlan("cpu", 1, 1, (1, 2, 4), {1: 0.001, 2: 0.001, 4: 0.001}, 1000.0)
FURTHER = "dark"


def serving(engine: BrightIsSubject, further: BrightIsSubject | None = None, cost_s: float = 0.001, **environ: str):
    """Return a service with the model ``fake``, and with ``dark`` if there is a ``further`` engine."""
    settings = load_settings({f"CLEARCUT_{name.upper()}": value for name, value in environ.items()})
    models = [ServedModel(ENTRY, [engine], PLAN)]
    if further is not None:
        plan = ExecutionPlan("cpu", 1, 1, (1,), {1: cost_s}, 1 / cost_s)
        models.append(ServedModel(replace(ENTRY, name=FURTHER, batch_max=1), [further], plan, 5_000_000))
    return build(settings, load=lambda: models)


class Stage:
    """A started service with its application and an ASGI client."""

    def __init__(self, service: Service, engine: BrightIsSubject) -> None:
        self.service = service
        self.engine = engine
        self.app = create_app(service)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://clearcut")

    async def post(self, content: bytes, **query: str) -> httpx.Response:
        return await self.client.post(
            "/v1/remove", content=content, params=query, headers={"content-type": "image/png"}
        )


@asynccontextmanager
async def stage(*, start: bool = True, further: BrightIsSubject | None = None, cost_s: float = 0.001, **environ: str):
    engine = BrightIsSubject()
    on = Stage(serving(engine, further, cost_s, **environ), engine)
    if start:
        await on.service.start()
    try:
        yield on
    finally:
        engine.gate.set()
        if further is not None:
            further.gate.set()
        await on.client.aclose()
        await on.service.stop()


def on_stage(scenario: Callable[[Stage], Awaitable[object]], **environ: Any) -> object:
    """Run ``scenario`` against a started service and return its result. ``start=False`` leaves it in STARTING."""

    async def run():
        async with stage(**environ) as on:
            return await scenario(on)

    return asyncio.run(run())


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds, and let the event loop run meanwhile."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)
