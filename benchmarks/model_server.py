"""A server with the default and a further model, and its client, for ``model_quality`` and ``model_latency``."""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.live_server import Server, started

TIMEOUT_S = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with the file of the further model")
    parser.add_argument("--further", default="isnet-general-use", help="name of the further model")


@contextmanager
def served_models(further: str, model_dir: Path) -> Iterator[tuple[Server, str]]:
    """Start a server without time limits that matter; yield it with the name of its default model."""
    folder, limit = str(model_dir.resolve()), str(TIMEOUT_S)
    with started(models=further, model_dir=folder, deadline_s=limit, watchdog_s=limit) as server:
        yield server, server.listening().event("ready", TIMEOUT_S)["name"]


def remove(server: Server, image: bytes, model: str) -> bytes:
    """Return the PNG of an image.

    Raises:
        RuntimeError: the status is not 200, or another model ran.
    """
    connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_S)
    try:
        path = f"/v1/remove?format=png&model={model}"
        connection.request("POST", path, image, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200 or response.headers["X-Model"] != model:
        raise RuntimeError(f"{response.status} from {response.headers['X-Model']}: {body[:200]!r}")
    return body


def info(server: Server) -> dict[str, Any]:
    """Return the body of ``/v1/info``."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    try:
        connection.request("GET", "/v1/info")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()
