"""Static checks of Dockerfile and Dockerfile.cuda, and hadolint."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearcut.inference.manifest import MANIFEST, models_folder, read_manifest
from clearcut.settings import PREFIX, Settings
from tests.support.container.dockerfile import CPU, CUDA, context_files, read, substituted
from tests.support.live_server import ROOT

ARGUMENTS, STAGES = read(CUDA)
CPU_ARGUMENTS, CPU_STAGES = read(CPU)
FINAL = STAGES[-1]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
@pytest.mark.parametrize("path", [CPU, CUDA], ids=lambda path: path.name)
def test_hadolint_reports_nothing(path):
    done = subprocess.run([HADOLINT, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_dockerfiles_differ_in_defaults_only():
    def instructions(stages):
        return [(stage.base, stage.name, [(each.name, each.value) for each in stage.instructions]) for stage in stages]

    assert instructions(CPU_STAGES) == instructions(STAGES)
    assert CPU_ARGUMENTS.keys() == ARGUMENTS.keys() == {"IMAGE", "DIGEST", "DEVICE", "REQUIREMENTS"}
    assert (CPU_ARGUMENTS["DEVICE"], ARGUMENTS["DEVICE"]) == ("cpu", "cuda")
    (_, comments), (_, others) = (path.read_text().split("FROM ", 1) for path in (CPU, CUDA))
    assert comments == others


def test_each_image_has_its_runtime():
    for arguments, runtime in ((ARGUMENTS, "onnxruntime-gpu"), (CPU_ARGUMENTS, "onnxruntime")):
        locked = re.findall(r"^(onnxruntime[\w-]*)==", (ROOT / arguments["REQUIREMENTS"]).read_text(), re.M)
        assert runtime in locked
    assert locked == ["onnxruntime"]


def test_base_image_can_be_pinned():
    assert STAGES[0].base == "${IMAGE}${DIGEST}"
    assert ARGUMENTS["DIGEST"] == CPU_ARGUMENTS["DIGEST"] == ""
    assert re.fullmatch(r"debian:\w+-slim", CPU_ARGUMENTS["IMAGE"])
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
    assert FINAL.single("HEALTHCHECK").value.endswith('"-m", "clearcut", "health"]')


def test_documented_grace_period_covers_drain():
    settings = Settings()
    (grace,) = re.findall(r"docker stop --time (\d+)", CUDA.read_text())
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
    for arguments, stage in [(each, stage) for each in (ARGUMENTS, CPU_ARGUMENTS) for stage in STAGES]:
        for copy in stage.all("COPY"):
            *sources, _ = [word for word in copy.words() if not word.startswith("--")]
            if "--from=" not in copy.value:
                for source in (substituted(each, arguments) for each in sources):
                    assert (ROOT / source).exists()
                    assert [name for name in names if name == source or name.startswith(f"{source}/")]
