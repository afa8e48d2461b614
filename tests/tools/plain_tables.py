"""The table of plain backgrounds in ``docs/plain-backgrounds.md``, from ``benchmarks/results/plain.json``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

RESULT = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "plain.json"
DRAWN = ("ring", "frame", "strap", "chain", "box", "signature", "wordmark", "flat_art", "sprite", "several", "text")
TITLES = {
    "product": "products, on six backgrounds",
    "product with a clear reference": "only products without white edges in the source photo",
    "product with solid edges": "all products, with solid colors at their edges",
    "small product": "small products (longer side: 6 to 35 % of the image's)",
    "rendered product": "rendered products, with exact mattes",
    "wordmark": "word marks",
    "flat_art": "flat drawings",
    "several": "several objects",
    "background's color inside": "products with parts in the background's color",
}


def table() -> str:
    """Return mean IoU and first percentile by family, the drawn families after their mean."""
    families = json.loads(RESULT.read_text())["families"]
    rows = ["| Family | Images | `off` | `auto` | 1st percentile, `auto` |", "|---|---|---|---|---|"]
    drawn = [families[name] for name in DRAWN if name in families]
    for name, each in families.items():
        if name == DRAWN[0]:
            off, auto = (float(np.mean([own[mode]["iou"] for own in drawn])) for mode in ("off", "auto"))
            images = sum(own["images"] for own in drawn)
            rows.append(f"| drawn objects, mean of the next {len(drawn)} rows | {images} | {off:.3f} | {auto:.3f} | |")
        title = TITLES.get(name, name)
        off, auto = each["off"]["iou"], each["auto"]["iou"]
        low = each["auto"]["iou_first_percentile"]
        rows.append(f"| {title} | {each['images']} | {off:.3f} | {auto:.3f} | {low:.3f} |")
    return "\n".join(rows)


PARTS = {"plain backgrounds": table}
