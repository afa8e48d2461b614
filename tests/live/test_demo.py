"""``make demo`` and ``make help``."""

from __future__ import annotations

import shutil
import subprocess
import sys

import cv2
import pytest

from tests.support.live_server import ROOT, environment

DEVELOPMENT_PACKAGES = ("httpx", "psutil", "pytest", "skimage", "hypothesis")


@pytest.mark.live
def test_demo_needs_the_packages_of_serving_only(tmp_path):
    code = f"""
import runpy, sys
for name in {DEVELOPMENT_PACKAGES}:
    sys.modules[name] = None  # an import fails
sys.argv = ["demo"]
runpy.run_module("tests.tools.demo", run_name="__main__")
"""
    env = environment(model="clearcut-s", PYTHONPATH=f"{ROOT / 'app'}:{ROOT}")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == [f"demo/{name}.jpg" for name in ("astronaut", "cat", "coffee")]
    assert str(tmp_path / "demo/before-after.png") in lines[4]
    assert len(lines) == 5
    cutout = cv2.imread(str(tmp_path / "demo/cat.png"), cv2.IMREAD_UNCHANGED)
    assert cutout.shape == (300, 451, 4)
    assert 0.1 < cutout[..., 3].mean() / 255 < 0.9


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_help_has_two_groups():
    command = ["make", "--no-print-directory", "help"]  # "make test" calls this test, and make names nested folders
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    use, _, develop = done.stdout.partition("\nDevelop\n")
    assert use.startswith("Use\n")
    for target in ("serve", "demo", "clean"):
        assert f"\n  make {target} " in use
    for target in ("test", "lint", "docs"):
        assert f"  make {target} " in develop
