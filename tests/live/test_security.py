"""Response headers against abuse, and places where secrets must never appear."""

from __future__ import annotations

import base64
import json
import socket

import httpx
import pytest

from clearcut.accounts.keys import hash_key, new_key
from tests.support import samples
from tests.support.account_clients import IMAGE, Accounts
from tests.support.live_server import http_client, run_until_exit, served, started
from tests.support.raw_http import RawConnection, multipart

pytestmark = pytest.mark.live

CANARY = "cAnArY7f3"


def guarded(headers):
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers
    assert "x-powered-by" not in headers
    assert "set-cookie" not in headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/docs", 200), ("GET", "/openapi.json", 200), ("GET", "/v1/info", 200), ("GET", "/v1/me", 200),
        ("GET", "/livez", 200), ("GET", "/readyz", 200), ("GET", "/metrics", 200), ("GET", "/nowhere", 404),
        ("GET", "/v1/remove", 405), ("POST", "/v1/remove", 400), ("POST", "/v1.0/removebg", 400),
        ("POST", "/api/remove", 422), ("POST", "/v1/segment", 400),
    ],
)  # fmt: skip
def test_every_response_has_security_headers(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    guarded(response.headers)


def test_cut_out_has_security_headers(client):
    response = client.post("/v1/remove", content=IMAGE, headers={"content-type": "image/png"})
    assert response.status_code == 200
    guarded(response.headers)


def test_early_errors_have_security_headers(server):
    with RawConnection(server.port) as connection:
        connection.send(b"GET /readyz HTTP/9\r\n\r\n")
        guarded(connection.read_response().headers)


def test_docs_page_policy_allows_own_style_only(client):
    response = client.get("/docs")
    policy = response.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "style-src 'sha256-" in policy[0]
    assert "unsafe" not in policy[0]
    assert "<script" not in response.text


def test_separate_metrics_port_is_exclusive():
    with served(metrics_port="0") as server:
        port = server.event("listening for metrics")["port"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as private:
            response = private.get("/metrics")
            assert response.status_code == 200
            assert "clearcut_ready 1.0" in response.text
            guarded(response.headers)
            assert private.get("/v1/info").status_code == 404
            assert private.post("/v1/remove", content=IMAGE).status_code == 404
        with http_client(server) as public:
            assert public.get("/metrics").status_code == 404
            assert "/metrics" not in public.get("/openapi.json").json()["paths"]
        assert {line["host"] for line in server.log if line["event"] == "listening for metrics"} == {"127.0.0.1"}


def test_used_metrics_port_prevents_start():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_until_exit(metrics_port=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot listen for metrics on 127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_secret_is_logged_or_shown(tmp_path):
    """Keys in every place, valid, wrong and revoked; secrets of the settings; names and queries."""
    url = f"sqlite:///{tmp_path}/{CANARY}.db"
    accounts = Accounts(url)
    key, gone = accounts.make(2, 100)
    accounts.ledger.revoke(gone.split("_")[1])
    _, unknown = new_key()
    secrets = [CANARY, *(each[-43:] for each in (key, gone, unknown))]
    secrets += [hash_key(each).hex() for each in (key, gone)]
    body, kind = multipart(IMAGE, {"format": CANARY}, filename=f"{CANARY}.png")
    shown = []
    with (
        served(
            database_url=url,
            limits_url=f"redis://user:{CANARY}@127.0.0.1:1/0",
            requests_per_minute="1000",
            webhook_secret="whsec_" + base64.b64encode((CANARY * 4).encode()).decode(),
            signing_secret=CANARY * 4,
            log_level="debug",
        ) as server,
        http_client(server) as client,
    ):
        for each in (key, gone, unknown, CANARY):
            basic = base64.b64encode(f"user:{each}".encode()).decode()
            for headers in (
                {"x-api-key": each},
                {"authorization": f"Bearer {each}"},
                {"authorization": f"Basic {basic}"},
            ):
                headers = {
                    "content-type": "image/png",
                    "cookie": CANARY,
                    "user-agent": CANARY,
                    "referer": CANARY,
                    **headers,
                }
                client.post("/v1/remove", content=IMAGE, headers=headers)
                client.post(f"/v1/remove?api_key={each}", content=IMAGE, headers=headers)
                client.post(f"/v1.0/removebg/{each}", content=IMAGE, headers=headers)
                response = client.post("/v1/remove", content=body, headers={**headers, "content-type": kind})
                shown.append(response.text)
                client.get("/v1/me", headers=headers)
        good = {"x-api-key": key, "content-type": "image/png"}
        assert client.post("/v1/remove", content=IMAGE, headers=good).status_code == 200
        shown += [client.get(path).text for path in ("/v1/info", "/metrics", "/openapi.json", "/docs", "/livez")]
        with RawConnection(server.port) as connection:
            connection.send(b"GET /\xff HTTP/1.1\r\nAuthorization: Bearer " + key.encode() + b"\r\nX: " + b"a" * 40_000)
            shown.append(connection.read_response().body.decode())
    accounts.close()
    output = json.dumps(server.log) + "\n".join([*server.errors, *shown])
    assert server.event("request", status=401)
    assert server.event("request", status=403)
    assert [secret for secret in secrets if secret in output] == []


@pytest.mark.parametrize(
    "environ",
    [
        {"database_url": f"postgresql://user:{CANARY}@127.0.0.1:1/db"},
        {"database_url": f"postgresql://user:pass{CANARY}@127.0.0.1:{CANARY}/db"},
        {"database_url": "sqlite://", "limits_url": f"memcached://user:{CANARY}@127.0.0.1/"},
        {"signing_secret": CANARY, "webhook_secret": CANARY, "slots": "0"},
    ],
    ids=["database refuses", "database malformed", "limits unknown", "another setting wrong"],
)
def test_start_errors_contain_no_secret(environ):
    with started(**environ) as server:
        if "slots" not in environ:
            server.exit_code()
        server.process.wait(60)
        output = json.dumps(server.log) + "\n".join(server.errors)
    assert server.process.returncode == 1
    assert "refusing to start" in output
    assert "Traceback" not in output
    assert CANARY not in output


def test_output_has_no_file_name_or_metadata(client):
    photo = samples.png(samples.photo("coffee")[::8, ::8])
    body, kind = multipart(photo, filename=f"{CANARY}.png")
    response = client.post("/v1/remove", content=body, headers={"content-type": kind})
    assert response.status_code == 200
    assert CANARY not in str(response.headers)
    assert CANARY.encode() not in response.content
