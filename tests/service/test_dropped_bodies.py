"""Request bodies that arrive after the response, on sockets of a server in this process, with short time limits."""

import asyncio
import contextlib
import json
import time

import uvicorn

from clearcut.server.http_protocol import protocol_class
from tests.support.fakes import Stage, on_stage

KEEP_ALIVE_S = 20
WAIT_S = 10
"""Maximum seconds of each wait. It is below ``KEEP_ALIVE_S``, so the limits of the dropped body must act."""
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def upload(length, path="/nowhere"):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n".encode()


class Client:
    def __init__(self, reader, writer, protocols):
        self.reader, self.writer, self.protocols = reader, writer, protocols

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def response(self):
        """Return (status, headers, body)."""
        async with asyncio.timeout(WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-2])}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def seconds_until_closed(self):
        begun = time.monotonic()
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionError):
                assert await self.reader.read() == b""
        return time.monotonic() - begun


def with_client(scenario, **environ):
    """Run ``scenario`` with a connection to a server with these settings."""

    async def serve(on: Stage):
        config = uvicorn.Config(
            on.app, http=protocol_class(on.service), ws="none", lifespan="off", log_config=None,
            access_log=False, timeout_keep_alive=KEEP_ALIVE_S,
        )  # fmt: skip
        config.load()
        state = uvicorn.server.ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: config.http_protocol_class(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            return await scenario(Client(reader, writer, state.connections))
        finally:
            writer.close()
            server.close()
            for protocol in list(state.connections):
                protocol.transport.abort()

    return on_stage(serve, **environ)


def test_content_length_with_many_zeros_gets_json_error():
    async def scenario(client):
        await client.send(upload("0" * 5000 + "4") + b"body")
        refused = await client.response()
        await client.send(upload("0" * 5000 + "4", "/v1/remove") + b"body")
        return refused, await client.response()

    unknown_path, invalid = with_client(scenario)
    assert unknown_path[0] == 404
    assert json.loads(unknown_path[2])["request_id"] == unknown_path[1]["x-request-id"]
    assert invalid[0] == 400
    assert json.loads(invalid[2])["code"] == "validation_error"


def test_dropped_body_leaves_full_time_for_next_head():
    async def scenario(client):
        await client.send(upload(100))
        first = await client.response()
        await client.send(bytes(100))
        await asyncio.sleep(0.7)  # longer than the limit of a pause
        await client.send(LIVEZ[:20])
        await asyncio.sleep(0.1)
        await client.send(LIVEZ[20:])
        return first[0], (await client.response())[0]

    assert with_client(scenario, body_stall_s="0.5") == (404, 200)


def test_idle_time_after_dropped_body_is_limited(monkeypatch):
    monkeypatch.setattr(f"{__name__}.KEEP_ALIVE_S", 0.3)

    async def scenario(client):
        await client.send(upload(100))
        await client.response()
        await client.send(bytes(100))
        return await client.seconds_until_closed()

    assert with_client(scenario, body_stall_s="30") >= 0.2


def test_steady_dropped_body_may_take_longer_than_a_pause():
    async def scenario(client):
        await client.send(upload(1000))
        first = await client.response()
        for _ in range(10):
            await asyncio.sleep(0.1)
            await client.send(bytes(100))
        await client.send(LIVEZ)
        return first[0], (await client.response())[0]

    assert with_client(scenario, body_stall_s="0.6") == (404, 200)


def test_endless_dropped_body_is_cut_at_deadline():
    async def scenario(client):
        await client.send(upload(10_000_000))
        await client.response()
        sender = asyncio.create_task(send_slowly(client))
        try:
            return await client.seconds_until_closed()
        finally:
            sender.cancel()

    async def send_slowly(client):
        with contextlib.suppress(ConnectionError):
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.05)

    assert with_client(scenario, deadline_s="0.6", body_stall_s="9") >= 0.5


def test_silent_client_of_refused_upload_is_disconnected():
    async def scenario(client):
        await client.send(upload(1000))
        await client.response()
        return await client.seconds_until_closed()

    assert with_client(scenario, body_stall_s="0.2") >= 0.1


def test_empty_lines_do_not_keep_a_connection_open():
    async def scenario(client):
        await client.send(upload(4) + b"body")
        await client.response()
        await client.send(b"\r\n")
        async with asyncio.timeout(WAIT_S):
            return await client.reader.read()

    assert with_client(scenario, body_stall_s="0.2").startswith(b"HTTP/1.1 408 ")


def test_shutdown_waits_for_dropped_body():
    async def scenario(client):
        await client.send(upload(200))
        await client.response()
        (protocol,) = client.protocols
        protocol.shutdown()
        await client.send(bytes(100))
        await asyncio.sleep(0.05)
        open_before_end = protocol in client.protocols
        await client.send(bytes(100))
        await client.seconds_until_closed()
        return open_before_end

    assert with_client(scenario)
