import http.server
import socket
import sys
import threading
from contextlib import contextmanager

import pytest

from clearcut.__main__ import main
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import check_database, open_engine
from clearcut.cli.check import Finding, _memory, run_checks
from clearcut.cli.health import check_health, own_url
from clearcut.errors import StartupError
from clearcut.settings import MIB, Settings

QUICK = {"CLEARCUT_LANES": "1", "CLEARCUT_BUCKETS": "1", "CLEARCUT_DEVICE": "cpu", "CLEARCUT_PORT": "0"}


def said(**environ: str) -> dict[str, Finding]:
    given = QUICK | {f"CLEARCUT_{name.upper()}": value for name, value in environ.items()}
    found = list(run_checks(given))
    # Several findings may share a topic (the provider and notes on it): the first one counts here.
    first = {each.about: each for each in reversed(found)}
    return first | {each.text: each for each in found if each.about == "settings"}


@pytest.mark.parametrize("vnni", [True, False])
def test_default_check_passes_on_any_cpu(vnni, monkeypatch):
    monkeypatch.setattr("clearcut.inference.startup.precision.has_vnni", lambda *_: vnni)
    found = said()
    assert {each.verdict for each in found.values()} <= {"ok", "note"}
    assert found["provider"].verdict == "ok"
    assert "clearcut-m" in found["model"].text
    assert "cpu" in found["provider"].text
    assert "1 session(s) of" in found["provider"].text
    assert found["self-test"].verdict == "ok"


def test_every_problem_is_told_at_once(tmp_path):
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = said(
            slotz="3",
            lanes="many",
            port=str(taken.getsockname()[1]),
            model="u3net",
            database_url="mysql://here/there",
            data_dir=str(tmp_path / "file" / "data"),
        )
    faults = " | ".join(each.text for each in found.values() if each.verdict == "FAULT")
    assert "CLEARCUT_SLOTZ: unknown setting; did you mean CLEARCUT_SLOTS?" in faults
    assert "CLEARCUT_LANES" in faults
    assert "cannot listen on 127.0.0.1:" in faults
    assert "Unknown model 'u3net'" in faults
    assert "only sqlite and postgresql" in faults
    assert found["data"].verdict == "note"


def test_a_public_address_without_keys_and_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr("clearcut.inference.session.unavailable_reason", lambda device: "there is none here")
    found = said(host="0.0.0.0", device="cuda")
    assert "CLEARCUT_ALLOW_ANONYMOUS=true" in found["address"].text
    assert "'cuda' was asked for and cannot be had: there is none here" in found["model"].text
    assert "self-test" not in found


@pytest.mark.parametrize(
    ("limit", "verdict", "words"),
    [
        (700 * MIB, "FAULT", "CLEARCUT_MAX_MEGAPIXELS=50"),
        (2000 * MIB, "note", "Lower CLEARCUT_SLOTS"),
        (16_000 * MIB, "ok", "64 requests"),
    ],
)
def test_the_memory_budget(limit, verdict, words):
    found = list(_memory(Settings(inflight_megapixels=100), 200 * MIB, limit, workers=2))
    assert [each.verdict for each in found] == [verdict]
    assert words in found[0].text


def test_looking_at_a_database_changes_nothing(tmp_path):
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
def test_an_address_that_is_none_is_refused_without_being_repeated(url):
    for use in (check_database, lambda url: open_engine(url, 1)):
        with pytest.raises(StartupError, match="CLEARCUT_DATABASE_URL") as caught:
            use(url)
        assert "canary" not in str(caught.value)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StartupError, match="cannot be written to"):
        check_database(f"sqlite:///{tmp_path}/none/clearcut.db")


@contextmanager
def answering(status: int):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_live_asks_livez_and_its_exit_code_is_the_answer(status, code, capsys):
    with answering(status) as (url, asked):
        assert main(["check", "--live", url]) == code
        assert main(["check", "--live", f"{url}/readyz"]) == code
    assert asked == ["/livez", "/readyz"]
    assert f"/livez: {status}" in capsys.readouterr().out


def test_live_does_not_wait_for_a_server_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        alive, text = check_health(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
    assert not alive
    assert "timed out" in text


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://x", "127.0.0.1:80", "http://", "http://x:port", "http://x:70000", "http://[::1", "http://a..b",
        "http://127.0.0.1:1/ä",
    ],
)  # fmt: skip
def test_live_refuses_what_is_no_address(url):
    assert check_health(url)[0] is False


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:9"), ("::", "http://[::1]:9"), ("10.1.2.3", "http://10.1.2.3:9")],
)
def test_the_own_address_can_be_reached_from_within(monkeypatch, host, url):
    monkeypatch.setenv("CLEARCUT_HOST", host)
    monkeypatch.setenv("CLEARCUT_PORT", "9")
    assert own_url() == url


def test_addresses_secrets_and_buckets_that_are_malformed(tmp_path, monkeypatch):
    secret = "hidden-hidden"
    found = said(fetch_allow="good.example,http://", jobs="sqlite", webhook_secret=secret, data_dir=str(tmp_path))
    assert found["fetch"].verdict == "FAULT"
    assert "CLEARCUT_FETCH_ALLOW: 'http://'" in found["fetch"].text
    assert found["blobs"].verdict == "FAULT"
    assert "CLEARCUT_WEBHOOK_SECRET" in found["blobs"].text
    assert secret not in str(found.values())
    assert "s3://bucket" in said(jobs="sqlite", blobs="http://bucket", data_dir=str(tmp_path))["blobs"].text
    assert said(fetch="on", fetch_allow="good.example", fetch_deny="*")["fetch"].verdict == "ok"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert said(fetch="on")["fetch"].verdict == "FAULT"


def test_a_folder_that_cannot_be_written_to_keeps_jobs_from_starting(tmp_path):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "data")
    assert said(data_dir=folder)["data"].verdict == "note"
    assert said(data_dir=folder, jobs="sqlite")["data"].verdict == "FAULT"


def test_traces_that_could_not_be_sent_keep_it_from_starting(monkeypatch):
    assert said(otel_endpoint="http://127.0.0.1:4318")["traces"].verdict == "ok"
    monkeypatch.setitem(sys.modules, "clearcut.observability.tracing", None)
    found = said(otel_endpoint="http://127.0.0.1:4318")
    assert found["traces"].verdict == "FAULT"
    assert "'otel' extra" in found["traces"].text


def test_a_moderation_model_that_is_not_there_keeps_it_from_starting(tmp_path):
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
    found = said(model_dir=str(tmp_path))
    assert found["moderation"].verdict == "FAULT"
    assert "judge.onnx" in found["moderation"].text


def test_the_edge_model_is_told_and_a_wrong_one_keeps_it_from_starting(monkeypatch):
    found = said()
    assert found["edges"].verdict == "ok"
    assert "sha256" in found["edges"].text

    def wrong(folder):
        raise StartupError("Edge model: wrong")

    monkeypatch.setattr("clearcut.cli.check.find_edge_model", wrong)
    assert said()["edges"].verdict == "FAULT"
