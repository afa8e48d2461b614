"""Published clients of remove.bg, rembg and Photoroom, and browser code, with this service as the server.

The clients are unmodified except for the URL, which is a constant in both remove.bg packages. It is reassigned in
Python and replaced in a copy of the file for npm. Each option and each class of error of an account occurs at least
once. Results are compared by pixels with plain requests.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from skimage import data

from clearcut.accounts.keys import Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from tests.support.clients.poofbg import RegistryUnreachable
from tests.support.clients.removebg import ENDPOINT, bare, removebg_of_npm, removebg_of_pypi
from tests.support.clock import avoid_end_of_minute
from tests.support.live_server import ROOT, Server, served

pytestmark = [pytest.mark.clients, pytest.mark.live]

DRIVERS = ROOT / "tests" / "support" / "clients"


class AccountServer:
    """A server with accounts, and a photo."""

    def __init__(self, server: Server, folder: Path, keys: dict[str, str]) -> None:
        self.server = server
        self.keys = keys
        self.photo = folder / "photo.jpg"
        cv2.imwrite(str(self.photo), data.astronaut()[..., ::-1])

    def url(self, path: str) -> str:
        return self.server.base_url + path

    def plain(self, path: str = "/v1.0/removebg", **fields: str) -> np.ndarray:
        """Return the result of a plain request."""
        name = "file" if path.startswith("/api") else "image_file"
        response = httpx.post(
            self.url(path), files={name: self.photo.read_bytes()}, data=fields, timeout=60, trust_env=False,
            headers={"x-api-key": self.keys["good"]},
        )  # fmt: skip
        assert response.status_code == 200, response.text
        return pixels(response.content)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    url = f"sqlite:///{folder}/accounts.db"
    ledger = Ledger(open_engine(url, 1), 0)
    keys = {
        "good": ledger.create("good", "unlimited", 0, Quotas()),
        "empty": ledger.create("empty", "prepaid", 0, Quotas()),
        "slow": ledger.create("slow", "unlimited", 0, Quotas(requests_per_minute=1)),
        "slow too": ledger.create("slow too", "unlimited", 0, Quotas(requests_per_minute=1)),
        "revoked": ledger.create("revoked", "unlimited", 0, Quotas()),
    }
    ledger.revoke(parse_key_id(keys["revoked"]))
    ledger.close()
    with served(database_url=url) as server:
        yield AccountServer(server, folder, keys)


def pixels(content: bytes | Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content) if isinstance(content, bytes) else content))


def needs(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


def finished(command: list[str], folder: Path, **environ: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=bare() | environ, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# PyPI removebg 0.4


def test_pypi_removebg_client(service, tmp_path):
    try:
        packages = removebg_of_pypi()
    except RegistryUnreachable as exc:
        pytest.skip(f"the package cannot be fetched: {exc}")
    file, url, text = (f"remove_background_from_{what}" for what in ("img_file", "img_url", "base64_img"))
    encoded = base64.b64encode(service.photo.read_bytes()).decode()
    for name in ("regular", "hd", "4k", "red", "slow"):
        shutil.copy(service.photo, tmp_path / f"{name}.jpg")
    good = service.keys["good"]
    sizes = [[size, good, file, {"img_file_path": f"{size}.jpg", "size": size}] for size in ("regular", "hd", "4k")]
    plan = [
        *sizes,
        ["red", good, file, {"img_file_path": "red.jpg", "bg_color": "red"}],
        ["text", good, text, {"base64_img": encoded, "size": "hd", "new_file_name": "text.png"}],
        ["url", good, url, {"img_url": "https://example.com/a.jpg"}],
        ["size", good, file, {"img_file_path": "hd.jpg", "size": "gigantic"}],
        ["color", good, file, {"img_file_path": "hd.jpg", "bg_color": "no color"}],
        ["type", good, text, {"base64_img": base64.b64encode(b"no image").decode()}],
        ["no base64", good, text, {"base64_img": "***"}],
        ["unknown", "nobody", file, {"img_file_path": "hd.jpg"}],
        ["revoked", service.keys["revoked"], file, {"img_file_path": "hd.jpg"}],
        ["empty", service.keys["empty"], file, {"img_file_path": "hd.jpg"}],
        ["slow 1", service.keys["slow"], file, {"img_file_path": "slow.jpg"}],
        ["slow 2", service.keys["slow"], file, {"img_file_path": "slow.jpg"}],
    ]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    driver = [sys.executable, "-I", "-S", str(DRIVERS / "removebg_driver.py"), str(packages)]
    avoid_end_of_minute()
    outcomes = json.loads(finished([*driver, service.url("/v1.0/removebg"), "plan.json"], tmp_path))
    assert outcomes == {
        "regular": "ok", "hd": "ok", "4k": "ok", "red": "ok", "text": "ok",
        "url": [400, "invalid_image_url"], "size": [400, "invalid_size"], "color": [400, "invalid_bg_color"],
        "type": [400, "invalid_file_type"], "no base64": [400, "invalid_image_file_b64"],
        "unknown": [403, "auth_failed"], "revoked": [403, "auth_failed"], "empty": [402, "insufficient_credits"],
        "slow 1": "ok", "slow 2": [429, "rate_limit_exceeded"],
    }  # fmt: skip
    for size in ("regular", "hd", "4k"):
        assert np.array_equal(pixels(tmp_path / f"{size}.jpg_no_bg.png"), service.plain(size=size))
    assert np.array_equal(pixels(tmp_path / "text.png"), service.plain(size="hd"))
    assert np.array_equal(pixels(tmp_path / "red.jpg_no_bg.png"), service.plain(bg_color="red"))


# npm remove.bg 1.3.0


def test_npm_removebg_client(service, tmp_path):
    needs("node")
    needs("npm")
    try:
        modules = removebg_of_npm()
    except RegistryUnreachable as exc:
        pytest.skip(f"the package cannot be fetched: {exc}")
    published = (modules / "remove.bg/dist/index.js").read_text()
    assert published.count(ENDPOINT) == 1
    (tmp_path / "client.js").write_text(published.replace(ENDPOINT, service.url("/v1.0/removebg")))
    file, url, text = (f"removeBackgroundFromImage{what}" for what in ("File", "Url", "Base64"))
    encoded = base64.b64encode(service.photo.read_bytes()).decode()

    def step(name: str, method: str = file, key: str = "good", **options: Any) -> list[Any]:
        source = {"path": str(service.photo)} if method == file else {}
        return [name, method, {"apiKey": service.keys.get(key, key), **source, **options}]

    plan = [
        step("default"),
        *(step(size, size=size) for size in ("preview", "small", "regular", "medium", "hd", "4k", "full", "auto")),
        *(step(f"type {kind}", type=kind) for kind in ("auto", "person", "product", "car")),
        step("crop", crop=True, crop_margin="10%", size="auto"),
        step("scale", scale="50%", position="50% 100%", size="auto"),
        step("roi", roi="0% 0% 60% 100%", size="auto"),
        step("color", bg_color="81d4fa"),
        step("alpha", channels="alpha", size="auto"),
        step("shadow", add_shadow="true"),
        step("saved", size="auto", outputFile="saved.png"),
        step("base64", text, base64img=encoded, size="auto"),
        step("base64 crop", text, base64img=encoded, size="auto", crop=True),
        step("url", url, url="https://example.com/a.jpg"),
        step("background url", bg_image_url="https://example.com/a.jpg"),
        step("bad size", size="gigantic"),
        step("bad roi", roi="0px 0px 9000px 10px"),
        step("no subject", roi="97% 0% 100% 3%"),
        step("unknown", key="nobody"),
        step("empty", key="empty"),
        step("slow 1", key="slow too"),
        step("slow 2", key="slow too"),
    ]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    driver = ["node", str(DRIVERS / "removebg_driver.cjs"), str(tmp_path / "client.js"), "plan.json"]
    avoid_end_of_minute()
    got = json.loads(finished(driver, tmp_path, NODE_PATH=str(modules), NODE_NO_WARNINGS="1"))
    refused = {name: response["errors"][0]["code"] for name, response in got.items() if "errors" in response}
    assert refused == {
        "url": "invalid_image_url", "background url": "invalid_bg_image_url", "bad size": "invalid_size",
        "bad roi": "roi_exceeds_bounds", "no subject": "unknown_foreground", "unknown": "auth_failed",
        "empty": "insufficient_credits", "slow 2": "rate_limit_exceeded",
    }  # fmt: skip
    found = {
        name: pixels(base64.b64decode(response["base64img"])) for name, response in got.items() if name not in refused
    }
    first = got["default"]
    assert (first["creditsCharged"], first["detectedType"]) == ("1", "other")
    assert (int(first["resultWidth"]), int(first["resultHeight"])) == found["default"].shape[1::-1]
    assert {"rateLimit": "1", "rateLimitRemaining": "0"}.items() <= got["slow 1"].items()
    for name, options in {
        "default": {}, "preview": {"size": "preview"}, "medium": {"size": "medium"}, "auto": {"size": "auto"},
        "crop": {"crop": "true", "crop_margin": "10%", "size": "auto"},
        "scale": {"scale": "50%", "position": "50% 100%", "size": "auto"},
        "roi": {"roi": "0% 0% 60% 100%", "size": "auto"}, "color": {"bg_color": "81d4fa"},
        "alpha": {"channels": "alpha", "size": "auto"}, "shadow": {"add_shadow": "true"},
        "base64": {"size": "auto"}, "base64 crop": {"size": "auto", "crop": "true"},
    }.items():  # fmt: skip
        assert np.array_equal(found[name], service.plain(**options)), name
    assert np.array_equal(pixels(tmp_path / "saved.png"), found["auto"])


# a browser's fetch and FormData, run by Node


def test_browser_fetch_and_form_data(service, tmp_path):
    needs("node")
    arguments = [service.server.base_url, str(service.photo), str(tmp_path), service.keys["good"]]
    outcomes = json.loads(finished(["node", str(DRIVERS / "fetch_driver.mjs"), *arguments], tmp_path))
    full = service.plain("/v1/remove")
    for name in ("removebg.png", "photoroom.png", "rembg.png"):
        assert outcomes[name]["status"] == 200
        assert np.array_equal(pixels(tmp_path / name), full), name
    assert np.array_equal(pixels(tmp_path / "poof.png"), service.plain("/v1/remove", size="preview"))
    assert outcomes["cropped.webp"]["type"] == "image/webp"
    assert pixels(tmp_path / "cropped.webp").shape[:2] == service.plain("/v1/remove", crop="true").shape[:2]
    assert (outcomes["no key"]["status"], outcomes["no key"]["body"]["code"]) == (401, "authentication_error")
    assert (outcomes["no image"]["status"], outcomes["no image"]["body"]["code"]) == (400, "missing_image")
    assert outcomes["bad option"]["body"]["errors"][0]["code"] == "invalid_size"
    assert all(outcome["id"] for outcome in outcomes.values())


# curl lines of the originals' documentation, with another URL


CURL = {
    "a file": "curl -H 'X-API-Key: KEY' -F 'image_file=@photo.jpg' -F 'size=auto' -f URL/v1.0/removebg -o no-bg.png",
    "JSON": "curl -H 'X-API-Key: KEY' -H 'Content-Type: application/json' -d @request.json -f URL/v1.0/removebg "
    "-o no-bg.png",
    "urlencoded": "curl -H 'X-API-Key: KEY' --data-urlencode image_file_b64@photo.b64 -d 'size=auto' "
    "-f URL/v1.0/removebg -o no-bg.png",
    "rembg": "curl -s -H 'x-api-key: KEY' -F file=@photo.jpg URL/api/remove -o no-bg.png -f",
    "rembg with a query": "curl -H 'x-api-key: KEY' -F file=@photo.jpg 'URL/api/remove?model=u2net&a=true' "
    "-o no-bg.png -f",
    "rembg with a served model": "curl -H 'x-api-key: KEY' -F file=@photo.jpg -F model=clearcut-m URL/api/remove "
    "-o no-bg.png -f",
    "Photoroom": "curl --request POST --url URL/v1/segment --header 'x-api-key: KEY' "
    "--form 'image_file=@photo.jpg' -o no-bg.png -f",
    "Bearer": "curl -H 'Authorization: Bearer KEY' -F image_file=@photo.jpg URL/v1/remove -o no-bg.png -f",
    "Basic": "curl -u anyone:KEY -F image_file=@photo.jpg URL/v1/remove -o no-bg.png -f",
}


def curl(line: str, service: AccountServer, folder: Path, key: str = "good") -> subprocess.CompletedProcess[str]:
    needs("curl")
    encoded = base64.b64encode(service.photo.read_bytes())
    shutil.copy(service.photo, folder / "photo.jpg")
    (folder / "photo.b64").write_bytes(encoded)
    (folder / "request.json").write_text(json.dumps({"image_file_b64": encoded.decode(), "size": "auto"}))
    (folder / ".curlrc").write_text("dump-header = headers.txt\n")  # the documented lines stay as they are
    script = line.replace("URL", service.server.base_url).replace("KEY", service.keys.get(key, key))
    environ = {**os.environ, "CURL_HOME": str(folder)}
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", CURL)
def test_documented_curl_lines(service, tmp_path, name):
    done = curl(CURL[name], service, tmp_path)
    assert done.returncode == 0, done.stderr
    headers = (tmp_path / "headers.txt").read_text().lower().splitlines()
    assert "x-model: clearcut-m" in headers
    ignored = [line for line in headers if line.startswith("x-ignored-fields")]
    assert any("model" in line for line in ignored) == (name == "rembg with a query")
    assert np.array_equal(pixels(tmp_path / "no-bg.png"), service.plain("/v1/remove"))


def test_curl_downloads_zip(service, tmp_path):
    line = "curl -H 'X-API-Key: KEY' -F image_file=@photo.jpg -F size=auto -F format=zip -f URL/v1.0/removebg -o a.zip"
    assert curl(line, service, tmp_path).returncode == 0
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == ["color.jpg", "alpha.png"]


@pytest.mark.parametrize("key", ["nobody", "empty", "revoked"])
def test_curl_fails_for_same_errors_as_original(service, tmp_path, key):
    done = curl(CURL["a file"], service, tmp_path, key)
    assert done.returncode == 22
    assert not (tmp_path / "no-bg.png").exists()


def test_curl_fails_for_unknown_option(service, tmp_path):
    line = CURL["a file"].replace("size=auto", "size=gigantic")
    assert curl(line, service, tmp_path).returncode == 22


def test_account_route_reports_credits(service):
    headers = {"x-api-key": service.keys["empty"]}
    response = httpx.get(service.url("/v1.0/account"), headers=headers, timeout=60, trust_env=False)
    assert response.json()["data"]["attributes"]["credits"]["total"] == 0
