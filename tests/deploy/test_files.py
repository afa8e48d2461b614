"""The files of ``deploy/`` compared with settings, routes and metrics, and with the schemas of their formats."""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from clearcut.service import build
from clearcut.settings import MIB, PREFIX, Settings
from clearcut.startup_checks.models import memory_finding
from tests.support.container.dockerfile import CPU, CUDA
from tests.support.container.dockerfile import read as read_dockerfile
from tests.support.deploy_files import DEPLOY, RULES, dashboard, document, documents, queries, rules, series_in
from tests.support.fakes import Stage, on_stage

KUBERNETES = DEPLOY / "kubernetes"
MANIFESTS = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")
UNIT = DEPLOY / "clearcut.service"
PROMTOOL = shutil.which("promtool")


def settings_of(environ: dict[str, str]) -> Settings:
    """Raise if a name is no setting or a value is invalid."""
    ours = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    assert ours
    return Settings.model_validate(ours)


def seconds(duration: str) -> float:
    (count, unit) = re.fullmatch(r"(\d+)([sm])", duration).groups()
    return int(count) * {"s": 1, "m": 60}[unit]


# --- metrics ---------------------------------------------------------------------------------------------------------


def exported() -> set[str]:
    """Return every sample name that the service can export, including series without samples."""
    names = {"up"}
    for family in build(Settings()).metrics.registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
        names |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    return names


