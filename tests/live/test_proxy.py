"""The example configurations of ``deploy/proxy`` in front of the real server."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from clearcut.settings import MIB, Settings
from clearcut.web.request.limits import ENVELOPE_BYTES, base64_size
from tests.support import samples
from tests.support.live_server import Server, served
from tests.support.metrics import metric
from tests.support.proxies import CADDY, NGINX, caddy, free_port, nginx

pytestmark = pytest.mark.live
needs_nginx = pytest.mark.skipif(not Path("/usr/sbin/nginx").exists(), reason="nginx is not installed (nginx-light)")
needs_caddy = pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")

PHOTO = samples.photo("coffee", 240, 160)
PNG = samples.png(PHOTO)


class Proxied:
    def __init__(self, server: Server, https: int, http: int, ca: Path) -> None:
        self.server, self.https, self.http = server, https, http
        self.tls = ssl.create_default_context(cafile=str(ca))
        self.client = httpx.Client(base_url=f"https://127.0.0.1:{https}", verify=self.tls, timeout=60, trust_env=False)

    def connection(self) -> ssl.SSLSocket:
        return self.tls.wrap_socket(
            socket.create_connection(("127.0.0.1", self.https), 60), server_hostname="localhost"
        )


@pytest.fixture(scope="module")
def proxied(tmp_path_factory) -> Iterator[Proxied]:
    """Start a server with metrics on its main port. Only nginx protects them."""
    with served() as server, nginx(server.port, tmp_path_factory.mktemp("nginx"), 0.5) as (https, http, ca):
        proxied = Proxied(server, https, http, ca)
        yield proxied
        proxied.client.close()


def read_all(connection: ssl.SSLSocket) -> bytes:
    """Read until the other side closes."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return data


@needs_nginx
def test_nginx_serves_cut_out(proxied):
    response = proxied.client.post("/v1/remove", files={"image_file": PNG}, headers={"x-request-id": "through.nginx-1"})
    assert response.status_code == 200
    rgba = np.asarray(Image.open(io.BytesIO(response.content)))
    assert np.array_equal(rgba[rgba[..., 3] == 255][:, :3], PHOTO[rgba[..., 3] == 255])
    assert response.headers["x-request-id"] == "through.nginx-1"
    assert proxied.server.event("request", request_id="through.nginx-1")["status"] == 200
    assert response.headers["strict-transport-security"].startswith("max-age=")
    assert response.headers["server"] == "nginx"
    assert response.headers["x-content-type-options"] == "nosniff"


@needs_nginx
def test_nginx_replaces_invalid_request_id(proxied):
    response = proxied.client.get("/v1/info", headers={"x-request-id": "not one, too odd"})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


@needs_nginx
@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/metrics?x=1", "//metrics", "/%6detrics"])
def test_nginx_hides_operator_routes(proxied, path):
    response = proxied.client.get(path)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"
    assert "clearcut_" not in response.text


@needs_nginx
def test_plain_http_is_redirected_to_https(proxied):
    response = httpx.post(f"http://127.0.0.1:{proxied.http}/v1/remove?size=small", content=PNG, trust_env=False)
    assert response.status_code == 308
    assert response.headers["location"] == "https://127.0.0.1/v1/remove?size=small"


@needs_nginx
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "x"])
def test_plain_http_for_another_host_is_closed(proxied, host):
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{proxied.http}/v1/info", headers={"host": host}, trust_env=False)


@needs_nginx
def test_nginx_logs_no_signed_url(tmp_path):
    with nginx(free_port(), tmp_path, 5) as (https, http, ca):
        verify = ssl.create_default_context(cafile=str(ca))
        path = "/v1/outputs/a.png?expires=1&signature=secret-91"
        for url in (f"https://127.0.0.1:{https}{path}", f"http://127.0.0.1:{http}{path}"):
            httpx.get(url, verify=verify, timeout=60, trust_env=False)
    logs = {file.name: file.read_text() for file in tmp_path.glob("*.log")}
    assert '"status":503' in logs["clearcut.log"]
    assert [name for name, text in logs.items() if "secret-91" in text] == []


