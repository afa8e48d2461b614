"""``clearcut cut --variants``: several outputs of one input, in this process and on a service."""

from __future__ import annotations

import csv
import io
import zipfile

import httpx
import numpy as np
import pytest

from tests.support.cut_command import outputs, pixels

pytestmark = pytest.mark.live

SETS = '[{}, {"size": "preview", "format": "webp"}, {"channels": "alpha"}]'
NAMES = ["{}-1.png", "{}-2.webp", "{}-3.png"]


def names(*stems: str) -> list[str]:
    return sorted(name.format(stem) for stem in stems for name in NAMES)


@pytest.mark.parametrize("remote", [False, True], ids=["local", "server"])
def test_variants_equal_those_of_the_service(cut, folder, server, remote):
    more = ["--server", server.base_url] if remote else []
    assert cut("in/a.jpg", "out/cutout.png", "--variants", SETS, "--crop", *more).code == 0
    assert outputs(folder / "out") == names("cutout")
    with httpx.Client(trust_env=False, timeout=60) as client:
        answer = client.post(
            f"{server.base_url}/v1/remove",
            files={"image_file": (folder / "in/a.jpg").read_bytes()},
            data={"variants": SETS, "crop": "true", "format": "png"}, headers={"accept": "application/zip"},
        )  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        for name in archive.namelist():
            assert np.array_equal(pixels(archive.read(name)), pixels((folder / "out" / name).read_bytes())), name


def test_folder_with_variants_is_finished_with_all_outputs(cut, folder):
    arguments = ("in", "in", "--suffix", "-cut", "--variants", SETS, "--report", "report.csv")
    assert cut(*arguments).code == 0
    written = names("in/a-cut", "in/sub/b-cut", "in/sub/c-cut")
    assert [name for name in outputs(folder) if "-cut-" in name] == written
    assert "3 skipped" in cut(*arguments).errors
    (folder / "in/sub/b-cut-2.webp").unlink()
    (folder / "in/sub/b-cut-1.png").write_bytes(b"kept")
    assert "1 written, 2 skipped" in cut(*arguments).errors
    assert [name for name in outputs(folder) if "-cut-" in name] == written
    assert (folder / "in/sub/b-cut-1.png").read_bytes() == b"kept"
    with (folder / "report.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["in/a.jpg", "in/sub/b.JPEG", "in/sub/c.jpg"]


def test_review_copies_doubtful_variants(cut, folder):
    arguments = ("in/a.jpg", "out", "--variants", SETS, "--review", "look", "--min-confidence", "1")
    assert cut(*arguments).code == 0
    assert outputs(folder / "look") == names("a")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["in/a.jpg", "-", "--variants", SETS], "OUT is standard output, but must be a file or a folder"),
        (["in/a.jpg", "out", "--variants", "{}"], "--variants: expected a JSON list of 1 to 16 objects"),
        (["in", "in", "--variants", SETS], "use another OUT, or --suffix"),
        (["in/a.jpg", "out", "--variants", '[{"bg_color": "blurple"}]'], "--variants[0].bg_color: expected"),
        (["in/a.jpg", "out", "--variants", '[{"sise": "small"}]'], "--variants[0].sise: unknown option"),
        (["in/a.jpg", "in/b.png", "--variants", SETS, "--report", "in/b-3.png"], "--report would replace in/b-3.png"),
        (["in/sub/b.JPEG", "in/a.jpg", "--variants", '[{}, {"format": "png"}]', "--mask", "in/a-2.png"],
         "would replace the input in/a-2.png"),
        (["in", "out", "--ray", "local", "--variants", SETS], "--variants: not together with --ray"),
    ],
)  # fmt: skip
def test_wrong_variants_exit_before_any_work(cut, folder, arguments, text):
    before = outputs(folder)
    result = cut(*arguments)
    assert result.code == 2
    assert text in result.errors
    assert outputs(folder) == before


def test_option_without_effect_on_all_variants_gets_a_warning(cut, folder):
    result = cut("in/a.jpg", "out", "--variants", '[{}, {"format": "jpg"}]', "--padding", "5%", "--quality", "80")
    assert result.code == 0
    assert "warning: --padding has no effect" in result.errors
    assert "--quality" not in result.errors
