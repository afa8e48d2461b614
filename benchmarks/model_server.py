"""A server with the default and a further model, and its client, for ``model_quality`` and ``model_latency``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.http_request import get, post_image
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
    response = post_image(server, f"/v1/remove?format=png&model={model}", image, TIMEOUT_S)
    if response.headers["X-Model"] != model:
        raise RuntimeError(f"the model was {response.headers['X-Model']}")
    return response.body


def info(server: Server) -> dict[str, Any]:
    """Return the body of ``/v1/info``."""
    found: dict[str, Any] = json.loads(get(server, "/v1/info").body)
    return found
