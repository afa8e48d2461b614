"""The files in ``deploy/ray``: settings, flags and arguments exist, and copies are equal."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from clearcut.__main__ import _parser
from clearcut.cli.cut_options import normalize_arguments
from clearcut.cli.cut_ray import check_ray_arguments
from clearcut.settings import Settings

RAY = Path(__file__).resolve().parents[2] / "deploy" / "ray"


def load(name: str) -> dict:
    return yaml.safe_load((RAY / name).read_text())


def test_service_contains_the_serve_config():
    assert yaml.safe_load(load("rayservice.yaml")["spec"]["serveConfigV2"]) == load("serve.yaml")


def test_serve_config_has_known_settings_and_arguments():
    application = load("serve.yaml")["applications"][0]
    for name in application["runtime_env"]["env_vars"]:
        assert name.removeprefix("CLEARCUT_").lower() in Settings.model_fields
    source = (RAY.parents[1] / "app/clearcut/server/ray.py").read_text()
    fields = re.findall(r"^    (\w+): \w+ = Field\(", source, re.M)
    assert set(application["args"]) <= set(fields)
    assert "gpus" in fields


def test_serve_config_matches_rays_schema():
    schema = pytest.importorskip("ray.serve.schema")
    config = schema.ServeDeploySchema.model_validate(load("serve.yaml"))
    assert config.applications[0].import_path == "clearcut.server.ray:app"


def test_command_of_the_job_is_valid():
    command = shlex.split(load("rayjob.yaml")["spec"]["entrypoint"])
    assert command[:4] == ["python", "-m", "clearcut", "cut"]  # the image has no command `clearcut`
    arguments = _parser("cut").parse_args(["cut", *normalize_arguments(command[4:])])
    check_ray_arguments(arguments)
    assert (arguments.ray, arguments.actor_cpus) == ("auto", 4)


@pytest.mark.parametrize(
    ("name", "cluster"), [("rayservice.yaml", "rayClusterConfig"), ("rayjob.yaml", "rayClusterSpec")]
)
def test_actors_fit_into_a_worker(name, cluster):
    spec = load(name)["spec"][cluster]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        cpus = load("serve.yaml")["applications"][0]["args"]["cpus"] if name == "rayservice.yaml" else 4
        assert int(limits["cpu"]) % cpus == 0
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
