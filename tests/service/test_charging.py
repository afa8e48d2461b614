"""Charges match the cut-outs that were sent, whatever a client does: it disconnects, repeats keys or changes URLs."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.types import Message

from clearcut.accounts.keys import Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from clearcut.web import middleware
from tests.support.cutouts import sample_image
from tests.support.fakes import Stage, on_stage, stage, until
from tests.support.image_server import image_server

NEVER = 10**9
CREDITS = 1000


@dataclass
class Client:
    """One HTTP exchange over ASGI with a client that disconnects at a chosen moment.

    Args:
        reads: body bytes after which the client disconnects.
        asks: calls of ``receive`` after the request body, after which the client has disconnected.
    """

    body: bytes
    headers: list[tuple[bytes, bytes]]
    query: bytes = b""
    reads: int = NEVER
    asks: int = NEVER
    status: int = 0
    answered: dict[bytes, bytes] = field(default_factory=dict)
    received: bytes = b""
    """Start of the body that the server sent before the disconnect."""
    pieces: int = 0

    @property
    def got(self) -> int:
        """Number of received body bytes."""
        return len(self.received)

    @property
    def replayed(self) -> bool:
        """Whether the response is a stored one."""
        return self.answered.get(b"idempotent-replayed") == b"true"

    async def run(self, on: Stage) -> Client:
        gone = asyncio.Event()
        request: list[Message] = [{"type": "http.request", "body": self.body, "more_body": False}]
        messages = 0

        async def receive() -> Message:
            nonlocal messages
            if request:
                return request.pop()
            messages += 1
            if messages > self.asks:
                gone.set()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await asyncio.sleep(0)
            if gone.is_set():
                return
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.answered = dict(message["headers"])
                if self.reads == 0:
                    gone.set()
            elif body := message.get("body", b""):
                self.received += body
                self.pieces += 1
                if self.got >= self.reads:
                    gone.set()

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/v1/remove",
            "raw_path": b"/v1/remove", "query_string": self.query, "headers": self.headers, "scheme": "http",
            "server": ("test", 80), "client": ("127.0.0.1", 1), "root_path": "",
        }  # fmt: skip
        await on.app(scope, receive, send)
        return self


def upload(key: str, body: bytes, idempotency: str = "", **more: object) -> Client:
    return Client(body, _headers(key, idempotency, b"image/png"), **more)


def by_url(key: str, url: str, idempotency: str = "", **more: object) -> Client:
    body = json.dumps({"image_url": url}).encode()
    return Client(body, _headers(key, idempotency, b"application/json"), **more)


def _headers(key: str, idempotency: str, kind: bytes) -> list[tuple[bytes, bytes]]:
    extra = [(b"idempotency-key", idempotency.encode())] if idempotency else []
    return [(b"content-type", kind), (b"x-api-key", key.encode()), *extra]


@cache
def noise(number: int = 0, side: int = 500) -> bytes:
    """A bright image whose cut-out is several pieces long."""
    pixels = np.random.default_rng(number).integers(130, 255, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def accounts(tmp_path):
    url = f"sqlite:///{tmp_path}/accounts.db"
    ledger = Ledger(open_engine(url, 1), 70)
    yield url, ledger
    ledger.close()


def states(url: str) -> dict[str, int]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        return dict(database.execute("select state, count(*) from charges group by state").fetchall())


async def settled(on: Stage) -> None:
    await until(lambda: on.service.accounts.request_charges.unsettled == 0)


@pytest.mark.parametrize("variants", ["", '[{}, {"format": "webp"}]'])
def test_disconnect_after_first_byte_is_charged(accounts, variants):
    url, ledger = accounts
    key = ledger.create("shop", "prepaid", 3, Quotas())
    query = f"variants={variants}".encode() if variants else b""

    async def scenario(on: Stage):
        for _ in range(3):
            client = await upload(key, noise(), query=query, reads=1).run(on)
            assert client.status == 200
            assert client.pieces == 1
        await settled(on)

    on_stage(scenario, database_url=url)
    assert states(url) == {"charged": 3}
    assert ledger.usage(parse_key_id(key)).left == 0


@pytest.mark.parametrize("asks", range(6))
def test_disconnect_before_first_byte_is_not_charged(accounts, asks):
    """``asks`` covers the moments while the image is processed, before the charge, and between it and the body."""
    url, ledger = accounts
    key = ledger.create("shop", "prepaid", 1, Quotas())

    async def scenario(on: Stage):
        client = await upload(key, sample_image(), "order-1", asks=asks).run(on)
        await settled(on)
        return client

    client = on_stage(scenario, database_url=url)
    used = ledger.usage(parse_key_id(key)).used
    assert used == (1 if client.got else 0)
    assert states(url) == ({"charged": 1} if client.got else {"released": 1})


def test_failed_charge_sends_no_cutout(accounts):
    url, ledger = accounts
    key = ledger.create("shop", "prepaid", 1, Quotas())

    async def scenario(on: Stage):
        on.engine.gate.clear()
        waiting = asyncio.create_task(upload(key, sample_image()).run(on))
        await asyncio.to_thread(on.engine.entered.wait, 10)
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            database.execute("update charges set state = 'released'")
            database.commit()
        on.engine.gate.set()
        return await waiting

    assert on_stage(scenario, database_url=url).status == 503


def test_changed_image_under_used_key_is_refused(accounts):
    """The answers are too large to be kept: each repeat fetches the URL again."""
    url, ledger = accounts
    key = ledger.create("shop", "prepaid", 9, Quotas())

    async def scenario(on: Stage):
        cut = [(await by_url(key, files.url("/a.png"), f"order-{n}").run(on)).status for n in range(3)]
        same = [await by_url(key, files.url("/a.png"), f"order-{n}").run(on) for n in range(3)]
        files.responses["/a.png"] = (200, {}, noise(2))
        changed = [(await by_url(key, files.url("/a.png"), f"order-{n}").run(on)).status for n in range(3)]
        await settled(on)
        return cut, same, changed

    with image_server({"/a.png": noise(1)}) as files:
        environ = {"fetch": "on", "fetch_allow": f"127.0.0.1:{files.port}", "replay_mb": "0"}
        cut, same, changed = on_stage(scenario, database_url=url, **environ)
    assert cut == [200] * 3
    assert [(each.status, each.answered[b"x-credits-charged"]) for each in same] == [(200, b"0")] * 3
    assert changed == [400] * 3
    assert states(url) == {"charged": 3}


def test_changed_image_is_refused_after_restart(accounts):
    url, ledger = accounts
    key = ledger.create("shop", "prepaid", 9, Quotas())

    async def scenario(on: Stage):
        client = await by_url(key, files.url("/a.png"), "order-1").run(on)
        await settled(on)
        return client.status

    with image_server({"/a.png": sample_image()}) as files:
        environ = {"fetch": "on", "fetch_allow": f"127.0.0.1:{files.port}", "database_url": url}
        assert on_stage(scenario, **environ) == 200
        files.responses["/a.png"] = (200, {}, sample_image(96))
        assert on_stage(scenario, **environ) == 400


def test_head_request_is_refused(accounts):
    """A response without a body would be work without a charge."""
    url, ledger = accounts
    key = ledger.create("shop", "prepaid", 1, Quotas())

    async def scenario(on: Stage):
        target = files.url("/a.png")
        return await on.client.head("/api/remove", params={"url": target}, headers={"x-api-key": key})

    with image_server({"/a.png": sample_image()}) as files:
        environ = {"fetch": "on", "fetch_allow": f"127.0.0.1:{files.port}", "database_url": url}
        assert on_stage(scenario, **environ).status_code == 405


@dataclass(frozen=True)
class Step:
    """One request of the property test."""

    node: int
    order: int
    """Number of the Idempotency-Key; 0 sends none."""
    image: int
    url: bool
    variants: bool
    reads: int
    asks: int


STEPS = st.builds(
    Step,
    node=st.integers(0, 1),
    order=st.integers(0, 2),
    image=st.integers(0, 1),
    url=st.booleans(),
    variants=st.booleans(),
    reads=st.sampled_from([0, 1, 300, 5_000, NEVER]) | st.integers(0, 20_000),
    asks=st.integers(0, 6) | st.just(NEVER),
)
ROUNDS = st.lists(st.lists(STEPS, min_size=1, max_size=4) | st.just("restart"), min_size=1, max_size=6)
IMAGES = [sample_image(), sample_image(96)]
BY_URL = Step(node=0, order=1, image=0, url=True, variants=False, reads=NEVER, asks=NEVER)
CHANGED_URL = replace(BY_URL, image=1)
QUERY = b"variants=" + json.dumps([{}, {"channels": "alpha"}]).encode()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=ROUNDS, replay_mb=st.sampled_from(["0", "64"]))
@example(rounds=[[BY_URL], [CHANGED_URL]], replay_mb="64")  # the stored cut-out of the first image is sent again
@example(rounds=[[BY_URL], [CHANGED_URL]], replay_mb="0")  # the changed image is refused
@example(rounds=[[BY_URL], "restart", [CHANGED_URL]], replay_mb="64")
def test_charges_equal_cutouts_sent(tmp_path_factory, rounds, replay_mb):
    """Two nodes, several requests at once, restarts. A cut-out sent in part or whole is charged once, and only then.

    A stored response is no further cut-out: it costs nothing, and has the bytes of a cut-out that is charged.
    """
    url = f"sqlite:///{tmp_path_factory.mktemp('charges')}/accounts.db"
    ledger = Ledger(open_engine(url, 1), 70)
    key = ledger.create("shop", "prepaid", CREDITS, Quotas())
    cutouts: set[object] = set()
    computed: dict[tuple[object, ...], list[bytes]] = {}
    stored: list[tuple[tuple[object, ...], Client]] = []

    async def one(step: Step, nodes: list[Stage], target: Callable[[int], str]) -> None:
        more = {"query": QUERY if step.variants else b"", "reads": step.reads, "asks": step.asks}
        idempotency = f"order-{step.order}" if step.order else ""
        make = by_url(key, target(step.image), idempotency, **more) if step.url else upload(
            key, IMAGES[step.image], idempotency, **more
        )  # fmt: skip
        client = await make.run(nodes[step.node])
        if client.status != 200 or not client.got:
            return
        request = (step.order, step.variants, step.url)
        if client.replayed:
            stored.append((request, client))
        else:
            cutouts.add((*request, step.image) if step.order else object())
            computed.setdefault(request, []).append(client.received)

    async def run() -> None:
        with image_server({"/changing.png": IMAGES[0]}) as files:

            def target(image: int) -> str:
                files.responses["/changing.png"] = (200, {}, IMAGES[image])
                return files.url("/changing.png")

            allowed = {"fetch": "on", "fetch_allow": f"127.0.0.1:{files.port}"}
            environ = {"database_url": url, "replay_mb": replay_mb, **allowed}
            todo = list(rounds)
            while todo:
                async with AsyncExitStack() as stack:
                    nodes = [await stack.enter_async_context(stage(**environ)) for _ in range(2)]
                    while todo and (now := todo.pop(0)) != "restart":
                        # Requests at once share one image: the file behind the URL changes between rounds.
                        steps = [Step(**{**vars(each), "image": now[0].image}) for each in now]
                        await asyncio.gather(*(one(each, nodes, target) for each in steps))
                        for node in nodes:
                            await settled(node)

    pieces, middleware._CHUNK_BYTES = middleware._CHUNK_BYTES, 256
    try:
        asyncio.run(run())
    finally:
        middleware._CHUNK_BYTES = pieces
    used = ledger.usage(parse_key_id(key)).used
    ledger.close()
    assert used == len(cutouts)
    for request, client in stored:
        assert client.answered[b"x-credits-charged"] == b"0"
        assert any(same_start(client.received, body) for body in computed[request])


def same_start(first: bytes, second: bytes) -> bool:
    length = min(len(first), len(second))
    return first[:length] == second[:length]