def test_rules_and_panels_use_existing_series():
    known = exported() | {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        assert series_in(rule["expr"]), rule
        assert series_in(rule["expr"]) <= known, rule
    for panel, expression in queries():
        assert series_in(expression), panel
        assert series_in(expression) <= known, panel


def test_series_names_are_found_in_expression():
    assert series_in('sum by (job) (rate(clearcut_a_total{b=~"clearcut_c|d"}[5m])) / up{job="clearcut"}') == {
        "clearcut_a_total", "up",
    }  # fmt: skip


def test_every_alert_has_instructions():
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert {"summary", "action"} <= rule["annotations"].keys()


def test_every_alert_has_promtool_test():
    tested = documents(DEPLOY / "prometheus" / "rules_test.yml")[0]["tests"]
    fired = {each["alertname"] for test in tested for each in test.get("alert_rule_test", []) if each["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_accepts_configuration_and_rules():
    folder = RULES.parent
    for command in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ):
        done = subprocess.run([PROMTOOL, *command], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_dashboard_is_complete():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["description"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    spots = [(p["gridPos"]["x"] + x, p["gridPos"]["y"] + y) for p in panels
             for x in range(p["gridPos"]["w"]) for y in range(p["gridPos"]["h"])]  # fmt: skip
    assert len(spots) == len(set(spots)), "panels lie over each other"


# --- compose ---------------------------------------------------------------------------------------------------------


def test_compose_matches_settings_and_dockerfile():
    compose = document(DEPLOY / "compose.yaml")
    service = compose["services"]["clearcut"]
    settings = settings_of(service["environment"])
    assert settings.drain_delay_s + settings.drain_timeout_s + 5 <= seconds(service["stop_grace_period"])
    assert service["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    (job,) = document(RULES.parent / "prometheus.yml")["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"clearcut:{settings.metrics_port}"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    for path, expected in (("compose.yaml", CPU), ("compose.gpu.yaml", CUDA)):
        built = document(DEPLOY / path)["services"]["clearcut"]["build"]
        assert (DEPLOY / built["context"] / built.get("dockerfile", "Dockerfile")).resolve() == expected
    _, stages = read_dockerfile(CPU)
    assert settings.database_url.startswith(f"sqlite:///{stages[-1].environment({'DEVICE': ''})['CLEARCUT_DATA_DIR']}")
    for each in compose["services"].values():
        for mount in each["volumes"]:
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists(), mount


def test_compose_limits_processes():
    services = document(DEPLOY / "compose.yaml")["services"]
    assert [name for name, service in services.items() if not 64 <= service.get("pids_limit", 0) <= 1024] == []


def test_monitoring_starts_on_request_only():
    services = document(DEPLOY / "compose.yaml")["services"]
    assert {name: service.get("profiles", []) for name, service in services.items()} == {
        "clearcut": [], "prometheus": ["monitoring"], "grafana": ["monitoring"],
    }  # fmt: skip
    # Compose reads the variables of all services, also of those that it does not start.
    assert not re.search(r"\$\{\w+:?\?", (DEPLOY / "compose.yaml").read_text())


@pytest.mark.parametrize(("password", "code"), [("", 1), ("secret", 0)])
def test_grafana_does_not_start_without_password(password, code):
    grafana = document(DEPLOY / "compose.yaml")["services"]["grafana"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "${GRAFANA_ADMIN_PASSWORD:-}"
    words = [word.replace("$$", "$").replace("exec /run.sh", "exec true") for word in grafana["entrypoint"]]
    done = subprocess.run(
        words, env={"GF_SECURITY_ADMIN_PASSWORD": password}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == code
    assert ("GRAFANA_ADMIN_PASSWORD" in done.stdout) == (code == 1)


# --- systemd ---------------------------------------------------------------------------------------------------------


def unit() -> dict[str, list[str]]:
    """Return the values of the unit's keys."""
    values: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.M):
        values.setdefault(name, []).append(value)
    return values


def test_unit_matches_settings():
    (line,) = unit()["Environment"]
    settings = settings_of(dict(word.split("=", 1) for word in line.split()))
    (grace,), (memory,) = unit()["TimeoutStopSec"], unit()["MemoryMax"]
    assert settings.drain_delay_s + settings.drain_timeout_s + 5 <= int(grace)
    assert memory_finding(settings, MODEL_LOADED, bytes_of(f"{memory}i"), workers=2).severity == "ok"
    assert str(settings.data_dir) == f"%S/{unit()['StateDirectory'][0]}"
    assert unit()["ExecStart"] == ["/opt/clearcut/bin/clearcut serve"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize(("text", "found"), [("", False), ("Unknwon=1\n", True)])
def test_systemd_accepts_unit(tmp_path, text, found):
    path = tmp_path / UNIT.name  # with a program that exists, because systemd checks this
    path.write_text(
        UNIT.read_text().replace("/opt/clearcut/bin/clearcut", "/bin/true").replace("[Install]", text + "[Install]")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (UNIT.name in done.stderr) == found, done.stderr


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_nginx_logs_no_query_and_redirects_to_one_host():
    text = (DEPLOY / "proxy" / "nginx.conf").read_text()
    servers = text.split("\nserver {")[1:]
    assert len(servers) == 3
    for server in servers:
        assert re.findall(r"access_log +\S+ +(\w+);", server) == ["clearcut"]
        assert re.findall(r"error_log +\S+ +(\w+);", server) == ["emerg"]
    (log_format,) = re.findall(r"log_format [^;]+;", text)
    assert not re.search(r"\$(request|request_uri|args|query_string|http_referer)\b", log_format)
    assert re.findall(r"return 30\d ([^$;]+)", text) == ["https://clearcut.example.com"]
    assert "listen 80 default_server" in text


def test_caddy_logs_no_query():
    text = (DEPLOY / "proxy" / "Caddyfile").read_text()
    assert text.count('request>uri regexp \\?.* ""') == text.count("output stderr") == 2
    assert "log default {" in text


# --- Kubernetes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_match_kubernetes_schemas(path):
    for each in documents(path):
        kubernetes_validate.validate(each, "1.33", strict=True)


def test_misspelled_manifest_field_is_detected():
    broken = document(KUBERNETES / "disruption.yaml")
    broken["spec"]["maxUnavailabel"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.33", strict=True)


def merged() -> dict:
    """Return the Deployment with the GPU patch, as far as needed: containers merge by name, lists are replaced."""

    def over(base, patch):
        if isinstance(base, dict) and isinstance(patch, dict):
            return base | {name: over(base.get(name), value) for name, value in patch.items()}
        if isinstance(base, list) and base and isinstance(base[0], dict) and "name" in base[0]:
            named = {each["name"]: each for each in base}
            return list((named | {each["name"]: over(named.get(each["name"], {}), each) for each in patch}).values())
        return patch

    return over(document(KUBERNETES / "deployment.yaml"), document(KUBERNETES / "gpu" / "deployment.yaml"))


@pytest.mark.parametrize("deployment", [document(KUBERNETES / "deployment.yaml"), merged()], ids=["CPU", "GPU"])
def test_deployment_matches_settings(deployment):
    kubernetes_validate.validate(deployment, "1.33", strict=True)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environ = {each["name"]: each.get("value", "postgresql://somewhere/clearcut") for each in container["env"]}
    settings = settings_of(environ)
    grace = pod["terminationGracePeriodSeconds"]
    command, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert int(pause) + settings.drain_delay_s + settings.drain_timeout_s + 5 <= grace
    assert settings.deadline_s <= settings.drain_timeout_s
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": settings.port, "metrics": settings.metrics_port}
    notes = deployment["spec"]["template"]["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(settings.metrics_port)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert {each["mountPath"] for each in container["volumeMounts"]} == {"/data", "/tmp"}
    volumes = {each["name"]: each["emptyDir"] for each in pod["volumes"]}
    assert {each["name"] for each in container["volumeMounts"]} == volumes.keys()
    assert settings.blob_quota_mb * MIB <= bytes_of(volumes["data"]["sizeLimit"])


MODEL_LOADED = 300 * MIB
"""Memory in use with the default model, measured by `python -m clearcut check` and rounded up."""


def bytes_of(size: str) -> int:
    return int(re.fullmatch(r"(\d+)(?:Gi|g)", size)[1]) * 1024 * MIB


@pytest.mark.parametrize(
    "limit",
    [
        (document(DEPLOY / "compose.yaml")["services"]["clearcut"]["environment"],
         document(DEPLOY / "compose.yaml")["services"]["clearcut"]["mem_limit"]),
        (None, document(KUBERNETES / "deployment.yaml")), (None, merged()),
    ],
    ids=["compose", "CPU", "GPU"],
)  # fmt: skip
def test_memory_limit_covers_largest_load(limit):
    environ, memory = limit
    if environ is None:
        (container,) = memory["spec"]["template"]["spec"]["containers"]
        environ = {each["name"]: each.get("value", "postgresql://somewhere/clearcut") for each in container["env"]}
        memory = container["resources"]["limits"]["memory"]
    finding = memory_finding(settings_of(environ), MODEL_LOADED, bytes_of(memory), workers=2)
    assert finding.severity == "ok", finding


def test_gpu_pod_requests_gpu():
    (container,) = merged()["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "CLEARCUT_DEVICE", "value": "cuda"} in container["env"]


def test_probes_use_existing_routes():
    (container,) = document(KUBERNETES / "deployment.yaml")["spec"]["template"]["spec"]["containers"]

    async def scenario(on: Stage):
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container[name]["httpGet"]
            assert probe["port"] == "http"
            assert (await on.client.get(probe["path"])).status_code == 200

    on_stage(scenario)
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_manifests_reference_each_other():
    kinds = {each["kind"]: each for path in MANIFESTS for each in documents(path)}
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert kinds["Service"]["spec"]["selector"].items() <= labels.items()
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    target = kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", kinds["Deployment"]["metadata"]["name"])
    assert (
        kinds["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > kinds["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    )
    listed = document(KUBERNETES / "kustomization.yaml")["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]
    for patch in document(KUBERNETES / "gpu" / "kustomization.yaml")["patches"]:
        assert (KUBERNETES / "gpu" / patch["path"]).is_file()


def test_pods_cannot_reach_private_hosts_on_url_ports():
    policy = document(KUBERNETES / "network.yaml")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    blocks = [
        each["ipBlock"]
        for rule in policy["egress"]
        for each in rule.get("to", [])
        if "except" in each.get("ipBlock", {})
    ]
    excluded = [ipaddress.ip_network(each) for block in blocks for each in block["except"]]
    for address in ("10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fd00::1", "fe80::1"):
        assert any(ipaddress.ip_address(address) in network for network in excluded), address
    for rule in policy["egress"]:
        ports = {each["port"] for each in rule["ports"]}
        assert ports <= {53, 443, 4318, 5432, 6379}
        assert "to" in rule or not ports & {53, 443}


def test_autoscaler_uses_recorded_metric():
    text = (KUBERNETES / "autoscaler.yaml").read_text()
    (metric,) = document(KUBERNETES / "autoscaler.yaml")["spec"]["metrics"]
    assert f"name: {{as: {metric['pods']['metric']['name']}}}" in text
    (recorded,) = set(re.findall(r"clearcut:[\w:]+", text))
    assert recorded in {rule.get("record") for rule in rules()}


def test_new_service_exports_known_samples():
    """A scrape returns the names that the tests above rely on."""
    text = generate_latest(build(Settings()).metrics.registry).decode()
    assert "clearcut_ready" in {family.name for family in text_string_to_metric_families(text)}
