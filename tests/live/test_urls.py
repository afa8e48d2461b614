"""The real server fetches from this machine: allow-listed hosts only, and it connects to nothing else."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support import samples
from tests.support.hostile.urls import PRIVATE_LITERALS, TRICKS
from tests.support.image_server import image_server
from tests.support.live_server import ROOT, environment, http_client, served
from tests.support.metrics import metric

pytestmark = pytest.mark.live

PHOTO = samples.png(samples.photo("coffee")[::2, ::2])
SECRET = b"what only this machine may read"


@pytest.fixture(scope="module")
def image_host():
    with image_server({"/photo.png": PHOTO}) as running:
        yield running


@pytest.fixture(scope="module")
def private_host():
    """Start a local server that is not allow-listed."""
    with image_server({"/photo.png": PHOTO, "/": SECRET}) as running:
        yield running


@pytest.fixture(scope="module")
def server(image_host):
    with served(fetch="on", fetch_allow=f"127.0.0.1:{image_host.port}", log_level="debug") as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with http_client(server) as talking:
        yield talking


def cut(client, url, **fields):
    return client.post("/v1/remove", json={"image_url": url, **fields})


def test_fetched_image_equals_uploaded_image(client, image_host):
    by_address = cut(client, image_host.url("/photo.png?token=hidden-token"))
    uploaded = client.post("/v1/remove", files={"image_file": PHOTO})
    assert by_address.status_code == uploaded.status_code == 200
    ours, theirs = (np.asarray(Image.open(io.BytesIO(each.content))) for each in (by_address, uploaded))
    assert np.array_equal(ours, theirs)
    assert ours.shape[2] == 4
    assert ours[..., 3].mean() > 10


def test_every_forbidden_url_is_refused(client, private_host):
    """Includes every spelling of a local server's own address and port."""
    port = private_host.port
    spellings = [
        f"{scheme}://{name}:{port}/"
        for scheme in ("http", "https")
        for name in (
            "127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0", "localhost", "LOCALHOST.", "[::1]",
            "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "127.0.0.1.", "127.0.0.2", "１２７.0.0.1",
            "localhost.localdomain", "a@127.0.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0.0.0.0", "[::]",
        )
    ]  # fmt: skip
    every = [
        *(f"https://{each}/" for each in PRIVATE_LITERALS),
        *(each for each in TRICKS if each == each.strip()),
        *spellings,
    ]
    assert len(every) >= 150
    for url in every:
        response = cut(client, url)
        assert response.status_code == 400, (url, response.status_code)
        if url:  # an empty field counts as absent
            assert "image_url" in response.json()["details"] or "JSON" in response.json()["details"], (
                url,
                response.text,
            )
    assert private_host.requests == []


def test_redirect_to_private_host_is_not_followed(client, image_host, private_host):
    targets = (private_host.url("/"), f"http://localhost:{private_host.port}/", "file:///etc/passwd")
    for number, target in enumerate(targets):
        image_host.responses[f"/away{number}"] = (302, {"Location": target}, b"")
        response = cut(client, image_host.url(f"/away{number}"))
        assert response.status_code == 400
        assert "Invalid value for 'image_url'" in response.json()["details"]
        assert SECRET.decode() not in response.text
    assert private_host.requests == []


def test_fetched_non_image_content_is_not_revealed(client, image_host):
    image_host.responses["/page"] = (200, {"Content-Type": "image/png"}, b"secret text of an intranet page")
    response = cut(client, image_host.url("/page"))
    assert response.status_code == 400
    assert "secret" not in response.text
    assert "detected text" in response.json()["details"]


def test_log_has_only_host_of_url(server, client, image_host):
    cut(client, image_host.url("/hidden-path?token=hidden-token"))
    cut(client, "https://hidden-user:hidden-password@example.com/")
    output = json.dumps(server.log) + "\n".join(server.errors)
    assert '"fetched"' in output
    assert "hidden" not in output


def test_fetch_stage_and_refusals_are_counted(server, client, image_host):
    before = metric(server, "clearcut_stage_seconds_count", stage="fetch")
    response = cut(client, image_host.url("/photo.png"))
    assert "fetch;dur=" in response.headers["server-timing"]
    assert metric(server, "clearcut_stage_seconds_count", stage="fetch") == before + 1
    urls = {"done": image_host.url("/photo.png"), "failed": image_host.url("/none"), "refused": "https://10.0.0.1/"}
    for outcome, url in urls.items():
        count = metric(server, "clearcut_fetches_total", outcome=outcome)
        cut(client, url)
        assert metric(server, "clearcut_fetches_total", outcome=outcome) == count + 1


def test_http_client_is_not_loaded_without_fetching():
    """The default service needs neither these packages nor their memory."""
    code = (
        "import sys, clearcut.server.runner; from clearcut.settings import Settings; from clearcut.service "
        "import build; build(Settings()); "
        "print(sorted({'httpcore2', 'httpx', 's3fs', 'fsspec', 'dbos', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
