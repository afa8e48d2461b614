"""Blind comparison of cut-outs: which of them could be published without retouching?

    python -m benchmarks.blind_test make --data ../shared/data --weights ../shared/models --out demo/blind
    python -m benchmarks.blind_test count --out demo/blind MARKS.json [MARKS.json ...]

``make`` sends 40 images to the service with each model and writes sheets: the image, then the cut-outs on magenta in an
order that differs by image and that only ``key.json`` knows. A judge writes a JSON file with a list of usable columns
per image, such as ``{"01": ["A", "C"], "02": []}``, without opening the key. ``count`` joins marks and key.

Images: photos of scikit-image with a subject, held-out photos of ``more/`` and held-out drawn images; all of them are
unknown to the training run. Sheets are not for publication, because the photos' licences are mixed.

Criteria, written before the first sheet was made. A cut-out is usable if all of these hold:

1. The whole subject is there: no missing limb, strap, handle, wheel or letter, and no part that shows through.
2. Nothing else is there: no background object, floor, wall or shadow that would need erasing, and holes are open.
3. The edge looks natural at the sheet's size: no fringe of background color, no steps, no halo.
4. If an image has several possible subjects, any sensible choice is accepted, as long as it is cut out completely.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data as photos

from benchmarks.http_request import post_image
from models.training import drawn
from models.training.data import is_held_out
from tests.support.live_server import Server, served

U8 = NDArray[np.uint8]
MODELS = ("clearcut-s", "u2netp", "clearcut-m")
SKIMAGE = ("astronaut", "camera", "cat", "coffee", "clock", "coins", "logo", "rocket", "moon")
PHOTOS, DRAWN, CELL, PER_SHEET = 19, 12, 300, 5
MAGENTA = np.array([255, 0, 255], np.float32)


def images(data: Path) -> Iterator[tuple[str, U8]]:
    """(name, rgb u8[H,W,3]) of the 40 images."""
    for name in SKIMAGE:
        rgb = np.asarray(getattr(photos, name)())
        if rgb.ndim == 2:
            rgb = np.repeat(rgb[..., None], 3, 2)
        elif rgb.shape[2] == 4:  # the logo is transparent: put it on white
            rgb = rgb[..., :3] * (rgb[..., 3:] / 255) + 255 - rgb[..., 3:].astype(np.float32)
        yield name, rgb.astype(np.uint8)
    held_out = [path for path in sorted((data / "more" / "images").glob("*.jpg")) if is_held_out(path.stem)]
    for place in np.linspace(0, len(held_out) - 1, PHOTOS).astype(int):
        yield held_out[place].stem, cv2.imread(str(held_out[place]))[..., ::-1].astype(np.uint8)
    for number, family in zip(range(DRAWN), drawn.FAMILIES, strict=False):
        rng = np.random.default_rng((drawn.HELD_OUT_SEED, 4711, number))
        source = cv2.imread(str(held_out[number]))[..., ::-1].astype(np.uint8)
        photo = cv2.resize(source, (480, 480), interpolation=cv2.INTER_AREA).astype(np.uint8)
        cutout = np.zeros((480, 480, 4), np.uint8)
        cv2.ellipse(cutout, (240, 240), (90, 150), 0, 0, 360, (90, 120, 60, 255), -1, cv2.LINE_AA)
        yield f"drawn {family}", drawn.sample(drawn.Pen(480, rng, True, _constant(photo), _constant(cutout)), family)[0]


def _constant(value: U8) -> Callable[[], U8]:
    return lambda: value


def cell(rgb: U8, text: str) -> U8:
    """An image fitted into a square of the sheet, with a caption."""
    shrink = (CELL - 20) / max(rgb.shape[:2])
    size = (round(rgb.shape[1] * shrink), round(rgb.shape[0] * shrink))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrink < 1 else cv2.INTER_CUBIC)
    canvas = np.full((CELL, CELL, 3), 245, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    cv2.putText(canvas, text, (2, CELL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def cutout_of(server: Server, image: bytes) -> U8:
    """Send an image and return the PNG as u8[H,W,4]: red, green, blue, alpha."""
    body = post_image(server, "/v1/remove?format=png", image).body
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(pixels, np.uint8)[..., [2, 1, 0, 3]]


def on_magenta(cutout: U8) -> U8:
    """Return u8[H,W,4] over magenta, u8[H,W,3]."""
    alpha = cutout[..., 3:].astype(np.float32) / 255
    return (cutout[..., :3] * alpha + MAGENTA * (1 - alpha) + 0.5).astype(np.uint8)


def make(data: Path, weights: Path, out: Path) -> None:
    """Write the sheets and the key."""
    shots = list(images(data))
    encoded = [cv2.imencode(".png", rgb[..., ::-1])[1].tobytes() for _, rgb in shots]
    cutouts = {}
    for model in MODELS:
        with served(model=model, model_dir=str(weights.resolve())) as server:
            cutouts[model] = [cutout_of(server, image) for image in encoded]
    out.mkdir(parents=True, exist_ok=True)
    rows, key = [], {}
    for number, (_, rgb) in enumerate(shots):
        order = np.random.default_rng((2026, number)).permutation(len(MODELS))
        label = f"{number + 1:02}"
        key[label] = {column: MODELS[index] for column, index in zip("ABC", order, strict=True)}
        cells = [cell(rgb, label)]
        for column, model in key[label].items():
            cells.append(cell(on_magenta(cutouts[model][number]), f"{label} {column}"))
        rows.append(np.hstack(cells))
    for first in range(0, len(rows), PER_SHEET):
        sheet = np.vstack(rows[first : first + PER_SHEET])
        cv2.imwrite(str(out / f"sheet-{first // PER_SHEET + 1}.png"), sheet[..., ::-1])
    (out / "key.json").write_text(json.dumps(key, indent=1))
    (out / "names.json").write_text(json.dumps([name for name, _ in shots], indent=1))


def count(out: Path, marks: list[Path]) -> None:
    """Print how many cut-outs of each model each judge would use."""
    key = json.loads((out / "key.json").read_text())
    for path in marks:
        found = json.loads(path.read_text())
        if missing := sorted(set(key) - set(found)):
            raise SystemExit(f"{path} has no marks for {', '.join(missing)}")
        usable = Counter(key[label][column] for label, columns in found.items() for column in columns)
        print(f"{path.name}: " + ", ".join(f"{model} {usable[model]} of {len(key)}" for model in MODELS))


def main() -> None:
    parser = argparse.ArgumentParser(description="Blind comparison of cut-outs.")
    parser.add_argument("action", choices=["make", "count"])
    parser.add_argument("marks", type=Path, nargs="*")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", type=Path, default=Path("../shared/models"))
    parser.add_argument("--out", type=Path, default=Path("demo/blind"))
    args = parser.parse_args()
    if args.action == "make":
        make(args.data, args.weights, args.out)
    else:
        count(args.out, args.marks)


if __name__ == "__main__":
    main()
