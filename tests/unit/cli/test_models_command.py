"""``python -m clearcut models``: what a person at the console sees, and what is on disk afterwards."""

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
from clearcut.inference.startup.self_test import golden_of_model
from clearcut.model_store.progress import ProgressBar, line
from tests.support.model_origin import published
from tests.unit.inference.conftest import MEAN, build
from tests.unit.inference.conftest import models as models

SHARED = Path(__file__).resolve().parents[4] / "shared" / "models"


class Shop:
    """A folder with a manifest whose model is published elsewhere."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.file = folder / "tiny.onnx"
        self.data = self.file.read_bytes()
        self.file.unlink()
        self._capsys = capsys

    def entry(self, find: str, put: str) -> None:
        manifest = self.folder / MANIFEST
        text = manifest.read_text()
        assert find in text
        manifest.write_text(text.replace(find, put))

    def md5_only(self) -> None:
        sha256 = f'sha256 = "{hashlib.sha256(self.data).hexdigest()}"'
        self.entry(sha256, f'md5 = "{hashlib.md5(self.data).hexdigest()}"')

    def run(self, command: str, **environ: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        models_command.add_commands(parser.add_subparsers(dest="command"))
        settings = load_settings({f"CLEARCUT_{name.upper()}": value for name, value in environ.items()})
        code = models_command.run(parser.parse_args(["models", *command.split()]), settings, self.folder)
        return code, self._capsys.readouterr().out


@pytest.fixture
def shop(models, capsys) -> Shop:
    return Shop(models(), capsys)


def test_pull_fetches_from_the_mirror_checks_and_pins(shop):
    with published(shop.data) as origin:
        code, said = shop.run("pull tiny", model_mirror=f"{origin.url}/models/")
    assert code == 0
    assert origin.asked[0][":path"] == "/models/tiny.onnx"
    assert shop.file.read_bytes() == shop.data
    assert hashlib.sha256(shop.data).hexdigest() in said
    pin = read_pin(shop.file)
    assert pin is not None
    assert pin.sha256 == hashlib.sha256(shop.data).hexdigest()
    assert pin.golden is not None
    assert load_model("tiny", shop.folder).entry.golden == pin.golden


def test_pull_of_a_file_with_an_md5_only_pins_its_sha256(shop):
    shop.md5_only()
    with published(shop.data) as origin:
        shop.run("pull tiny", model_mirror=origin.url)
    model = load_model("tiny", shop.folder)
    assert model.entry.sha256 == hashlib.sha256(shop.data).hexdigest()
    assert model.entry.golden is not None


def test_pull_refuses_another_file_and_leaves_nothing(shop):
    for _ in range(2):
        with published(b"something else") as origin, pytest.raises(StartupError, match=r"is refused: (sha256|md5)"):
            shop.run("pull tiny", model_mirror=origin.url)
        assert [path.name for path in shop.folder.iterdir()] == [MANIFEST]
        if "md5" not in (shop.folder / MANIFEST).read_text():
            shop.md5_only()


def test_pull_goes_into_the_model_dir_and_does_not_fetch_twice(shop, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "deep"
    with published(shop.data) as origin:
        for _ in range(2):
            shop.run("pull tiny", model_mirror=origin.url, model_dir=str(other))
    assert len(origin.asked) == 1
    assert (other / "tiny.onnx").read_bytes() == shop.data
    assert not shop.file.exists()


def test_pull_tries_one_address_after_the_other(shop, monkeypatch):
    tried = []
    shop.entry('licence = "Apache-2.0"', 'licence = "x"\naddresses = ["https://a.example/1", "https://b.example/2"]')

    def first_is_down(address, path, *_):
        tried.append(address)
        if "a.example" in address:
            raise models_command.DownloadError("down")
        path.write_bytes(shop.data)

    monkeypatch.setattr(models_command, "fetch", first_is_down)
    shop.run("pull tiny")
    assert tried == ["https://a.example/1", "https://b.example/2"]


def test_pull_without_an_address_says_where_the_file_comes_from(shop):
    with pytest.raises(StartupError, match=r"no address.*made by a test"):
        shop.run("pull tiny")


def test_a_mirror_that_is_no_address(shop):
    with pytest.raises(StartupError, match="expected https"):
        shop.run("pull tiny", model_mirror="mirror.example")


def test_verify_tells_good_absent_and_wrong_apart(shop):
    assert shop.run("verify") == (0, "tiny\tfp32\tabsent\n")
    shop.file.write_bytes(shop.data)
    assert shop.run("verify tiny") == (0, f"tiny\tfp32\tgood\t{shop.file}\n")
    shop.file.write_bytes(shop.data[:-1])
    code, said = shop.run("verify")
    assert code == 1
    assert "tiny\tfp32\tWRONG\t" in said


def test_verify_looks_at_the_edge_model_too(shop):
    manifest = shop.folder / MANIFEST
    manifest.write_text(
        manifest.read_text() + f'\n[edges]\nfile = "edges.onnx"\nsha256 = "{hashlib.sha256(b"e").hexdigest()}"\n'
    )
    edges = shop.folder / "edges.onnx"
    edges.write_bytes(b"e")
    assert shop.run("verify") == (0, f"tiny\tfp32\tabsent\nedges\tfp32\tgood\t{edges}\n")
    edges.write_bytes(b"f")
    code, said = shop.run("verify")
    assert code == 1
    assert "edges\tfp32\tWRONG\t" in said


def test_a_file_exchanged_after_it_was_pinned_is_refused(shop):
    """An md5 alone would let a forged file through."""
    shop.md5_only()
    shop.file.write_bytes(shop.data)
    shop.run("pin tiny")
    pin = pin_path(shop.file)
    pin.write_text(pin.read_text().replace(hashlib.sha256(shop.data).hexdigest(), "0" * 64))
    with pytest.raises(StartupError, match="0000 was pinned"):
        load_model("tiny", shop.folder)


def test_pin_refuses_a_file_that_is_not_the_manifest_s(shop):
    shop.file.write_bytes(build(MEAN) + b"\0")
    with pytest.raises(StartupError, match="the manifest says"):
        shop.run("pin tiny")
    assert not pin_path(shop.file).exists()


def test_list_says_what_is_here(shop):
    assert shop.run("list")[1] == "tiny\tfp32\ttiny.onnx\tnot here\tApache-2.0\n"
    shop.file.write_bytes(shop.data)
    assert shop.run("list")[1] == "tiny\tfp32\ttiny.onnx\t0.0 MB\tApache-2.0\n"


def test_an_unknown_model_ends_with_1_and_the_known_ones(capsys):
    assert main(["models", "pull", "u3net"]) == 1
    said = capsys.readouterr().err
    assert "Unknown model 'u3net'" in said
    assert "refusing to start" not in said


def test_the_models_of_the_manifest():
    entries = read_manifest(models_folder() / MANIFEST)
    zoo = {"u2netp", "u2net", "silueta", "isnet-general-use", "birefnet-general", "birefnet-general-lite",
           "birefnet-portrait"}  # fmt: skip
    assert zoo <= set(entries)
    for name in zoo:
        entry = entries[name]
        assert entry.md5
        assert entry.addresses[0].rpartition("/")[2] == entry.file
        assert (entry.input.side, entry.output) == {
            "u2netp": (320, "probability"), "u2net": (320, "minmax"), "silueta": (320, "minmax"),
            "isnet-general-use": (1024, "minmax"),
        }.get(name, (1024, "logit"))  # fmt: skip
    assert {name for name in zoo if not entries[name].terms} == {"u2netp"}


@pytest.mark.skipif(not (SHARED / "u2netp.onnx").is_file(), reason="u2netp.onnx is not at hand")
def test_the_entry_of_u2netp_with_its_real_file(tmp_path, capsys, monkeypatch):
    """Pulled over HTTP with a cut in between, verified, and its answer is the golden one."""
    monkeypatch.setattr("clearcut.model_store.download.time.sleep", lambda _: None)
    (tmp_path / MANIFEST).write_text((models_folder() / MANIFEST).read_text())
    monkeypatch.setattr(models_command, "models_folder", lambda: tmp_path)
    with published((SHARED / "u2netp.onnx").read_bytes()) as origin:
        monkeypatch.setenv("CLEARCUT_MODEL_MIRROR", origin.url)
        origin.cut_after = [1_000_000]
        assert main(["models", "pull", "u2netp"]) == 0
    assert origin.asked[1]["range"] == "bytes=1000000-"
    assert main(["models", "verify", "u2netp"]) == 0
    assert "u2netp\tfp32\tgood" in capsys.readouterr().out
    model = load_model("u2netp", tmp_path)
    assert model.entry.golden is not None
    found = golden_of_model(model)
    gaps = [abs(a - b) for one, two in zip(found.grid, model.entry.golden.grid, strict=True)
            for a, b in zip(one, two, strict=True)]  # fmt: skip
    assert max(gaps) <= model.entry.golden.tolerance


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_drawn_on_a_terminal_only():
    for out, drawn in ((Terminal(), True), (io.StringIO(), False)):
        bar = ProgressBar("tiny.onnx", out)
        bar(0, 2_000_000)
        bar(2_000_000, 2_000_000)
        bar.end()
        assert bool(out.getvalue()) is drawn
        assert not drawn or "100% 2.0/2.0 MB" in out.getvalue()
    assert line("a", 500_000, 2_000_000) == "a [#######.......................]  25% 0.5/2.0 MB"
    assert line("a", 500_000, None) == "a 0.5 MB"


def test_a_folder_that_cannot_be_is_said_in_a_line(shop, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"models pull: .*file/within: Not a directory"):
        shop.run("pull tiny", model_dir=str(tmp_path / "file" / "within"), model_mirror="http://127.0.0.1:9")
