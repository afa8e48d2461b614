"""Compiled libraries: older compilers build them, and one that lacks functions is not used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clearcut.imaging.compiled import image_measures
from clearcut.imaging.formats.png_file import compiled_rows
from clearcut.imaging.matting import compiled_cells, compiled_pixels

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs a C compiler on Linux"
)
ROWS = Path(compiled_rows.__file__).with_name("rows.c"), compiled_rows.load_compiled_rows
PIXELS = Path(compiled_pixels.__file__).with_name("edge_pixels.c"), compiled_pixels.load_compiled_pixels
CELLS = Path(compiled_cells.__file__).with_name("grid_cells.c"), compiled_cells.load_compiled_cells
MEASURES = Path(image_measures.__file__).with_name("measures.c"), image_measures.load_measures
LIBRARIES = pytest.mark.parametrize(
    ("source", "load"), [ROWS, PIXELS, CELLS, MEASURES], ids=["rows", "pixels", "cells", "measures"]
)
Load = Callable[[Path], object]


def build(source: Path, folder: Path, *options: str) -> Path:
    library = folder / f"{source.stem}.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", *options, "-o", library, source], check=True)
    return library


@LIBRARIES
def test_library_without_functions_is_not_used(source: Path, load: Load, tmp_path: Path) -> None:
    version = next(line for line in source.read_text().splitlines() if f"{source.stem}_version(void)" in line)
    only_version = tmp_path / source.name
    only_version.write_text(f"#include <stdint.h>\n{version}\n")
    assert load(build(only_version, tmp_path)) is None


@LIBRARIES
def test_gcc_11_gets_no_unknown_target(source: Path, load: Load, tmp_path: Path) -> None:
    library = build(source, tmp_path, "-U__GNUC__", "-D__GNUC__=11")
    assert load(library) is not None
    assert b".arch_x86_64_v3" not in library.read_bytes()
