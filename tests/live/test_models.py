"""Two models in one server: each gives the bytes that a server with this model alone gives."""

from __future__ import annotations

import pytest

from tests.support import samples
from tests.support.live_server import http_client, served

pytestmark = pytest.mark.live

DEFAULT, FURTHER = "clearcut-m", "clearcut-s"
MEASURE_NOTHING = {"precision": "fp32", "lanes": "1", "buckets": "1", "intra_op_threads": "1"}
PHOTOS = [samples.jpeg(samples.photo("astronaut", 256, 256)), samples.png(samples.photo("coffee", 320, 200))]
REQUESTS = [
    ("/v1/remove", {}),
    ("/v1/remove", {"format": "webp", "bg_color": "#336699", "crop": "true"}),
    ("/api/remove", {}),
]


def outputs(client, name: str, chosen: bool) -> list[bytes]:
    """Return the bodies of all requests; each response names the model."""
    bodies = []
    for photo in PHOTOS:
        for path, options in REQUESTS:
            field = "file" if path.startswith("/api") else "image_file"
            data = {**options, "model": name} if chosen else options
            response = client.post(path, files={field: ("photo", photo)}, data=data)
            assert response.status_code == 200, response.text
            assert response.headers["x-model"] == name
            bodies.append(response.content)
    return bodies


def alone(name: str) -> list[bytes]:
    with served(model=name, **MEASURE_NOTHING) as server, http_client(server) as client:
        return outputs(client, name, chosen=False)


def test_models_side_by_side_equal_single_model_servers():
    with served(models=FURTHER, **MEASURE_NOTHING) as server, http_client(server) as client:
        default, further = outputs(client, DEFAULT, chosen=True), outputs(client, FURTHER, chosen=True)
        assert outputs(client, DEFAULT, chosen=False) == default
        assert client.post("/v1/remove", files={"image_file": PHOTOS[0]}, data={"model": "u2netp"}).status_code == 400
    assert default == alone(DEFAULT)
    assert further == alone(FURTHER)
    assert all(first != second for first, second in zip(default, further, strict=True))
