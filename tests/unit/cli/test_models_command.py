"""``clearcut models``: its output, and the files that it writes."""

from __future__ import annotations

import argparse
import hashlib
import io
from pathlib import Path

import pytest

from clearcut.__main__ import main
from clearcut.cli import models as models_command
from clearcut.environment import load_settings
from clearcut.errors import StartupError
from clearcut.inference.manifest import MANIFEST, models_folder, read_manifest
from clearcut.inference.model_files import load_model, pin_path, read_pin
from clearcut.inference.startup.self_test import record_golden
from clearcut.model_store.progress import ProgressBar, line
from tests.support.model_origin import published
from tests.support.onnx_models import MEAN, build

SHARED = Path(__file__).resolve().parents[4] / "shared" / "models"


class Workspace:
    """A folder with a manifest and without the file of its model."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.file = folder / "tiny.onnx"
        self.data = self.file.read_bytes()
        self.file.unlink()
        self._capsys = capsys

    def replace(self, old: str, new: str) -> None:
        manifest = self.folder / MANIFEST
        text = manifest.read_text()
        assert old in text
        manifest.write_text(text.replace(old, new))

    def use_md5_only(self) -> None:
        sha256 = f'sha256 = "{hashlib.sha256(self.data).hexdigest()}"'
        self.replace(sha256, f'md5 = "{hashlib.md5(self.data).hexdigest()}"')

    def run(self, command: str, **environ: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        models_command.add_commands(parser.add_subparsers(dest="command"))
        settings = load_settings({f"CLEARCUT_{name.upper()}": value for name, value in environ.items()})
        code = models_command.run(parser.parse_args(["models", *command.split()]), settings, self.folder)
        return code, self._capsys.readouterr().out


@pytest.fixture
def workspace(models, capsys) -> Workspace:
    return Workspace(models(), capsys)


def test_pull_downloads_verifies_and_pins(workspace):
    with published(workspace.data) as origin:
        code, output = workspace.run("pull tiny", model_mirror=f"{origin.url}/models/")
    assert code == 0
    assert origin.requests[0][":path"] == "/models/tiny.onnx"
    assert workspace.file.read_bytes() == workspace.data
    assert hashlib.sha256(workspace.data).hexdigest() in output
    pin = read_pin(workspace.file)
    assert pin is not None
    assert pin.sha256 == hashlib.sha256(workspace.data).hexdigest()
    assert pin.golden is not None
    assert load_model("tiny", workspace.folder).entry.golden == pin.golden


def test_pull_of_a_file_with_an_use_md5_only_pins_its_sha256(workspace):
    workspace.use_md5_only()
    with published(workspace.data) as origin:
        workspace.run("pull tiny", model_mirror=origin.url)
    model = load_model("tiny", workspace.folder)
    assert model.entry.sha256 == hashlib.sha256(workspace.data).hexdigest()
    assert model.entry.golden is not None


def test_pull_deletes_wrong_file(workspace):
    for _ in range(2):
        with published(b"something else") as origin, pytest.raises(StartupError, match=r"is refused: (sha256|md5)"):
            workspace.run("pull tiny", model_mirror=origin.url)
        assert [path.name for path in workspace.folder.iterdir()] == [MANIFEST]
        if "md5" not in (workspace.folder / MANIFEST).read_text():
            workspace.use_md5_only()


def test_pull_downloads_once_into_model_dir(workspace, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "deep"
    with published(workspace.data) as origin:
        for _ in range(2):
            workspace.run("pull tiny", model_mirror=origin.url, model_dir=str(other))
    assert len(origin.requests) == 1
    assert (other / "tiny.onnx").read_bytes() == workspace.data
    assert not workspace.file.exists()


def test_pull_tries_all_urls(workspace, monkeypatch):
    urls = []
    workspace.replace('licence = "Apache-2.0"', 'licence = "x"\nurls = ["https://a.example/1", "https://b.example/2"]')

    def first_is_down(url, path, *_):
        urls.append(url)
        if "a.example" in url:
            raise models_command.DownloadError("down")
        path.write_bytes(workspace.data)

    monkeypatch.setattr(models_command, "download", first_is_down)
    workspace.run("pull tiny")
    assert urls == ["https://a.example/1", "https://b.example/2"]


def test_pull_without_url_names_the_source(workspace):
    with pytest.raises(StartupError, match=r"no URL.*made by a test"):
        workspace.run("pull tiny")


def test_invalid_mirror_is_refused(workspace):
    with pytest.raises(StartupError, match="expected https"):
        workspace.run("pull tiny", model_mirror="mirror.example")


def test_verify_reports_good_absent_and_wrong(workspace):
    assert workspace.run("verify") == (0, "tiny\tfp32\tabsent\n")
    workspace.file.write_bytes(workspace.data)
    assert workspace.run("verify tiny") == (0, f"tiny\tfp32\tgood\t{workspace.file}\n")
    workspace.file.write_bytes(workspace.data[:-1])
    code, output = workspace.run("verify")
    assert code == 1
    assert "tiny\tfp32\tWRONG\t" in output


def test_verify_includes_edge_model(workspace):
    manifest = workspace.folder / MANIFEST
    manifest.write_text(
        manifest.read_text() + f'\n[edges]\nfile = "edges.onnx"\nsha256 = "{hashlib.sha256(b"e").hexdigest()}"\n'
    )
    edges = workspace.folder / "edges.onnx"
    edges.write_bytes(b"e")
    assert workspace.run("verify") == (0, f"tiny\tfp32\tabsent\nedges\tfp32\tgood\t{edges}\n")
    edges.write_bytes(b"f")
    code, output = workspace.run("verify")
    assert code == 1
    assert "edges\tfp32\tWRONG\t" in output


def test_file_changed_after_pin_is_refused(workspace):
    """A forged file can have the same md5."""
    workspace.use_md5_only()
    workspace.file.write_bytes(workspace.data)
    workspace.run("pin tiny")
    pin = pin_path(workspace.file)
    pin.write_text(pin.read_text().replace(hashlib.sha256(workspace.data).hexdigest(), "0" * 64))
    with pytest.raises(StartupError, match="0000 was pinned"):
        load_model("tiny", workspace.folder)


def test_pin_refuses_wrong_file(workspace):
    workspace.file.write_bytes(build(MEAN) + b"\0")
    with pytest.raises(StartupError, match="the manifest says"):
        workspace.run("pin tiny")
    assert not pin_path(workspace.file).exists()


def test_list_shows_existing_files(workspace):
    heading, row = workspace.run("list")[1].splitlines()
    assert heading.split()[:4] == ["MODEL", "PRECISION", "SIZE", "STATE"]
    assert row.split() == ["tiny", "fp32", "-", "absent", "-", "tiny.onnx", "Apache-2.0"]
    assert row.index("tiny.onnx") == heading.index("FILE")
    workspace.file.write_bytes(workspace.data)
    assert workspace.run("list")[1].splitlines()[1].split()[2:5] == ["0.0", "MB", "present"]


def test_list_shows_size_and_command_of_published_models(workspace):
    workspace.replace(
        'licence = "Apache-2.0"', 'licence = "x"\nsize_mb = 4.6\nurls = ["https://models.example/tiny.onnx"]'
    )
    assert "4.6 MB  models pull tiny" in workspace.run("list")[1]


def test_list_shows_classifiers(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLEARCUT_MODEL_DIR", str(tmp_path))
    assert main(["models", "list"]) == 0
    assert nsfw_row(capsys)[:7] == ["nsfw", "fp32", "11", "MB", "models", "pull", "nsfw"]
    (tmp_path / "nsfw.onnx").write_bytes(bytes(2_000_000))
    assert main(["models", "list"]) == 0
    assert nsfw_row(capsys)[:7] == ["nsfw", "fp32", "2.0", "MB", "present", "-", "nsfw.onnx"]


def nsfw_row(capsys) -> list[str]:
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("nsfw ")]
    assert "MIT; the photos" in row
    return row.split()


def test_published_models_have_a_size():
    entries = read_manifest(models_folder() / MANIFEST).values()
    assert [entry.name for entry in entries if entry.urls and not entry.size_mb] == []


def test_unknown_model_lists_the_known(capsys):
    assert main(["models", "pull", "u3net"]) == 1
    output = capsys.readouterr().err
    assert "Unknown model 'u3net'" in output
    assert "refusing to start" not in output


def test_published_models_of_the_manifest():
    entries = read_manifest(models_folder() / MANIFEST)
    names = {"u2netp", "u2net", "silueta", "isnet-general-use", "birefnet-general", "birefnet-general-lite",
           "birefnet-portrait"}  # fmt: skip
    assert names <= set(entries)
    for name in names:
        entry = entries[name]
        assert entry.md5 or entry.package
        assert not entry.urls or entry.urls[0].rpartition("/")[2] == entry.file
        assert (entry.input.side, entry.output) == {
            "u2netp": (320, "probability"), "u2net": (320, "minmax"), "silueta": (320, "minmax"),
            "isnet-general-use": (1024, "probability"),
        }.get(name, (1024, "logit"))  # fmt: skip
    assert {name for name in names if not entries[name].terms} == {"u2netp"}


@pytest.mark.skipif(not (SHARED / "u2netp.onnx").is_file(), reason="u2netp.onnx is not available")
def test_u2netp_with_its_real_file(tmp_path, capsys, monkeypatch):
    """Pull the file over HTTP with an interruption, verify it and compare its golden output."""
    monkeypatch.setattr("clearcut.model_store.download.time.sleep", lambda _: None)
    (tmp_path / MANIFEST).write_text((models_folder() / MANIFEST).read_text())
    monkeypatch.setattr(models_command, "models_folder", lambda: tmp_path)
    with published((SHARED / "u2netp.onnx").read_bytes()) as origin:
        monkeypatch.setenv("CLEARCUT_MODEL_MIRROR", origin.url)
        origin.cut_after = [1_000_000]
        assert main(["models", "pull", "u2netp"]) == 0
    assert origin.requests[1]["range"] == "bytes=1000000-"
    assert main(["models", "verify", "u2netp"]) == 0
    assert "u2netp\tfp32\tgood" in capsys.readouterr().out
    model = load_model("u2netp", tmp_path)
    assert model.entry.golden is not None
    found = record_golden(model)
    gaps = [abs(a - b) for row, golden in zip(found.grid, model.entry.golden.grid, strict=True)
            for a, b in zip(row, golden, strict=True)]  # fmt: skip
    assert max(gaps) <= model.entry.golden.tolerance


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_bar_needs_a_terminal():
    for out, drawn in ((Terminal(), True), (io.StringIO(), False)):
        bar = ProgressBar("tiny.onnx", out)
        bar(0, 2_000_000)
        bar(2_000_000, 2_000_000)
        bar.end()
        assert bool(out.getvalue()) is drawn
        assert not drawn or "100% 2.0/2.0 MB" in out.getvalue()
    assert line("a", 500_000, 2_000_000) == "a [#######.......................]  25% 0.5/2.0 MB"
    assert line("a", 500_000, None) == "a 0.5 MB"


def test_retry_is_shown_without_a_terminal_too():
    for out in (Terminal(), io.StringIO()):
        ProgressBar("tiny.onnx", out).show_retry("the server returned 503", 2, 6, 4.0)
        assert out.getvalue() == "tiny.onnx: the server returned 503; attempt 2 of 6 in 4 s\n"


def test_invalid_folder_is_one_line(workspace, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"models pull: .*file/within: Not a directory"):
        workspace.run("pull tiny", model_dir=str(tmp_path / "file" / "within"), model_mirror="http://127.0.0.1:9")
