"""Sheets for visual comparison: cut-outs of this service and of rembg with the same weights, on gray, red and white.

24 photos of the benchmark folder, six rows per sheet, written to ``demo/sheets/`` (the photos' licenses do not allow
publication). Columns: the photo, this service's result on three backgrounds, rembg's default on the same.

Run: ``python -m benchmarks.sheets --data FOLDER --weights FOLDER``, or ``make sheets``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from benchmarks.http_request import post
from benchmarks.load import Target, form_target
from benchmarks.vs_rembg import rembg_served
from tests.support.live_server import served

OUT = Path("demo/sheets")
BACKGROUNDS = {"gray": (128, 128, 128), "red": (40, 40, 220), "white": (255, 255, 255)}  # BGR
PHOTOS, ROWS = 24, 6
CELL = 230


def cut_out(target: Target, photo: bytes) -> np.ndarray:
    """Return u8[H,W,4] BGRA."""
    head, tail = target.wrap
    response = post(target, target.path, head + photo + tail, content_type=target.content_type)
    assert response.status == 200, response.body[:300]
    return cv2.imdecode(np.frombuffer(response.body, np.uint8), cv2.IMREAD_UNCHANGED)


def on(pixels: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return (pixels[..., :3] * alpha + np.float32(background) * (1 - alpha) + 0.5).astype(np.uint8)


def cell(image: np.ndarray) -> np.ndarray:
    """Return the image within CELL x CELL on a light background."""
    scale = CELL / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((CELL, CELL, 3), 235, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small[:CELL, :CELL]
    return canvas


def chosen(data: Path) -> list[Path]:
    """Return photos from all groups of the benchmark, the same at every call."""
    listed = json.loads((data / "bench" / "manifest.json").read_text())
    groups: dict[str, list[str]] = {}
    for entry in listed:
        groups.setdefault(entry["source"], []).append(entry["stem"])
    picked: list[str] = []
    for round_ in range(PHOTOS):
        picked += [stems[round_ * 3 % len(stems)] for stems in groups.values() if round_ * 3 < len(stems)]
    return [next((data / "bench" / "images").glob(f"{stem}.*")) for stem in picked[:PHOTOS]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/models"))
    parser.add_argument("--model", default="u2netp")
    args = parser.parse_args()
    if not (args.data / "bench").is_dir():
        raise SystemExit(f"no benchmark photos in {args.data}: name their folder with --data")
    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    with (
        rembg_served(args.weights) as theirs,
        served(model=args.model, model_dir=str(args.weights.resolve())) as server,
    ):
        ours = form_target(server.host, server.port, "/v1/remove", "image_file", {})
        for path in chosen(args.data):
            photo = path.read_bytes()
            row = [cell(cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR))]
            for target in (ours, theirs):
                pixels = cut_out(target, photo)
                row += [cell(on(pixels, background)) for background in BACKGROUNDS.values()]
            rows.append(np.hstack(row))
    for start in range(0, len(rows), ROWS):
        sheet = OUT / f"{args.model}-{start // ROWS + 1}.png"
        cv2.imwrite(str(sheet), np.vstack(rows[start : start + ROWS]))
        print(sheet)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
