"""The asynchronous APIs as their clients use them: documented calls with another host and key, up to the image."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support import samples
from tests.support.account_clients import Accounts
from tests.support.callback_server import PHOTO, CallbackServer, callback_server
from tests.support.format_files import FILES
from tests.support.live_server import ROOT, Server, environment, served
from tests.support.moderation_models import install_moderation
from tests.tools.readme import DOCS

pytestmark = pytest.mark.live

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes.").decode()
BAD_KEY = "clc_" + 12 * "a" + "_" + 43 * "b"


@dataclass
class Service:
    server: Server
    callback_server: CallbackServer
    accounts: Accounts
    key: str
    environ: dict[str, str]

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.server.base_url, timeout=60, trust_env=False)
        self.photo = f"{self.callback_server.base_url}/photo.jpg"

    def close(self) -> None:
        self.client.close()

    def auth(self, key: str | None = None) -> dict[str, str]:
        return {"x-api-key": key or self.key}

    def until(self, path: str, done: Callable[[dict[str, Any]], bool], key: str | None = None) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while True:
            body = self.client.get(path, headers=self.auth(key)).raise_for_status().json()
            if done(body):
                return body
            assert time.monotonic() < deadline, body
            time.sleep(0.05)

    def finished(self, job_id: str, key: str | None = None) -> dict[str, Any]:
        """Poll an Apiframe job until it ends."""
        return self.until(f"/v2/jobs/{job_id}", lambda body: body["status"] in ("COMPLETED", "FAILED"), key)

    def create_job(self, key: str | None = None, **more: Any) -> httpx.Response:
        """Create an Apiframe job and wait for its image."""
        headers = self.auth(key) | more.pop("headers", {})
        params = {"image": self.photo} | more.pop("params", {})
        body = {"model": "851-bg-remove", "lab851BgRemoveParams": params} | more
        return self.client.post("/v2/images/background-remove", json=body, headers=headers)

    def cut_out(self, **query: str) -> np.ndarray:
        """Return the synchronous route's result for the photo."""
        headers = self.auth() | {"content-type": "image/jpeg"}
        return pixels(
            self.client.post("/v1/remove", params=query, content=PHOTO, headers=headers).raise_for_status().content
        )

    def download(self, url: str) -> httpx.Response:
        assert url.startswith(self.server.base_url + "/outputs/")
        return self.client.get(url).raise_for_status()

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "clearcut", "jobs", *words]
        return subprocess.run(
            command, cwd=ROOT, env=environment(**self.environ), capture_output=True, text=True, timeout=60, check=False
        )


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("jobs")
    accounts = Accounts(f"sqlite:///{folder}/keys.db")
    (key,) = accounts.make(1, 10_000)
    with callback_server() as callbacks:
        environ = {
            "jobs": "sqlite", "data_dir": str(folder / "data"), "fetch_allow": callbacks.allow,
            "database_url": accounts.url, "webhook_secret": SECRET, "key_cache_s": "0",
        }  # fmt: skip
        with served(**environ) as server, closing(Service(server, callbacks, accounts, key, environ)) as service:
            yield service
    accounts.close()


EACHLABS_ORDER = {"model": "eachlabs-bg-remover-v1"}

APIFRAME_CURL = """curl -X POST https://api.apiframe.ai/v2/images/background-remove \\
  -H "X-API-Key: YOUR_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": "851-bg-remove", "lab851BgRemoveParams": {"image": "https://example.com/input.jpg", "format": "png",
       "threshold": 0, "background_type": "rgba"}}'"""
BRIA_CURL = """curl -X POST https://api.apiframe.ai/v2/images/background-remove \\
  -H "X-API-Key: YOUR_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": "bria-bg-remove",
       "briaBgRemoveParams": {"image": "https://example.com/input.jpg", "content_moderation": true}}'"""
EACHLABS_CURL = """curl -X POST https://api.eachlabs.ai/v1/prediction/ \\
  -H "X-API-Key: YOUR_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": "eachlabs-bg-remover-v1", "input": {"image_url": "https://example.com/input.jpg"}}'"""
REMOVEDO_FILE_CURL = """curl -X POST https://www.removedo.com/api/v1/remove-bg \\
  -H "Authorization: Bearer YOUR_API_KEY" -F "image_file=@photo.jpg" """
REMOVEDO_URL_CURL = """curl -X POST https://www.removedo.com/api/v1/remove-bg \\
  -H "Authorization: Bearer YOUR_API_KEY" -d "image_url=https://example.com/input.jpg" """