@needs_nginx
def test_nginx_stops_trickling_headers(proxied):
    with proxied.connection() as connection:
        connection.sendall(b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert b" 200 " not in read_all(connection)
    assert not [line for line in proxied.server.log if line.get("reason") == "head_timeout"]


@needs_nginx
def test_nginx_stops_stalled_bodies(proxied):
    with proxied.connection() as connection:
        head = f"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(PNG)}\r\n\r\n"
        connection.sendall(head.encode() + PNG[:1000])
        for _ in range(20):
            assert metric(proxied.server, "clearcut_slots_used") == 0
        assert b" 200 " not in read_all(connection)


@needs_nginx
def test_too_large_body_gets_service_error(proxied):
    ours = proxied.client.post("/v1/remove", content=bytes(21 * MIB), headers={"content-type": "image/png"})
    assert (ours.status_code, ours.json()["code"]) == (400, "image_too_large")
    assert ours.json()["details"] == "Maximum file size is 20 MiB (server setting CLEARCUT_MAX_BYTES)"
    with proxied.connection() as connection:
        connection.sendall(
            b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 99999999\r\n\r\n"
        )
        response = read_all(connection)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert b'"image_too_large"' in response


@needs_nginx
@pytest.mark.parametrize(
    ("broken", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET /v1/info HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/remove HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "bad_request"),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, "method_not_allowed"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
    ],
)
def test_nginx_errors_are_json(proxied, broken, status, code):
    with proxied.connection() as connection:
        connection.sendall(broken)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    content = json.loads(body)
    assert content["code"] == code
    assert len(content["request_id"]) == 32


@needs_nginx
def test_nginx_drops_forwarded_headers(proxied):
    """Neither a response nor a log contains the client's claimed address."""
    claims = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "gopher", "x-forwarded-host": "evil.example"}
    headers = {**claims, "x-request-id": "claims-1", "content-type": "image/png"}
    response = proxied.client.post("/v1/remove", content=PNG, headers=headers)
    line = str(proxied.server.event("request", request_id="claims-1"))
    assert not [claim for claim in claims.values() if claim in line + str(response.headers)]


@needs_nginx
def test_nginx_sends_retry_after_without_server(tmp_path):
    with nginx(free_port(), tmp_path, 5) as (https, _, ca):
        verify = ssl.create_default_context(cafile=str(ca))
        response = httpx.get(f"https://127.0.0.1:{https}/v1/info", verify=verify, timeout=60, trust_env=False)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.json()["code"] == "service_unavailable"
    assert response.json()["request_id"] == response.headers["x-request-id"]


@needs_caddy
def test_caddy_serves_cut_out(server, tmp_path):
    with (
        caddy(server.port, tmp_path) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
    ):
        response = client.post("/v1/remove", files={"image_file": PNG})
        assert response.status_code == 200
        assert Image.open(io.BytesIO(response.content)).size == (240, 160)
        assert "server" not in response.headers
        for path in ("/metrics", "/livez", "/readyz"):
            assert client.get(path).status_code == 404


def test_proxy_examples_match_settings():
    settings = Settings()
    largest = ENVELOPE_BYTES + base64_size(settings.max_bytes)
    text = NGINX.read_text()
    (size,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert largest <= int(size) * MIB <= 1.2 * largest
    assert f"max_size {size}MiB" in CADDY.read_text()
    (patience,) = re.findall(r"proxy_read_timeout +(\d+)s;", text)
    assert settings.deadline_s < int(patience)
    assert f"response_header_timeout {patience}s" in CADDY.read_text()
    for name in ("client_header_timeout", "client_body_timeout", "send_timeout"):
        (seconds,) = re.findall(rf"^ +{name} +(\d+)s;", text, re.M)
        assert int(seconds) == settings.body_stall_s
    assert f"server 127.0.0.1:{settings.port};" in text
    assert f"127.0.0.1:{settings.port}" in CADDY.read_text()
