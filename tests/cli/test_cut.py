"""``clearcut cut``: files, folders, standard streams, options, a server, errors and Ctrl-C."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from clearcut.imaging.formats.heif import hevc_library
from tests.support.cut_command import outputs, pixels
from tests.support.heif_files import heic_grid
from tests.support.live_server import environment, served
from tests.support.samples import jpeg, photo

pytestmark = pytest.mark.live

IN_OUTPUTS = ["a.png", "sub/b.png", "sub/c.png"]
COMMAND = [sys.executable, "-m", "clearcut", "cut"]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_file_in_the_format_of_its_extension(cut, folder):
    assert cut("in/a.jpg", "out.webp").code == 0
    assert (folder / "out.webp").read_bytes()[8:12] == b"WEBP"
    assert outputs(folder) == ["in/a.jpg", "in/sub/b.JPEG", "in/sub/c.jpg", "out.webp"]


def test_path_of_a_single_output_is_printed(cut, folder):
    assert "output: out.png\n1 written" in cut("in/a.jpg", "out.png").errors
    assert "output: new.folder/a.png\n" in cut("in/a.jpg", "new.folder/").errors
    assert "output: new.folder/c.png\n" in cut("in/sub/c.jpg", "new.folder").errors
    assert "output:" not in cut("in", "folder.of.several").errors
    assert outputs(folder / "folder.of.several") == IN_OUTPUTS


def test_folder_keeps_its_structure_and_skips_other_files(cut, folder):
    (folder / "in/notes.txt").write_text("no image")
    (folder / "in/.hidden.jpg").write_bytes(b"no image")
    result = cut("in", "out")
    assert result.code == 0
    assert "3 written" in result.errors
    assert outputs(folder / "out") == IN_OUTPUTS


def test_folder_of_every_input_format(cut, folder):
    for name in ("photo.avif", "photo2.bmp", "photo3.gif", "photo4.tif", "photo5.TIFF"):
        Image.fromarray(photo("astronaut", 96, 64)).save(folder / "in" / name)
    assert cut("in", "out", "--format", "avif").code == 0
    assert len(outputs(folder / "out")) == 8
    assert (folder / "out/photo4.avif").read_bytes()[4:12] == b"ftypavif"


@pytest.mark.skipif(hevc_library.find_library() is None, reason="this system has no HEIC decoder")
def test_folder_of_photos_from_a_phone(cut, folder):
    rgb = photo("astronaut", 128, 96)
    (folder / "in/photo.HEIC").write_bytes(heic_grid(rgb, 64))
    assert cut("in", "out").code == 0
    with Image.open(folder / "out/photo.png") as cutout:
        assert cutout.size == (128, 96)
        shown = np.asarray(cutout)
    solid = shown[:, :, 3] == 255
    assert solid.any()
    assert np.abs(shown[solid][:, :3].astype(int) - rgb[solid]).mean() < 8


def test_several_files_go_to_a_folder(cut, folder):
    assert cut("in/a.jpg", "in/sub/b.JPEG", "out", "--format", "jpg", "--suffix", "-cut").code == 0
    assert outputs(folder / "out") == ["a-cut.jpg", "b-cut.jpg"]


def test_broken_file_is_reported_and_others_finish(cut, folder):
    (folder / "in/broken.jpg").write_bytes((folder / "in/a.jpg").read_bytes()[:900])
    (folder / "in/old.gif").write_bytes(b"GIF89a" + bytes(20))
    result = cut("in", "out", "--report", "report.csv")
    assert result.code == 1
    assert "in/broken.jpg: Cannot read the image" in result.errors
    assert "3 written, 2 failed" in result.errors
    assert outputs(folder / "out") == IN_OUTPUTS
    by_file = {row["file"]: row for row in rows(folder / "report.csv")}
    assert list(by_file) == sorted(by_file)
    assert [row["status"] for row in by_file.values()] == ["ok", "error", "error", "ok", "ok"]
    good = by_file["in/a.jpg"]
    assert 0 < float(good["confidence"]) <= 1
    assert len(good["box"].split()) == 4
    assert float(good["ms"]) > 0
    assert by_file["in/broken.jpg"]["error"].startswith("Cannot read the image")


def test_inputs_with_the_same_output_stop_the_command(cut, folder):
    Image.fromarray(photo("coffee", 64, 64)).save(folder / "in/a.png")
    result = cut("in", "in/a.jpg", "out", "--report", "report.csv")
    assert result.code == 2
    assert "in/a.png and in/a.jpg have the same output out/a.png; rename a file" in result.errors
    assert not (folder / "out").exists()
    assert not (folder / "report.csv").exists()


def test_input_that_is_listed_twice_is_processed_once(cut, folder):
    assert cut("in", "in/a.jpg", "out", "--report", "report.csv").code == 0
    assert outputs(folder / "out") == IN_OUTPUTS
    assert [row["file"] for row in rows(folder / "report.csv")].count("in/a.jpg") == 1


def test_options_without_effect_get_a_warning(cut, folder):
    result = cut("in/a.jpg", "out.png", "--quality", "80", "--padding", "5%")
    assert result.code == 0
    assert "warning: --quality has no effect" in result.errors
    assert "warning: --padding has no effect" in result.errors
    assert "warning" not in cut("in/a.jpg", "out.jpg", "--quality", "80").errors


@pytest.mark.parametrize("remote", [False, True])
def test_moderation_without_classifier_gets_a_warning(cut, folder, server, remote):
    flags = ["--server", server.base_url] if remote else []
    result = cut("in", "out", "--moderation", "true", *flags)
    assert result.code == 0
    assert result.errors.count("warning: moderation was not run") == 1
    assert "clearcut models pull nsfw" in result.errors
    variants = ["--variants", '[{}, {"format": "jpg"}]', "--moderation", "true"]
    assert "moderation was not run" in cut("in/a.jpg", "b.png", *variants, *flags).errors
    assert "moderation" not in cut("in/a.jpg", "a.png", *flags).errors


def test_confidence_is_equal_with_a_server(cut, folder, server):
    assert cut("in", "out", "--report", "local.csv").code == 0
    assert cut("in", "remote", "--report", "remote.csv", "--server", server.base_url).code == 0
    local, remote = (rows(folder / name) for name in ("local.csv", "remote.csv"))
    assert [row["confidence"] for row in local] == [row["confidence"] for row in remote]


def test_second_run_skips_finished_files(cut, folder):
    assert cut("in", "out").code == 0
    (folder / "out/a.png").write_bytes(b"mine")
    (folder / "out/sub/b.png").unlink()
    result = cut("in", "out", "--report", "report.csv")
    assert result.code == 0
    assert "1 written, 2 skipped" in result.errors
    assert (folder / "out/a.png").read_bytes() == b"mine"
    assert [row["status"] for row in rows(folder / "report.csv")] == ["skipped", "ok", "skipped"]
    assert cut("in", "out", "--overwrite").code == 0
    assert (folder / "out/a.png").read_bytes() != b"mine"


def test_suffix_allows_outputs_beside_inputs(cut, folder):
    before = outputs(folder)
    assert cut("in", "in", "--suffix", "-cut").code == 0
    added = ["in/a-cut.png", "in/sub/b-cut.png", "in/sub/c-cut.png"]
    assert outputs(folder) == sorted([*before, *added])
    assert "3 skipped" in cut("in", "in", "--suffix", "-cut").errors


def test_output_folder_inside_the_input_is_not_an_input(cut, folder):
    assert cut("in", "in/out").code == 0
    assert "3 skipped" in cut("in", "in/out").errors


def test_review_gets_copies_of_doubtful_outputs(cut, folder):
    assert cut("in", "out", "--review", "look", "--min-confidence", "1").code == 0
    assert outputs(folder / "look") == IN_OUTPUTS
    assert (folder / "look/a.png").read_bytes() == (folder / "out/a.png").read_bytes()
    assert cut("in", "out2", "--review", "look2", "--min-confidence", "0").code == 0
    assert not (folder / "look2").exists()


def test_mask_and_background_files(cut, folder):
    (folder / "mask.jpg").write_bytes(jpeg(np.full((200, 300), 255, np.uint8)))
    (folder / "blue.jpg").write_bytes(jpeg(np.full((8, 8, 3), (0, 0, 255), np.uint8)))
    assert cut("in/a.jpg", "kept.png", "--mask", "mask.jpg").code == 0
    assert pixels((folder / "kept.png").read_bytes())[:, :, 3].min() == 255
    assert cut("in/a.jpg", "blue.png", "--bg-image", "blue.jpg").code == 0
    assert pixels((folder / "blue.png").read_bytes())[0, 0, 2] > 200


OPTIONS = [
    ([], {}),
    (["--format", "webp", "--crop"], {"format": "webp", "crop": "true"}),
    (["--crop-ratio", "1:1", "--format", "jpg"], {"crop": "1:1", "format": "jpg"}),
    (["--bg-color", "red", "--format", "jpg"], {"bg_color": "red", "format": "jpg"}),
    (["--crop", "16:9", "--padding", "10%"], {"crop": "16:9", "padding": "10%"}),
    (["--size=preview", "--channels", "alpha"], {"size": "preview", "channels": "alpha"}),
    (["--shadow", "--background-type", "blur"], {"shadow": "true", "background_type": "blur"}),
    (["--reverse", "--despill", "false"], {"reverse": "true", "despill": "false"}),
    (["--width", "100", "--height", "80", "--fit", "cover"], {"width": "100", "height": "80", "fit": "cover"}),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "fields"), OPTIONS, ids=[" ".join(flags) or "none" for flags, _ in OPTIONS])
@pytest.mark.parametrize("remote", [False, True], ids=["local", "server"])
def test_pixels_equal_the_servers(cut, folder, server, flags, fields, remote):
    more = ["--server", server.base_url] if remote else []
    extension = fields.get("format", "png")
    assert cut(*flags, "in/a.jpg", f"out.{extension}", *more).code == 0
    files = {"image_file": (folder / "in/a.jpg").read_bytes()}
    answer = httpx.post(f"{server.base_url}/v1/remove", files=files, data=fields, timeout=60, trust_env=False)
    assert answer.status_code == 200
    assert np.array_equal(pixels((folder / f"out.{extension}").read_bytes()), pixels(answer.content))


def test_server_processes_a_folder(cut, folder, server):
    (folder / "in/broken.jpg").write_bytes(b"\xff\xd8 broken")
    result = cut("in", "out", "--server", server.base_url, "--report", "report.csv")
    assert result.code == 1
    assert "in/broken.jpg: Unsupported image type in 'image_file'" in result.errors
    assert outputs(folder / "out") == IN_OUTPUTS
    assert len(rows(folder / "report.csv")[0]["box"].split()) == 4


def test_unreachable_server_is_one_error(cut, folder):
    result = cut("in", "out", "--server", "http://127.0.0.1:9")
    assert result.code == 1
    assert result.errors.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize("path", ["/wrong", "/docs/"])
def test_wrong_path_of_a_server_is_explained(cut, folder, server, path):
    result = cut("in", "out", "--server", server.base_url + path)
    assert result.code == 1
    assert f"no Clearcut service answers at {path.rstrip('/')}/v1/remove (status 404)" in result.errors
    assert cut("in/a.jpg", "out.png", "--server", f"{server.base_url}/v1/remove").code == 0


def test_wrong_key_stops_the_run(cut, folder, tmp_path_factory, monkeypatch):
    database = tmp_path_factory.mktemp("accounts") / "keys.db"
    with served(database_url=f"sqlite:///{database}", model="clearcut-s") as server:
        result = cut("in", "out", "--server", server.base_url, "--key", "wrong")
        monkeypatch.setenv("CLEARCUT_API_KEY", "wrong")
        assert "x-api-key" in cut("in", "out", "--server", server.base_url).errors
    assert result.code == 1
    assert result.errors.count("x-api-key") == 1
    assert "set --key or CLEARCUT_API_KEY" in result.errors


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["in/a.jpg"], "OUT"),
        (["missing.jpg", "out.png"], "missing.jpg: no such file"),
        (["in/a.jpg", "missing", "out"], "missing: no such file"),
        (["in/a.jpg", "in/sub/c.jpg", "out.png"], "folder as OUT"),
        (["in", "out.png"], "folder as OUT"),
        (["in/a.jpg", "out.png", "--format", "webp"], "--format is webp"),
        (["in", "out", "--format", "bmp"], "--format"),
        (["in", "out", "--bg-color", "blurple"], "--bg-color"),
        (["in", "out", "--crop-ratio", "3"], "--crop-ratio: expected a ratio such as 1:1, 4:3, 16:9\n"),
        (["in", "out", "--crop-ratio", "4x3"], "16:9; write 4:3 instead of 4x3\n"),
        (
            ["in", "out", "--crop", "1x1"],
            "--crop: expected true, false or a ratio such as 1:1, 4:3, 16:9; write 1:1 instead of 1x1\n",
        ),
        (["in", "out", "--size", "800x600"], "; for an exact size, use width and height\n"),
        (["in", "out", "--shadow", "2"], "--shadow: expected true, false, or a number from 0 to 1\n"),
        (["--crop", "16/9", "in/a.jpg", "out.png", "--fit=wide"], "write 16:9 instead of 16/9; --fit: expected"),
        (["in", "out", "--background-type", "image"], "--bg-image"),
        (["in", "out", "--bg-color"], "expected one argument"),
        (["in", "out", "--bg-colour", "red"], "unknown flag --bg-colour; did you mean --bg-color?"),
        (["--overwrit", "in", "out"], "did you mean --overwrite?"),
        (["in", "out", "--workers", "0"], "--workers"),
        (["in", "out", "--min-confidence", "0.5"], "--review"),
        (["in", "out", "--key", "secret"], "--server"),
        (["in", "out", "--server", "http://127.0.0.1:9", "--device", "cpu"], "--device"),
        (["in", "in/a.jpg/out"], "OUT"),
        (["-", "out"], "'-'"),
        (["empty", "out"], "no images"),
        (["in/a.jpg", "in/a.jpg"], "replace the input"),
        (["in", "in"], "IN and OUT are the same folder; use another OUT, or --suffix"),
        (["in", "in/sub/.."], "the same folder"),
        (["in", "out", "--format", "jpg", "--review", "in"], "--review would replace"),
        (["in", "out", "--review", "out"], "--review would replace"),
        (["in/a.jpg", "out.png", "--report", "in/a.jpg"], "--report would replace"),
        (["in/a.jpg", "out.png", "--report", "out.png"], "--report would replace"),
        (["in/a.jpg", "other/a.png", "--mask", "other/a.png", "--overwrite"], "replace the input"),
        (["in", "out", "--suffix", "a/b"], "--suffix"),
        (["in/a.jpg", "x" * 300 + ".png"], "File name too long"),
        (["in/a.jpg", "out.gif"], "OUT is out.gif"),
        (["in", "out.gif"], "OUT is out.gif"),
        (["in/a.jpg", "notes.txt"], ".avif, .zip, .jpeg, or a folder; for a new folder, write notes.txt/"),
        (["in/a.jpg", "my.photo"], "OUT is my.photo: expected one of .png"),
        (["missing.jpg", "my.photo"], "OUT is my.photo"),
        (["in/a.jpg", ""], "empty"),
        (["https://example.com/a.jpg", "out.png"], "URLs are not accepted; download the file first"),
        (["in", "s3://bucket/out"], "s3://bucket/out: URLs are not accepted"),
        (["in", "out", "--device", "gpu"], "--device: expected auto, cpu, cuda or tensorrt\n"),
        (["", "out"], "empty"),
        (["in", "out", "--report", ""], "--report"),
        (["in", "out", "--size", "huge", "--crop=1", "--fit", "wide"], "--fit: expected contain, cover, scale-down"),
        (["in", "folders"], "folders/a.png exists and is a folder"),
        (["in", "folders", "--overwrite"], "folders/a.png exists and is a folder"),
        (["in/a.jpg", "pipe.png"], "pipe.png exists and is not a regular file"),
        (["in", "out", "--server", "http://127.0.0.1:9", "--key", "clé"], "--key"),
        (["in", "out", "--server", "http://127.0.0.1:9", "--key", "a\nb"], "--key"),
    ],
)
def test_wrong_usage_exits_before_any_work(cut, folder, arguments, text):
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "folders/a.png").mkdir(parents=True)
    os.mkfifo(folder / "pipe.png")
    shutil.copy("in/a.jpg", "other/a.png")
    before = outputs(folder)
    result = cut(*arguments)
    assert result.code == 2
    assert text in result.errors
    assert outputs(folder) == before


@pytest.mark.parametrize("flags", [["--model", "none"], ["--mask", "missing.png"], ["--bg-image", "missing.png"]])
def test_unusable_model_or_file_is_one_error(cut, folder, flags):
    result = cut("in", "out", *flags)
    assert result.code == 1
    assert result.errors.startswith("clearcut: ")
    assert result.errors.count("\n") == 1
    assert flags[0] == "--model" or f"{flags[0]} missing.png: " in result.errors


def test_standard_input_and_output(folder):
    result = subprocess.run(
        [*COMMAND, "-", "-", "--format", "webp"],
        input=(folder / "in/a.jpg").read_bytes(), env=environment(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert pixels(result.stdout).shape == (200, 300, 4)
    assert result.stderr == b""


def test_broken_standard_input_writes_nothing(folder):
    result = subprocess.run(
        [*COMMAND, "-", "-"], input=b"no image", env=environment(), capture_output=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"clearcut: -: Unsupported image type")


def test_unwritable_folder_is_reported(cut, folder):
    (folder / "out").mkdir()
    (folder / "out/sub").write_text("a file where a folder belongs")
    result = cut("in", "out")
    assert result.code == 1
    assert "1 written, 2 failed" in result.errors


def test_interrupt_leaves_no_partial_file(folder):
    large = jpeg(photo("astronaut", 1500, 1500))
    for number in range(60):
        (folder / f"in/{number}.jpg").write_bytes(large)
    process = subprocess.Popen(
        [*COMMAND, "in", "out", "--report", "report.csv"],
        cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not list((folder / "out").glob("*.png")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in errors
    written = outputs(folder / "out")
    assert 1 <= len(written) < 63
    assert all(name.endswith(".png") and pixels((folder / "out" / name).read_bytes()).shape[2] == 4 for name in written)
    assert [row["status"] for row in rows(folder / "report.csv")] == ["ok"] * len(written)


def wait_for_library(process, name):
    """Wait until a process has loaded a library."""
    until = time.monotonic() + 60
    while name not in Path(f"/proc/{process.pid}/maps").read_text() and time.monotonic() < until:
        time.sleep(0.002)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize("library", ["_multiarray_umath", "onnxruntime"])
def test_interrupt_during_start_is_silent(folder, library):
    process = subprocess.Popen(
        [*COMMAND, "in", "out"], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for_library(process, library)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == ""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.parametrize("signals", [1, 2])
def test_interrupt_while_standard_input_is_open(folder, signals):
    process = subprocess.Popen(
        [*COMMAND, "-", "out.png"],
        cwd=folder, env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process.stdin, process.stderr:  # standard input stays open
        wait_for_library(process, "onnxruntime")
        time.sleep(0.5)
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
    assert not (folder / "out.png").exists()


def test_second_interrupt_deletes_partial_files(tmp_path):
    partial = tmp_path / ".clearcut-1.part"
    partial.write_bytes(b"half")
    code = f"""
import os, pathlib, signal
from clearcut.cli.interrupts import InterruptHandler
interrupts = InterruptHandler()
interrupts.install()
with interrupts.processing({{pathlib.Path({str(partial)!r})}}):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        print("first", flush=True)
        os.kill(os.getpid(), signal.SIGINT)
print("not reached")
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "first\n", "")
    assert not partial.exists()


def test_terminal_shows_progress(cut, folder, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    result = cut("in", "out", "--workers", "1")
    assert "3/3  " in result.errors
    assert "images/s  0:00 left" in result.errors
