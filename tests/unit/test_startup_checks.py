"""Start-up checks: each problem is one finding that names its variable."""

import socket
import sys

import pytest

from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import check_database, open_engine
from clearcut.environment import load_settings
from clearcut.errors import StartupError
from clearcut.imaging.formats.heif import heic
from clearcut.imaging.formats.heif.hevc_library import find_library
from clearcut.settings import MIB, Settings
from clearcut.startup_checks import checks
from clearcut.startup_checks.checks import require_startable, run_checks
from clearcut.startup_checks.findings import Finding, StartupCheck
from clearcut.startup_checks.formats import check_formats
from clearcut.startup_checks.models import check_model, check_moderation, memory_finding
from tests.support.moderation_models import install_moderation

QUICK = {"CLEARCUT_LANES": "1", "CLEARCUT_BUCKETS": "1", "CLEARCUT_PRECISION": "fp32", "CLEARCUT_DEVICE": "cpu",
         "CLEARCUT_PORT": "0"}  # fmt: skip


def findings(**environ: str) -> dict[str, Finding]:
    """The first finding of each topic, and every finding of the settings by its text."""
    variables = QUICK | {f"CLEARCUT_{name.upper()}": value for name, value in environ.items()}
    found = list(run_checks(variables))
    first = {finding.topic: finding for finding in reversed(found)}
    return first | {finding.text: finding for finding in found if finding.topic == "settings"}


@pytest.mark.parametrize("vnni", [True, False])
def test_default_check_passes_on_any_cpu(vnni, monkeypatch):
    monkeypatch.setattr("clearcut.inference.startup.precision.has_vnni", lambda *_: vnni)
    found = findings(precision="auto")
    assert {finding.severity for finding in found.values()} <= {"ok", "note"}
    assert found["provider"].severity == "ok"
    assert "clearcut-m" in found["model"].text
    assert "cpu" in found["provider"].text
    assert "1 session(s) of" in found["provider"].text
    assert found["self-test"].severity == "ok"


@pytest.mark.skipif(find_library() is None, reason="this system has no HEIC decoder")
def test_heic_decoder_is_tested():
    assert list(check_formats(Settings())) == [Finding("ok", "formats", "HEIC is decoded, in a confined process")]


def test_missing_heic_decoder_is_a_note(monkeypatch):
    monkeypatch.setattr(heic, "find_library", lambda: None)
    (found,) = check_formats(Settings())
    assert found.severity == "note"
    assert "this server has no HEIC decoder (extra heif, on Linux)" in found.text


def test_all_problems_are_reported_at_once(tmp_path):
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = findings(
            slotz="3",
            lanes="many",
            port=str(taken.getsockname()[1]),
            model="u3net",
            database_url="mysql://here/there",
            data_dir=str(tmp_path / "file" / "data"),
        )
    errors = " | ".join(finding.text for finding in found.values() if finding.severity == "error")
    assert "CLEARCUT_SLOTZ: unknown setting; did you mean CLEARCUT_SLOTS?" in errors
    assert "CLEARCUT_LANES" in errors
    assert "cannot listen on 127.0.0.1:" in errors
    assert "Unknown model 'u3net'" in errors
    assert "only sqlite and postgresql" in errors
    assert found["data"].severity == "note"


def test_public_address_and_missing_device_are_errors(monkeypatch):
    monkeypatch.setattr("clearcut.inference.session.unavailable_reason", lambda device: "no such device")
    found = findings(host="0.0.0.0", device="cuda")
    assert "CLEARCUT_ALLOW_ANONYMOUS=true" in found["address"].text
    assert "'cuda' was requested and is not available: no such device" in found["model"].text
    assert "self-test" not in found


@pytest.mark.parametrize(
    ("limit", "severity", "text"),
    [
        (700 * MIB, "error", "CLEARCUT_MAX_MEGAPIXELS=50"),
        (2000 * MIB, "note", "Lower CLEARCUT_SLOTS"),
        (16_000 * MIB, "ok", "64 requests"),
    ],
)
def test_memory_finding(limit, severity, text):
    found = memory_finding(Settings(inflight_megapixels=100), 200 * MIB, limit, workers=2)
    assert found.severity == severity
    assert text in found.text


def test_database_check_writes_nothing(tmp_path):
    path = tmp_path / "clearcut.db"
    url = f"sqlite:///{path}"
    assert "created at the first start" in check_database(url)
    assert not path.exists()
    Ledger(open_engine(url, 1), 60).close()
    before = path.read_bytes()
    assert check_database(url) == str(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "url", ["postgresql://u:canary@host:canary/db", "postgresql://u:canary@[::1/db", "canary", "canary://x"]
)
def test_invalid_database_url_is_not_repeated(url):
    for use in (check_database, lambda url: open_engine(url, 1)):
        with pytest.raises(StartupError, match="CLEARCUT_DATABASE_URL") as caught:
            use(url)
        assert "canary" not in str(caught.value)


