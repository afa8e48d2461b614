"""Blobs in an S3-compatible store: `make test-s3`, which installs s3fs and moto's server into .cache/s3."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from clearcut.environment import load_settings
from clearcut.errors import StartupError, StorageFull
from clearcut.storage.base import CHUNK_BYTES
from clearcut.storage.factory import blob_store
from clearcut.storage.s3 import bucket_blobs
from tests.support.callback_server import callback_server
from tests.support.live_server import served

MISSING = [name for name in ("s3fs", "moto") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; run `make test-s3`"),
]
HOUR = 3600.0


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """Start an S3 server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = Path(tmp_path_factory.mktemp("moto")) / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=out, stderr=out
        )
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=10), trust_env=False) as client:
            until = time.monotonic() + 60
            while True:
                try:
                    client.get(url, timeout=5)
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < until, log.read_text()
                    time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def bucket(endpoint, monkeypatch, request):
    """Create an empty bucket for this test and return its URL."""
    variables = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in {**variables, "AWS_DEFAULT_REGION": "eu-central-1"}.items():
        monkeypatch.setenv(name, value)
    name = f"b{abs(hash(request.node.name)):x}"
    httpx.put(f"{endpoint}/{name}", trust_env=False, timeout=30).raise_for_status()
    return f"s3://{name}/some/prefix"


def keys(endpoint, address):
    """Return the objects in the bucket, read through the server's own API."""
    text = httpx.get(f"{endpoint}/{address.split('/')[2]}?list-type=2", trust_env=False, timeout=30).text
    return sorted(part.split("</Key>")[0] for part in text.split("<Key>")[1:])


def test_stored_blob_is_returned(bucket, endpoint):
    blobs = bucket_blobs(bucket, 10_000_000)
    expires = time.time() + HOUR
    for data in (b"image", bytearray(b"image"), memoryview(b"image")):
        blobs.put("job1.png", data, "image/png", expires)
        found = blobs.get("job1.png")
        assert found.data == b"image"
        assert (found.stat.size, found.stat.media_type) == (7, "image/png")
        assert 0 <= found.stat.expires_at - expires < 1
        assert found.stat == blobs.stat("job1.png")
    assert len(keys(endpoint, bucket)) == 1
    other = blobs.put("job1.png", b"another", "image/jpeg", expires + 5)
    assert other.etag != found.stat.etag
    assert (blobs.get("job1.png").data, blobs.stat("job1.png").media_type) == (b"another", "image/jpeg")
    assert len(keys(endpoint, bucket)) == 1
    assert keys(endpoint, bucket)[0].startswith("some/prefix/job1.png/")


def test_other_node_sees_blob_immediately(bucket):
    first, second = bucket_blobs(bucket, 10_000_000), bucket_blobs(bucket, 10_000_000)
    with pytest.raises(KeyError):
        second.get("a")
    first.put("a", b"x", "image/png", time.time() + HOUR)
    assert second.get("a").data == b"x"
    second.delete("a")
    with pytest.raises(KeyError):
        first.stat("a")
    first.delete("a")


def test_key_prefixes_do_not_match_other_keys(bucket):
    blobs = bucket_blobs(bucket, 10_000_000)
    blobs.put("job1", b"one", "image/png", time.time() + HOUR)
    blobs.put("job11", b"eleven", "image/png", time.time() + HOUR)
    blobs.delete("job1")
    assert blobs.get("job11").data == b"eleven"
    with pytest.raises(KeyError):
        blobs.get("job1")


def test_range_is_read_in_pieces(bucket):
    blobs = bucket_blobs(bucket, 10_000_000)
    data = os.urandom(2 * CHUNK_BYTES + 9)
    blobs.put("a", data, "image/png", time.time() + HOUR)
    assert b"".join(blobs.open_range("a", 0, len(data))) == data
    assert b"".join(blobs.open_range("a", 3, CHUNK_BYTES + 5)) == data[3 : CHUNK_BYTES + 5]
    with pytest.raises(KeyError):
        blobs.open_range("b", 0, 1)


@pytest.mark.parametrize("key", ["", "..", "../a", "a/b", "/a", "a b", "ä", "a*", "a~b"])
def test_key_is_not_a_path(bucket, key, endpoint):
    blobs = bucket_blobs(bucket, 10_000_000)
    with pytest.raises(ValueError, match="malformed blob key"):
        blobs.put(key, b"x", "image/png", time.time() + HOUR)
    with pytest.raises(KeyError):
        blobs.get(key)
    assert keys(endpoint, bucket) == []


