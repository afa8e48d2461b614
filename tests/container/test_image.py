"""Runs every RUN line of Dockerfile unchanged, then runs the result as a container engine would.

Dockerfile.cuda has the same lines; a static test compares both.

The layers lie over this machine's file system, because the base image is not available. This tests what is copied,
installed and run, but not what the base image lacks. It takes minutes and gigabytes of memory: `make test-container`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support import samples
from tests.support.container.dockerfile import CPU, Instruction, context_files, read, substituted
from tests.support.container.overlay import ELSEWHERE, PATH, Layer, size, why_not
from tests.support.live_server import ROOT
from tests.support.proxies import free_port

pytestmark = [pytest.mark.slow, pytest.mark.live, pytest.mark.timeout(1800)]

ARGUMENTS, STAGES = read(CPU)
OWN = "10001:10001"


@pytest.fixture(scope="module")
def image():
    """Build the layers and return the final one, the build layer and the measured sizes."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="clearcut-image-", dir=ELSEWHERE) as name:
        folder = Path(name)
        folder.chmod(0o755)
        layers: dict[str, Layer] = {}
        noted: dict[str, float] = {}
        for stage in STAGES:
            below = [layers["base"].upper] if stage.name != "base" else []
            layer = layers[stage.name] = Layer(folder / stage.name, below)
            arguments: dict[str, str] = {}
            for each in stage.instructions:
                if each.name == "ARG":
                    arguments[each.value] = ARGUMENTS[each.value]
                elif each.name == "COPY":
                    copy([substituted(word, arguments) for word in each.words()], layers, layer)
                elif each.name == "RUN":
                    run(layer, each, arguments)
        final = layers["final"]
        noted["python3 and certificates, where the base has none"] = size(layers["base"].upper)
        noted["packages"] = size(final.upper / "opt")
        noted["model"] = size(final.upper / "srv/clearcut/models")
        noted["app"] = size(final.upper / "srv/clearcut/app")
        yield final, layers["build"], {what: round(count / 1e6, 1) for what, count in noted.items()}


def copy(words: list[str], layers: dict[str, Layer], into: Layer) -> None:
    source = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
    *names, target = [word for word in words if not word.startswith("--")]
    place = into.upper / target.lstrip("/")
    if source:
        shutil.copytree(layers[source[0]].upper / names[0].lstrip("/"), place, symlinks=True)
        return
    for path in context_files():
        for name in names:
            if path.as_posix() == name:
                destination = place / path.name if target.endswith("/") else place
            elif path.as_posix().startswith(f"{name}/"):
                destination = place / path.relative_to(name)
            else:
                continue
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, destination)


def run(layer: Layer, each: Instruction, arguments: dict[str, str]) -> None:
    """Run a RUN line in the stage's shell, with its ARGs as variables, as a container engine does."""
    shell = ["/bin/bash", "-euo", "pipefail", "-c"]
    variables = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "http", "https", "no_"))}
    done = layer.run([*shell, each.value], {"PATH": PATH, "HOME": "/root", **variables, **arguments})
    assert done.returncode == 0, f"line {each.line}: {each.value}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def command(final: Layer, words: list[str], volume: Path, **more: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of a container engine: read-only except /tmp and /data, with the image's user and
    environment.
    """
    stage = STAGES[-1]
    environ = {"PATH": PATH, **stage.environment(ARGUMENTS), **more}
    cwd = substituted(stage.single("WORKDIR").value, {})
    return final.command(words, cwd=cwd, user=OWN, volume=volume, read_only=True), environ


@pytest.fixture(scope="module")
def volume():
    with tempfile.TemporaryDirectory(prefix="clearcut-data-") as name:
        os.chown(name, 10001, 10001)
        yield Path(name)


def test_every_run_line_works(image):
    final, _, noted = image
    print(json.dumps(noted, indent=1))
    assert (final.upper / "srv/clearcut/models/clearcut-m.onnx").stat().st_size > 5e6
    assert noted["packages"] < 500


def test_final_layer_has_no_installer_or_compiler(image):
    final, build, _ = image
    assert (build.upper / "opt/install/bin/pip").exists()
    names = {
        path.name for path in (final.upper / "opt/clearcut").rglob("*") if path.is_file() and os.access(path, os.X_OK)
    }
    assert not names & {"pip", "pip3", "gcc", "cc", "ld", "make", "uv"}
    assert not list((final.upper / "opt").rglob("site-packages/pip"))
    assert not (final.upper / "opt/install").exists()


def test_image_serves_read_only_and_stops_in_time(image, volume):
    final, _, _ = image
    stage, port = STAGES[-1], free_port()
    variables = {"CLEARCUT_PORT": str(port), "CLEARCUT_ALLOW_ANONYMOUS": "true"}
    words, environ = command(
        final, [*stage.single("ENTRYPOINT").words(), *stage.single("CMD").words()], volume, **variables
    )
    before = {path: path.lstat().st_mtime_ns for path in final.upper.rglob("*")}
    process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if '"ready"' in line:
                break
        assert process.poll() is None, "".join(lines)
        assert [line for line in lines if not line.startswith("{")] == [], "something that is no JSON is in the log"
        health = json.loads(stage.single("HEALTHCHECK").value.split(" CMD ")[1])
        probe, environ = command(final, health, volume, **variables)
        assert subprocess.run(probe, env=environ, timeout=60, check=False).returncode == 0
        photo = samples.photo("coffee", 240, 160)
        response = httpx.post(
            f"http://127.0.0.1:{port}/v1/remove", content=samples.png(photo), trust_env=False, timeout=60
        )
        assert response.status_code == 200
        rgba = np.asarray(Image.open(io.BytesIO(response.content)))
        assert np.array_equal(rgba[rgba[..., 3] == 255][:, :3], photo[rgba[..., 3] == 255])
        (uids,) = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line[:4] == "Uid:"]
        assert uids.split()[1:] == ["10001"] * 4
        process.send_signal(getattr(signal, stage.single("STOPSIGNAL").value))
        assert process.wait(75) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert subprocess.run(probe, env=environ, capture_output=True, timeout=60, check=False).returncode == 1
    assert {path: path.lstat().st_mtime_ns for path in final.upper.rglob("*")} == before


def test_image_refuses_public_address_without_keys(image, volume):
    final, _, _ = image
    words, environ = command(final, [*STAGES[-1].single("ENTRYPOINT").words(), "serve"], volume)
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "CLEARCUT_ALLOW_ANONYMOUS=true" in done.stderr


def test_keys_are_created_in_volume(image, volume):
    final, _, _ = image
    words, environ = command(
        final, [*STAGES[-1].single("ENTRYPOINT").words(), "keys", "create", "shop"], volume,
        CLEARCUT_DATABASE_URL="sqlite:////data/clearcut.db",
    )  # fmt: skip
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("clc_"), done.stderr
    assert (volume / "clearcut.db").stat().st_uid == 10001
