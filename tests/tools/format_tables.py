"""The tables of ``docs/formats.md``, from the format registry and ``benchmarks/results/formats.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clearcut.imaging.formats.registry import FORMATS

RESULT = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "formats.json"
KINDS = {
    "avif": ("gray, color, alpha, grids", "Pillow, LittleCMS"),
    "bmp": ("1 to 32 bits per pixel, palette, bit fields, alpha", "Pillow"),
    "gif": ("palette, transparent, interlaced", "Pillow"),
    "heic": ("gray, 4:2:0 to 4:4:4, alpha, grids, 8 to 12 bits per channel", "libheif, source samples, LittleCMS"),
    "jpeg": ("baseline, progressive, gray, CMYK", "Pillow, LittleCMS"),
    "png": ("all color types and depths", "source pixels, LittleCMS"),
    "tiff": (
        "1 to 16 bits per channel, gray, RGB, palette, CMYK, alpha; strips, tiles; LZW, deflate",
        "Pillow, LittleCMS",
    ),
    "webp": ("lossy, lossless, alpha", "source pixels, LittleCMS"),
}
"""By name: (the tested kinds of files, what their pixels are compared with)."""


def _figures(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not measured | | |"
    sizes = " and ".join(f"{each['bytes'] / 1e6:.2f}" for each in row.values())
    times = " and ".join(f"{each['cpu_ms']:,.0f}" for each in row.values())
    return f"{sizes} MB | {times} ms | {max(each['bytes_per_pixel'] for each in row.values()):.0f} bytes |"


def input_table() -> str:
    found = json.loads(RESULT.read_text())["input"]
    rows = [
        "| Format | Tested kinds | Tested against | Size at 1 and 12 MP | Decode, 1 and 12 MP | Memory per pixel |",
        "|---|---|---|---|---|---|",
    ]
    for each in sorted((each for each in FORMATS if each.reader), key=lambda each: each.name):
        kinds, reference = KINDS[each.name]
        rows.append(f"| {each.title} | {kinds} | {reference} | {_figures(found.get(each.name))}")
    return "\n".join(rows)


def output_table() -> str:
    found = json.loads(RESULT.read_text())["output"]
    rows = [
        "| `format` | Alpha | Default quality | Limit | Size, 1 and 12 MP | Encode, 1 and 12 MP | Memory per pixel |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in FORMATS:
        if each.writer is None:
            continue
        writer = each.writer
        limit = f"{writer.max_side:,} pixels a side" if writer.max_side < 2**31 - 1 else "none"
        if writer.max_pixels is not None:
            limit = f"{writer.max_pixels / 1e6:g} megapixels"
        quality = str(writer.default_quality or "none")
        alpha = "yes" if writer.has_alpha else "no"
        rows.append(f"| `{each.extension}` | {alpha} | {quality} | {limit} | {_figures(found.get(each.extension))}")
    return "\n".join(rows)


PARTS = {"input formats": input_table, "output formats": output_table}
