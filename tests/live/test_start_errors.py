"""Configurations that the server must refuse: exit code 1 and one line that says what to do."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from clearcut import __version__
from clearcut.inference.manifest import MANIFEST, models_folder, read_manifest
from clearcut.inference.startup.precision import has_vnni
from tests.support import samples
from tests.support.live_server import ROOT, http_client, run_until_exit, served
from tests.support.raw_http import RawConnection, request

pytestmark = pytest.mark.live

SHARED_MODELS = ROOT.parent / "shared" / "models"


def complaint(**environ):
    done = run_until_exit(**environ)
    assert done.returncode == 1, (done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("clearcut: refusing to start: ")
    return lines[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_public_address_needs_allow_anonymous(host):
    assert "CLEARCUT_ALLOW_ANONYMOUS=true" in complaint(host=host)


def test_public_address_is_served_with_allow_anonymous():
    with served(host="0.0.0.0", allow_anonymous="true") as server, http_client(server) as client:
        assert client.get("/readyz").status_code == 200


def test_unknown_setting_is_refused():
    assert "CLEARCUT_SLOTZ: unknown setting; did you mean CLEARCUT_SLOTS?" in complaint(slotz="4")


def test_all_invalid_settings_are_reported_together():
    line = complaint(port="http", slots="0", device="gpu")
    assert "CLEARCUT_PORT" in line
    assert "CLEARCUT_SLOTS" in line
    assert "CLEARCUT_DEVICE" in line


def test_unknown_model_is_refused():
    line = complaint(model="u3net")
    assert "Unknown model 'u3net'" in line
    assert "clearcut-s" in line


def test_missing_model_file_is_refused(tmp_path):
    assert "CLEARCUT_MODEL_DIR" in complaint(model="u2netp", model_dir=str(tmp_path))


def test_damaged_model_file_is_refused(tmp_path):
    """The file differs by one bit. Its manifest entry has no other copy in the repository."""
    entries = read_manifest(models_folder() / MANIFEST)
    absent = next(entry for entry in entries.values() if not (models_folder() / entry.file).exists())
    data = bytearray((models_folder() / entries["clearcut-s"].file).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / absent.file).write_bytes(data)
    line = complaint(model=absent.name, model_dir=str(tmp_path))
    assert "sha256" in line
    assert absent.sha256 in line


def has_cuda() -> bool:
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


@pytest.mark.skipif(has_cuda(), reason="this machine has an NVIDIA device")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_missing_device_is_refused(device):
    assert f"Device '{device}' was requested and is not available: " in complaint(device=device)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (
            {"port": "{port}"},
            "cannot listen on 127.0.0.1:{port}: the port is in use by another process; set CLEARCUT_PORT to a free "
            "port, or run `make serve PORT=8090`",
        ),
        (
            {"metrics_port": "{port}"},
            "cannot listen for metrics on 127.0.0.1:{port}: the port is in use by another process; set "
            "CLEARCUT_METRICS_PORT to a free port",
        ),
    ],
)
def test_used_port_is_refused_before_model_loads(settings, error):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_until_exit(**{name: value.format(port=port) for name, value in settings.items()})
    assert done.returncode == 1
    assert done.stdout == ""  # the log has no line about the model
    assert done.stderr == f"clearcut: refusing to start: {error.format(port=port)}\n"


def test_help_and_version_do_not_start_server():
    process = subprocess.run(
        [sys.executable, "-m", "clearcut", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert process.stdout.strip() == __version__


def test_missing_precision_is_refused():
    assert "Model 'silueta' has no fp16 variant. It has: fp32" in complaint(model="silueta", precision="fp16")


@pytest.mark.parametrize(
    "precision",
    [
        "fp32",
        pytest.param("int8", marks=pytest.mark.skipif(not has_vnni(), reason="CPUs without VNNI may select fp32")),
    ],
)
def test_named_precision_is_served(precision):
    with served(precision=precision) as server:
        info = httpx.get(f"{server.base_url}/v1/info", trust_env=False, timeout=60).json()
        series = httpx.get(f"{server.base_url}/metrics", trust_env=False, timeout=60).text
        ready = server.event("ready")
    assert info["model"]["precision"] == ready["precision"] == precision
    assert info["model"]["file"] == ("clearcut-m.onnx" if precision == "fp32" else f"clearcut-m.{precision}.onnx")
    labels = next(line for line in series.splitlines() if line.startswith("clearcut_model_info{"))
    assert f'precision="{precision}"' in labels
    assert f'sha256="{info["model"]["sha256"]}"' in labels


@pytest.mark.skipif(not (SHARED_MODELS / "u2netp.onnx").exists(), reason="the u2netp file is not at hand")
def test_named_model_is_served():
    photo = samples.photo("coffee")
    with served(model="u2netp", model_dir=str(SHARED_MODELS)) as server:
        info = httpx.get(f"{server.base_url}/v1/info", trust_env=False, timeout=60).json()
        assert info["model"]["name"] == "u2netp"
        with RawConnection(server.port) as connection:
            connection.send(request(samples.png(photo), "image/png"))
            response = connection.read_response()
    assert response.status == 200
    rgba = np.asarray(Image.open(io.BytesIO(response.body)))
    assert np.array_equal(rgba[rgba[..., 3] == 255][:, :3], photo[rgba[..., 3] == 255])
    assert rgba[150:250, 250:350, 3].mean() > 240