APIFRAME_PYTHON = """
import requests
response = requests.post(
    "https://api.apiframe.ai/v2/images/background-remove",
    headers={"X-API-Key": "YOUR_API_KEY", "Content-Type": "application/json"},
    json={"model": "851-bg-remove", "lab851BgRemoveParams": {"image": "https://example.com/input.jpg", "format": "png",
          "threshold": 0, "background_type": "rgba"}},
)
print(response.text)
"""
EACHLABS_PYTHON = """
import requests
response = requests.post(
    "https://api.eachlabs.ai/v1/prediction/",
    headers={"X-API-Key": "YOUR_API_KEY"},
    json={"model": "eachlabs-bg-remover-v1", "input": {"image_url": "https://example.com/input.jpg"}},
)
print(response.text)
"""
REMOVEDO_PYTHON = """
import requests
with open("photo.jpg", "rb") as f:
    response = requests.post(
        "https://www.removedo.com/api/v1/remove-bg",
        headers={"Authorization": "Bearer YOUR_API_KEY"},
        files={"image_file": f},
    )
print(response.text)
"""

CALLS = {
    "apiframe-curl": APIFRAME_CURL, "bria-curl": BRIA_CURL, "eachlabs-curl": EACHLABS_CURL,
    "removedo-file-curl": REMOVEDO_FILE_CURL, "removedo-url-curl": REMOVEDO_URL_CURL,
    "apiframe-python": APIFRAME_PYTHON, "eachlabs-python": EACHLABS_PYTHON, "removedo-python": REMOVEDO_PYTHON,
}  # fmt: skip
POLL = {
    "apiframe": ("/v2/jobs/", "jobId", "COMPLETED", lambda body: body["result"]["images"][0]),
    "eachlabs": ("/v1/prediction/", "predictionID", "success", lambda body: body["output"]),
    "removedo": ("/api/v1/jobs/", "jobId", "completed", lambda body: body["outputUrl"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_documented_call_returns_image(service, name, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    text = re.sub(
        r"https://(api\.apiframe\.ai|api\.eachlabs\.ai|www\.removedo\.com)", service.server.base_url, CALLS[name]
    )
    text = text.replace("YOUR_API_KEY", service.key).replace("https://example.com/input.jpg", service.photo)
    command = ["bash", "-euc", text] if name.endswith("curl") else [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    path, identifier, complete, image = POLL[name.partition("-")[0].replace("bria", "apiframe")]
    job = json.loads(done.stdout)[identifier]
    body = service.until(path + job, lambda body: body["status"] == complete)
    response = service.download(image(body))
    assert response.headers["content-type"] == "image/png"
    assert np.array_equal(pixels(response.content), service.cut_out())


@pytest.mark.parametrize(
    "params",
    [
        {"format": "jpg"},
        {"threshold": 0.55},
        {"background_type": "map"},
        {"background_type": "green", "format": "jpg"},
        {"background_type": "blur"},
        {"background_type": "overlay", "threshold": 0.35},
    ],
    ids=lambda params: "-".join(map(str, params.values())),
)
def test_jobs_and_sync_routes_give_same_pixels(service, params):
    response = service.create_job(params=params)
    body = service.finished(response.json()["jobId"])
    found = pixels(service.download(body["result"]["images"][0]).content)
    assert np.array_equal(found, service.cut_out(**{name: str(value) for name, value in params.items()}))


def hook_of(service: Service, path: str) -> tuple[dict[str, str], dict[str, Any]]:
    deadline = time.monotonic() + 60
    while True:
        found = [(headers, body) for where, headers, body in service.callback_server.calls if where == path]
        if found:
            assert len(found) == 1
            return found[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_webhooks_have_api_format_and_signature(service):
    hook = service.callback_server.base_url
    ids = [
        service.create_job(webhook_url=f"{hook}/apiframe").json()["jobId"],
        service.client.post(
            "/v1/prediction/",
            json=EACHLABS_ORDER | {"input": {"image_url": service.photo}, "webhook_url": f"{hook}/eachlabs"},
            headers=service.auth(),
        ).json()["predictionID"],
        service.client.post(
            "/api/v1/remove-bg",
            data={"webhook_url": f"{hook}/removedo"},
            files={"image_file": PHOTO},
            headers={"authorization": f"Bearer {service.key}"},
        ).json()["jobId"],
    ]  # fmt: skip
    headers, body = hook_of(service, "/apiframe")
    (url,) = body["result"]["images"]
    service.download(url)
    assert {**body, "completedAt": None, "result": None} == {
        "event": "completed", "jobId": ids[0], "status": "COMPLETED", "model": "851-bg-remove", "progress": 100,
        "result": None, "creditCost": 1, "completedAt": None,
    }  # fmt: skip
    (other,) = service.accounts.make(1, 1)
    account_secret = service.cli("webhook-secret", service.key).stdout.strip()
    for secret in (account_secret, SECRET):
        Webhook(secret).verify(headers["raw"], headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(service.cli("webhook-secret", other).stdout.strip()).verify(headers["raw"], headers)
    assert headers["webhook-id"] == ids[0]
    assert headers["webhook-account"] == service.key.split("_")[1]
    _, body = hook_of(service, "/eachlabs")
    service.download(body["output"])
    assert {**body, "output": None} == {"exec_id": ids[1], "status": "succeeded", "output": None, "error": None}
    _, body = hook_of(service, "/removedo")
    service.download(body["outputUrl"])
    assert sorted(body) == ["completedAt", "jobId", "outputUrl", "status"]
    assert (body["jobId"], body["status"]) == (ids[2], "completed")
    shown = service.until(f"/v2/jobs/{ids[0]}", lambda body: body["webhookStatus"] != "pending")
    assert shown["webhookStatus"] == "sent"


def test_jobs_accept_every_format(service):
    bearer, paths = {"authorization": f"Bearer {service.key}"}, []
    for name, data in FILES.items():
        address = f"data:image/{name.lower()};base64,{base64.b64encode(data).decode()}"
        job = service.create_job(params={"image": address})
        assert job.status_code == 202, (name, job.text)
        paths.append(f"/v2/jobs/{job.json()['jobId']}")
        job = service.client.post("/api/v1/remove-bg", files={"image_file": data}, headers=bearer)
        assert job.status_code == 202, (name, job.text)
        paths.append(f"/api/v1/jobs/{job.json()['jobId']}")
    for path in paths:
        ended = service.until(path, lambda body: body["status"].lower() in ("completed", "failed"))
        assert ended["status"].lower() == "completed", ended


def test_missing_image_fails_job_without_charge(service):
    (key,) = service.accounts.make(1, 1)
    gone, hook = f"{service.callback_server.base_url}/nothing.jpg", service.callback_server.base_url
    job = service.create_job(key, params={"image": gone}, webhook_url=f"{hook}/failed").json()["jobId"]
    body = service.finished(job, key)
    assert (body["status"], body["result"], body["creditCost"]) == ("FAILED", None, 0)
    assert "404" in body["error"]
    assert "lab851BgRemoveParams.image" in body["error"]
    _, webhook = hook_of(service, "/failed")
    assert (webhook["event"], webhook["status"], webhook["error"]) == ("failed", "FAILED", body["error"])
    assert service.accounts.used([key]) == [0]
    assert service.create_job(key).status_code == 202, "the credit is there again"


def test_non_image_fails_job_with_sync_error(service):
    service.callback_server.files["/text.jpg"] = b"this is a text and no image, whatever it is called"
    job = service.create_job(params={"image": f"{service.callback_server.base_url}/text.jpg"}).json()["jobId"]
    assert "JPEG, PNG, TIFF, WebP" in service.finished(job)["error"]


def test_webhook_is_retried_until_accepted(service):
    service.callback_server.respond = lambda path, call: 500 if path == "/again" and call == 0 else 204
    job = service.create_job(webhook_url=f"{service.callback_server.base_url}/again").json()["jobId"]
    service.finished(job)
    body = service.until(f"/v2/jobs/{job}", lambda body: body["webhookStatus"] == "sent")
    calls = [(headers, body) for path, headers, body in service.callback_server.calls if path == "/again"]
    assert [headers["webhook-id"] for headers, _ in calls] == [job, job]
    assert calls[0][1] == calls[1][1]
    assert body["status"] == "COMPLETED"
    shown = json.loads(service.cli("show", job).stdout)
    assert [call["status"] for call in shown["webhook"]["calls"]] == [500, 204]


def test_same_idempotency_key_returns_same_job(service):
    (key, other) = service.accounts.make(2, 5)
    headers = {"idempotency-key": "order-1"}
    first, second = (service.create_job(key, headers=headers) for _ in range(2))
    assert first.json()["jobId"] == second.json()["jobId"]
    assert service.create_job(other, headers=headers).json()["jobId"] != first.json()["jobId"]
    service.finished(first.json()["jobId"], key)
    again = service.create_job(key, headers=headers).json()
    assert again == {"jobId": first.json()["jobId"], "status": "COMPLETED"}
    mismatch = service.create_job(key, headers=headers, params={"format": "jpg"})
    assert mismatch.status_code == 422
    assert service.accounts.used([key]) == [1]


def test_used_key_is_charged_again_once_job_is_gone(service):
    """The queue deletes a job before the ledger deletes its charge."""
    (key,) = service.accounts.make(1, 5)
    headers = {"idempotency-key": "order-1"}
    for format in ("png", "jpg"):
        job = service.create_job(key, headers=headers, params={"format": format}).json()["jobId"]
        assert service.finished(job, key)["status"] == "COMPLETED"
        assert service.cli("purge", "--hours", "0").returncode == 0
    assert service.accounts.used([key]) == [2]


def test_anonymous_job_ids_are_random(service, tmp_path):
    """A guessed Idempotency-Key must not lead to the status or the output of another caller's job."""
    environ = {"jobs": "sqlite", "data_dir": str(tmp_path), "fetch_allow": service.callback_server.allow}
    body = {"model": "eachlabs-bg-remover-v1", "input": {"image_url": service.photo}}
    with served(**environ) as server, httpx.Client(base_url=server.base_url, trust_env=False) as client:
        responses = [client.post("/v1/prediction/", json=body, headers={"idempotency-key": "1"}) for _ in range(2)]
    assert len({response.json()["predictionID"] for response in responses}) == 2


def test_job_is_visible_to_its_account_only(service):
    (other,) = service.accounts.make(1, 5)
    job = service.create_job().json()["jobId"]
    service.finished(job)
    for path, key in ((f"/v2/jobs/{job}", other), (f"/v1/prediction/{job}", service.key), ("/v2/jobs/nothing", other)):
        assert service.client.get(path, headers=service.auth(key)).status_code == 404, path
    assert service.client.get(f"/v2/jobs/{job}").status_code == 401


REFUSALS = [
    # (fields added to a valid Apiframe request, status, words of the error)
    ({"model": "sora"}, 400, "851-bg-remove, bria-bg-remove"),
    ({"params": {"image": ""}}, 400, "lab851BgRemoveParams.image"),
    ({"params": {"threshold": 0.33}}, 400, "steps of 0.05"),
    ({"params": {"threshold": 2}}, 400, "lab851BgRemoveParams.threshold"),
    ({"params": {"format": "webp"}}, 400, "png, jpg"),
    ({"params": {"background_type": "image"}}, 400, "overlay"),
    ({"params": {"image": "http://169.254.169.254/latest"}}, 400, "https"),
    ({"params": {"image": "https://localhost/x.jpg"}}, 400, "public IP address"),
    ({"params": {"image": "https://user:word@example.com/x.jpg"}}, 400, "without a user name"),
    ({"params": {"image": "data:image/png;base64,nothing!"}}, 400, "base64"),
    ({"webhook_url": "https://10.0.0.1/hook"}, 400, "webhook_url"),
    ({"webhook_url": 7}, 400, "webhook_url"),
    ({"key": BAD_KEY}, 401, "x-api-key"),
]


@pytest.mark.parametrize(("more", "status", "words"), REFUSALS, ids=[words for _, _, words in REFUSALS])
def test_apiframe_errors(service, more, status, words):
    response = service.create_job(**more)
    assert response.status_code == status, response.text
    body = response.json()
    assert words in body["error"]
    assert body["requestId"] == response.headers["x-request-id"]


def test_data_url_is_accepted_by_apiframe_only(service):
    data = "data:image/jpeg;base64," + base64.b64encode(PHOTO).decode()
    body = service.finished(service.create_job(params={"image": data}).json()["jobId"])
    assert np.array_equal(pixels(service.download(body["result"]["images"][0]).content), service.cut_out())
    create_job = {"model": "eachlabs-bg-remover-v1", "input": {"image_url": "data:image/png;base64,iVBORw0="}}
    response = service.client.post("/v1/prediction/", json=create_job, headers=service.auth())
    assert response.status_code == 400
    assert sorted(response.json()) == ["details", "message", "status"]
    assert response.json()["status"] == "error"
    assert "input.image_url" in response.json()["details"]


def test_eachlabs_rate_and_concurrency_limits(service, tmp_path):
    (busy, quick) = service.accounts.make(2, 1000)
    create_job = {"model": "eachlabs-bg-remover-v1", "input": {"image_url": service.photo}}
    environ = service.environ | {"data_dir": str(tmp_path), "eachlabs_per_minute": "5", "eachlabs_concurrent": "1"}
    with served(**environ) as server, httpx.Client(base_url=server.base_url, trust_env=False) as client:

        def create(key: str, **input: str) -> httpx.Response:
            body = create_job | {"input": create_job["input"] | input}
            return client.post("/v1/prediction/", json=body, headers=service.auth(key))

        slow = f"{service.callback_server.base_url}/slow.jpg"  # a failing server is retried after pauses
        service.callback_server.statuses["/slow.jpg"] = 503
        assert create(busy, image_url=slow).status_code == 200
        response = create(busy)
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        assert "unfinished jobs" in response.json()["details"]
        if (remaining_s := 60 - time.time() % 60) < 5:  # the count is kept per clock minute and decays in the next one
            time.sleep(remaining_s)
        statuses = [create(quick, image_url="https://localhost/x").status_code for _ in range(7)]
        assert statuses == 5 * [400] + 2 * [429]


def test_removedo_errors(service):
    (spent, revoked) = service.accounts.make(1, 0) + service.accounts.make(1, 5)
    service.accounts.ledger.revoke(revoked.split("_")[1])

    def send(key: str, **data: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return service.client.post("/api/v1/remove-bg", data=data, headers=headers)

    for response, status in (
        (send(service.key, image_url="not an address"), 400),
        (send(service.key), 400),
        (send(BAD_KEY, image_url=service.photo), 401),
        (send(spent, image_url=service.photo), 402),
        (send(revoked, image_url=service.photo), 403),
        (service.client.get("/api/v1/jobs/none", headers={"authorization": f"Bearer {service.key}"}), 404),
    ):
        assert response.status_code == status, response.text
        assert response.json()["error"]
    taken = send(service.key, image_url=service.photo)
    assert re.fullmatch(r"\d+-\d+ (seconds|minutes)", taken.json()["estimatedCompletionTime"])
    assert sorted(taken.json()) == ["createdAt", "estimatedCompletionTime", "jobId", "status"]


def test_unconfigured_moderation_is_reported_as_not_run(service):
    body = {"model": "bria-bg-remove", "briaBgRemoveParams": {"image": service.photo, "content_moderation": True}}
    response = service.client.post("/v2/images/background-remove", json=body, headers=service.auth())
    done = service.finished(response.json()["jobId"])
    assert (done["status"], done["result"]["moderation"]) == ("COMPLETED", "not run")


def test_jobs_command_lists_shows_retries_and_purges(service):
    (key,) = service.accounts.make(1, 1)
    path = f"{service.callback_server.base_url}/late.jpg?token=secret"
    job = service.create_job(
        key, params={"image": path}, webhook_url=f"{service.callback_server.base_url}/late"
    ).json()["jobId"]
    service.finished(job, key)
    hook_of(service, "/late")
    assert any(
        job in line and "failed" in line for line in service.cli("list", "--state", "failed").stdout.splitlines()
    )
    shown = json.loads(service.cli("show", job).stdout)
    assert [step["step"] for step in shown["steps"]][:2] == ["hold", "fetch"]
    assert "secret" not in json.dumps(shown)
    service.callback_server.files["/late.jpg"] = PHOTO
    service.callback_server.calls.clear()
    assert service.cli("retry", job).returncode == 0
    service.until(f"/v2/jobs/{job}", lambda body: body["status"] == "COMPLETED", key)
    assert hook_of(service, "/late")[1]["status"] == "COMPLETED"
    assert service.accounts.used([key]) == [1]
    service.until(f"/v2/jobs/{job}", lambda body: body["webhookStatus"] == "sent", key)
    url = service.client.get(f"/v2/jobs/{job}", headers=service.auth(key)).json()["result"]["images"][0]
    assert service.cli("show", "00000000-0000-0000-0000-000000000000").returncode == 1
    assert service.cli("purge", "--hours", "0").returncode == 0
    assert service.client.get(f"/v2/jobs/{job}", headers=service.auth(key)).status_code == 404
    assert service.client.get(url).status_code == 404


def test_jobs_log_no_secrets(service):
    job = service.create_job(params={"image": f"{service.photo}?token=hush-hush"}).json()["jobId"]
    service.finished(job)
    output = json.dumps(service.server.log) + "".join(service.server.errors)
    assert job in output
    for secret in ("hush-hush", service.key, SECRET, "signature="):
        assert secret not in output


def test_disabled_jobs_routes_name_setting(server):
    for method, path in (
        ("POST", "/v2/images/background-remove"),
        ("POST", "/v1/prediction/"),
        ("GET", "/api/v1/jobs/1"),
    ):
        response = httpx.request(method, server.base_url + path, trust_env=False)
        assert response.status_code == 404
        assert "CLEARCUT_JOBS=sqlite" in response.text


def test_second_process_cannot_share_folder(service):
    from tests.support.live_server import run_until_exit

    assert "another process uses this folder for jobs" in run_until_exit(**service.environ).stderr


def test_moderation_model_refuses_and_passes(service, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    install_moderation(models, refuse="bright = 0.9")
    service.callback_server.files["/white.jpg"] = samples.jpeg(np.full((64, 64, 3), 255, np.uint8))
    environ = service.environ | {"data_dir": str(tmp_path / "data"), "model_dir": str(models), "models": "clearcut-s"}
    with (
        served(**environ) as server,
        closing(Service(server, service.callback_server, service.accounts, service.key, environ)) as callbacks,
    ):

        def moderated(name: str, flag: bool | None = None, **further: str) -> dict[str, Any]:
            params = {"image": f"{service.callback_server.base_url}/{name}.jpg", **further}
            params |= {} if flag is None else {"content_moderation": flag}
            create_job = {"model": "bria-bg-remove", "briaBgRemoveParams": params}
            response = callbacks.client.post("/v2/images/background-remove", json=create_job, headers=callbacks.auth())
            return callbacks.finished(response.json()["jobId"])

        refused = moderated("white", True)
        assert (refused["status"], refused["result"], refused["creditCost"]) == ("FAILED", None, 0)
        assert "refused by content moderation: bright" in refused["error"]
        assert moderated("white")["status"] == "FAILED", "moderation is the default"
        assert moderated("white", False)["status"] == "COMPLETED"
        passed = moderated("photo", model="clearcut-s")
        assert passed["result"]["moderation"] == "passed"
        answer = callbacks.client.get(f"/v2/jobs/{passed['id']}", headers=callbacks.auth())
        assert answer.headers["x-model"] == "clearcut-s"
        unknown = {"model": "851-bg-remove", "lab851BgRemoveParams": {"image": service.photo, "model": "u2net"}}
        refused = callbacks.client.post("/v2/images/background-remove", json=unknown, headers=callbacks.auth())
        assert refused.status_code == 400
        assert "'lab851BgRemoveParams.model'. Expected: clearcut-m, clearcut-s" in refused.json()["error"]
        prediction = EACHLABS_ORDER | {"input": {"image_url": service.photo, "model": "u2net"}}
        refused = callbacks.client.post("/v1/prediction/", json=prediction, headers=callbacks.auth())
        assert (refused.status_code, "'input.model'" in refused.json()["details"]) == (400, True)
        form = {"image_url": service.photo, "model": "u2net"}
        refused = callbacks.client.post("/api/v1/remove-bg", data=form, headers=callbacks.auth())
        assert (refused.status_code, "'model'" in refused.json()["message"]) == (400, True)


def test_commands_of_the_jobs_page_work(service, tmp_path):
    _, lines, console = re.findall(r"^```sh\n(.*?)^```", (DOCS / "jobs.md").read_text(), re.M | re.S)
    for old, new in (
        ("http://127.0.0.1:8080", service.server.base_url), ("https://example.com/photo.jpg", service.photo),
        ("https://example.com/hook", f"{service.callback_server.base_url}/readme"),
        ("X-API-Key: any", f"X-API-Key: {service.key}"), ("Bearer any", f"Bearer {service.key}"),
        ("curl ", "curl -sS -w '\\n' "),
    ):  # fmt: skip
        assert old in lines
        lines = lines.replace(old, new)
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    done = subprocess.run(["bash", "-euc", lines], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    responses = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sorted(response)[0] for response in responses] == ["jobId", "message", "createdAt"]
    service.finished(responses[0]["jobId"])
    assert hook_of(service, "/readme")[1]["status"] == "COMPLETED"
    words = console.partition("#")[0].split()
    assert words[:3] == ["CLEARCUT_JOBS=sqlite", ".venv/bin/clearcut", "jobs"]
    assert service.cli(*words[3:]).returncode == 0