def test_database_folder_must_exist(tmp_path):
    with pytest.raises(StartupError, match="cannot be written to"):
        check_database(f"sqlite:///{tmp_path}/none/clearcut.db")


def test_malformed_rules_secrets_and_buckets_are_errors(tmp_path, monkeypatch):
    secret = "hidden-hidden"
    found = findings(fetch_allow="good.example,http://", jobs="sqlite", webhook_secret=secret, data_dir=str(tmp_path))
    assert found["fetch"].severity == "error"
    assert "CLEARCUT_FETCH_ALLOW: 'http://'" in found["fetch"].text
    assert found["blobs"].severity == "error"
    assert "CLEARCUT_WEBHOOK_SECRET" in found["blobs"].text
    assert secret not in str(found.values())
    assert "s3://bucket" in findings(jobs="sqlite", blobs="http://bucket", data_dir=str(tmp_path))["blobs"].text
    assert findings(fetch="on", fetch_allow="good.example", fetch_deny="*")["fetch"].severity == "ok"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert findings(fetch="on")["fetch"].severity == "error"


def test_unwritable_data_folder_is_an_error_for_jobs(tmp_path):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "data")
    assert findings(data_dir=folder)["data"].severity == "note"
    assert findings(data_dir=folder, jobs="sqlite")["data"].severity == "error"


def test_missing_trace_exporter_is_an_error(monkeypatch):
    assert findings(otel_endpoint="http://127.0.0.1:4318")["traces"].severity == "ok"
    monkeypatch.setitem(sys.modules, "clearcut.observability.tracing", None)
    found = findings(otel_endpoint="http://127.0.0.1:4318")
    assert found["traces"].severity == "error"
    assert "'otel' extra" in found["traces"].text


def test_check_names_the_download_of_a_classifier():
    found = next(check_moderation(load_settings({})))
    assert (found.severity, found.topic) == ("ok", "moderation")
    assert "models pull nsfw" in found.text


def test_check_lists_the_moderation_limits(tmp_path):
    install_moderation(tmp_path)
    environ = {"CLEARCUT_MODEL_DIR": str(tmp_path), "CLEARCUT_MODERATION_LIMITS": "dark=0.25"}
    found = next(check_moderation(load_settings(environ)))
    assert "moderation.onnx" in found.text
    assert found.text.endswith("refuses at dark 0.25")


def test_missing_moderation_model_is_an_error(tmp_path):
    (tmp_path / "manifest.toml").write_text(
        f'''[moderation]
file = "judge.onnx"
sha256 = "{"0" * 64}"
output = "probability"
labels = ["unsafe"]
refuse = {{ unsafe = 0.5 }}
input = {{ side = 224, mean = [0.0, 0.0, 0.0], std = [1.0, 1.0, 1.0], divide_by = 255.0 }}
'''
    )
    found = findings(model_dir=str(tmp_path))
    assert found["moderation"].severity == "error"
    assert "judge.onnx" in found["moderation"].text


def test_wrong_edge_model_is_an_error(monkeypatch):
    found = findings()
    assert found["edges"].severity == "ok"
    assert "sha256" in found["edges"].text

    def wrong(folder):
        raise StartupError("Edge model: wrong")

    monkeypatch.setattr("clearcut.startup_checks.models.find_edge_model", wrong)
    assert findings()["edges"].severity == "error"


def test_a_new_check_runs_in_check_and_serve(monkeypatch):
    def check_disk(_: Settings):
        raise StartupError("the disk is full")
        yield

    monkeypatch.setattr(checks, "STARTUP_CHECKS", (StartupCheck(check_disk, "disk"),))
    assert findings()["disk"] == Finding("error", "disk", "the disk is full")
    with pytest.raises(StartupError, match="the disk is full"):
        require_startable(Settings())


def test_start_reports_all_errors_and_ignores_notes(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data"
    require_startable(Settings(data_dir=folder))
    with pytest.raises(StartupError) as caught:
        require_startable(Settings(data_dir=folder, host="0.0.0.0", jobs="sqlite"))
    assert "CLEARCUT_ALLOW_ANONYMOUS=true" in str(caught.value)
    assert "CLEARCUT_DATA_DIR" in str(caught.value)


def test_model_slower_than_the_deadline_is_an_error():
    found = list(check_model(load_settings(QUICK | {"CLEARCUT_MODEL": "clearcut-s", "CLEARCUT_DEADLINE_S": "0.0001"})))
    assert next(each.text for each in found if each.severity == "error").endswith("more than CLEARCUT_DEADLINE_S")
