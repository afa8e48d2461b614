"""Static checks of Dockerfile.cuda, and hadolint."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearcut.inference.manifest import MANIFEST, models_folder, read_manifest
from clearcut.settings import PREFIX, Settings
from tests.support.container.dockerfile import DOCKERFILE, context_files, read
from tests.support.live_server import ROOT

ARGUMENTS, STAGES = read()
FINAL = STAGES[-1]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_reports_nothing():
    done = subprocess.run([HADOLINT, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_base_image_can_be_pinned():
    assert STAGES[0].base == "${IMAGE}${DIGEST}"
    assert ARGUMENTS["DIGEST"] == ""
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-cudnn-runtime-ubuntu\d\d\.04", ARGUMENTS["IMAGE"])
    assert "@sha256:" not in ARGUMENTS["IMAGE"]


def test_base_cuda_version_matches_onnxruntime():
    from importlib.metadata import requires

    (requirement,) = [each for each in requires("onnxruntime-gpu") if each.startswith("nvidia-cuda-runtime")]
    assert re.search(r"~=(\d+)\.", requirement)[1] == re.search(r":(\d+)\.", ARGUMENTS["IMAGE"])[1]


def test_image_has_unprivileged_user_and_stop_signal():
    assert FINAL.single("USER").value == "10001:10001"
    assert FINAL.single("STOPSIGNAL").value == "SIGTERM"
    assert FINAL.single("ENTRYPOINT").words()[-2:] == ["-m", "clearcut"]
    assert FINAL.single("CMD").words() == ["serve"]
    assert FINAL.single("HEALTHCHECK").value.endswith('"-m", "clearcut", "check", "--live"]')


def test_documented_grace_period_covers_drain():
    settings = Settings()
    (grace,) = re.findall(r"docker stop --time (\d+)", DOCKERFILE.read_text())
    assert settings.drain_delay_s + settings.drain_timeout_s < int(grace)


def test_environment_variables_are_valid_settings():
    environ = FINAL.environment({"DEVICE": "cpu"})
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    assert ours
    Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in ours.items()})
    assert f"{Settings().port}" == ours["CLEARCUT_PORT"] == FINAL.single("EXPOSE").value
    assert not [name for name in environ if "MALLOC" in name]  # app/clearcut/system.py queries glibc


def test_final_stage_installs_nothing():
    commands = " ".join(each.value for each in (*STAGES[0].all("RUN"), *FINAL.all("RUN")))
    assert not re.search(r"\b(pip|gcc|g\+\+|make|build-essential|python3-venv|python3-dev|git|curl|wget)\b", commands)


def test_build_context_has_only_copied_files():
    sent = context_files()
    names = {path.as_posix() for path in sent}
    default = read_manifest(models_folder() / MANIFEST)[Settings().model]
    assert {"app/__main__.py", "models/manifest.toml", f"models/{default.file}", "deploy/requirements.txt"} <= names
    assert {path.parts[0] for path in sent} == {"app", "models", "deploy", "NOTICE"}
    assert not [name for name in names if name.endswith(".pyc")]
    for stage in STAGES:
        for copy in stage.all("COPY"):
            *sources, _ = [word for word in copy.words() if not word.startswith("--")]
            if "--from=" not in copy.value:
                for source in sources:
                    assert (ROOT / source).exists()
                    assert [name for name in names if name == source or name.startswith(f"{source}/")]