def test_expired_blob_is_hidden_and_swept(bucket, endpoint):
    now = time.time()
    blobs = bucket_blobs(bucket, 10_000_000)
    blobs.put("early", b"x", "image/png", now - 5)
    blobs.put("late", b"y", "image/png", now + HOUR)
    with pytest.raises(KeyError):
        blobs.get("early")
    assert len(keys(endpoint, bucket)) == 2
    assert blobs.sweep(now) == 1
    assert [key.split("/")[2] for key in keys(endpoint, bucket)] == ["late"]
    assert blobs.sweep(now + HOUR + 2) == 1
    assert keys(endpoint, bucket) == []


def test_sweep_keeps_foreign_objects(bucket, endpoint):
    name = bucket.split("/")[2]
    httpx.put(f"{endpoint}/{name}/some/prefix/readme.txt", content=b"mine", trust_env=False).raise_for_status()
    httpx.put(f"{endpoint}/{name}/elsewhere/1~image~png", content=b"mine", trust_env=False).raise_for_status()
    blobs = bucket_blobs(bucket, 10_000_000)
    blobs.put("a", b"x", "image/png", time.time() + HOUR)
    assert blobs.sweep(time.time() + 2 * HOUR) == 1
    assert keys(endpoint, bucket) == ["elsewhere/1~image~png", "some/prefix/readme.txt"]


def test_quota_is_enforced(bucket, endpoint):
    blobs = bucket_blobs(bucket, 10_000)
    blobs.put("a", b"x" * 6_000, "image/png", time.time() + HOUR)
    with pytest.raises(StorageFull):
        blobs.put("b", b"x" * 6_000, "image/png", time.time() + HOUR)
    with pytest.raises(StorageFull):
        bucket_blobs(bucket, 10_000).put("b", b"x" * 6_000, "image/png", time.time() + HOUR)
    assert len(keys(endpoint, bucket)) == 1
    blobs.delete("a")
    blobs.put("b", b"x" * 6_000, "image/png", time.time() + HOUR)


def test_many_threads_share_store(bucket):
    blobs = bucket_blobs(bucket, 100_000_000)
    wrong = []

    def work(number):
        for round_ in range(5):
            data = b"%d-%d" % (number, round_) * 1000
            blobs.put(f"k{number}", data, "image/png", time.time() + HOUR)
            if blobs.get(f"k{number}").data != data:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_missing_bucket_prevents_start(bucket):
    blobs = blob_store(load_settings({"CLEARCUT_BLOBS": bucket}))
    blobs.put("a", b"x", "image/png", time.time() + HOUR)
    assert blobs.get("a").data == b"x"
    with pytest.raises(StartupError, match="CLEARCUT_BLOBS"):
        blob_store(load_settings({"CLEARCUT_BLOBS": "s3://no-such-bucket-here/x"}))


def test_job_output_is_served_by_any_node(bucket, endpoint, tmp_path):
    """Two nodes share only the bucket and the secret."""
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "PYTHONPATH")
    credentials = {name: os.environ[name] for name in names if name in os.environ}
    common = {"jobs": "sqlite", "blobs": bucket, "signing_secret": "one secret for every node", **credentials}
    with (
        callback_server() as callbacks,
        served(data_dir=str(tmp_path / "one"), fetch_allow=callbacks.allow, **common) as first,
    ):
        body = {
            "model": "851-bg-remove",
            "lab851BgRemoveParams": {"image": f"{callbacks.base_url}/photo.jpg"},
            "webhook_url": f"{callbacks.base_url}/hook",
        }
        with httpx.Client(base_url=first.base_url, trust_env=False, timeout=60) as client:
            client.post("/v2/images/background-remove", json=body).raise_for_status()
            (webhook,) = callbacks.until_calls(1)
            (url,) = [word for word in str(webhook).split("'") if "/outputs/" in word][:1]
            response = client.get(url).raise_for_status()
            part = client.get(url, headers={"range": "bytes=1-3"})
        assert response.content[:8] == b"\x89PNG\r\n\x1a\n"
        assert (part.status_code, part.content) == (206, b"PNG")
        (stored,) = keys(endpoint, bucket)
        assert stored.startswith("some/prefix/")
        assert stored.endswith("~image~png")
        with served(data_dir=str(tmp_path / "two"), **common) as second:
            again = httpx.get(url.replace(first.base_url, second.base_url), trust_env=False, timeout=60)
        assert again.content == response.content
    assert [path.name for path in tmp_path.rglob("*") if path.suffix == ".png"] == []
