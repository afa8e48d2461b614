"""What an installation holds."""

from __future__ import annotations

import tomllib
from pathlib import Path

from clearcut.settings import Settings

ROOT = Path(__file__).parents[3]


def test_every_package_is_installed():
    find = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    source = ROOT / find["where"][0]
    folders = {each.parent for each in source.rglob("*.py")} - {source}
    packages = {each.parent for each in source.rglob("__init__.py")}
    assert folders == packages
    assert {each.relative_to(source).parts[0] for each in packages} == {"clearcut"}


def test_the_image_holds_the_default_models_files():
    manifest = tomllib.loads((ROOT / "models" / "manifest.toml").read_text())
    model = manifest["models"][Settings().model]
    named = [model["file"], manifest["edges"]["file"], *(each["file"] for each in model["variants"].values())]
    recipe, kept = (ROOT / "Dockerfile.cuda").read_text().split(), (ROOT / ".dockerignore").read_text().split()
    for file in named:
        assert f"models/{file}" in recipe
        assert f"!models/{file}" in kept
