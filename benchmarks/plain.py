"""Cut-outs of subjects on plain backgrounds, by family, through the HTTP API with ``plain_background`` off and auto.

    python -m benchmarks.plain --data DIR [--renders DIR] [--half report] [--products 300] [--each 20]

The images are rendered with exact mattes (``plain_scenes``): held-out product cut-outs on six backgrounds, and drawn
objects of held-out shapes. The counter-set (``plain_counter``) holds what a rule for plain backgrounds can damage.
The mattes of the products are keyed from white photos. "Product with a clear reference" leaves out the cut-outs whose
edge is white in the photo. "Product with solid edges" has the same mattes with colors that determine alpha.
"Small product" has 6 to 35 % of the longer side of an image of 900 to 2600 pixels; its IoU is measured at full size.
"Rendered product" has exact mattes: 3D objects rendered by ``plain_renders``.
``reference_limit`` is the IoU of alpha computed at soft edges from the exact background, before noise and JPEG, and the
color of the nearest opaque pixel: what colors can reach with these mattes.
Measured: mean, first percentile and minimum of the IoU at a longest side of 640; the sum of absolute differences
relative to the subject's area; the recall of holes; and how many of up to 300 real photos are changed, with the change
of their IoU against their labels. Constants are chosen with ``--half tuning``. Writes results/plain.json and sheets on
magenta in ``demo/plain/``, not for publication.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.http_request import post_image
from benchmarks.plain_counter import FAMILIES, counter_scenes, real_photos
from benchmarks.plain_reference import reference_limit
from benchmarks.plain_scenes import (
    DRAWN,
    HALVES,
    SEEDS,
    U8,
    Cutout,
    Scene,
    cutouts,
    drawings,
    products,
    rendered_cutouts,
    small_products,
    with_clear_reference,
    with_solid_edges,
)
from benchmarks.quality import as_u8, at_640
from models.scoring.segmentation import iou
from tests.support.live_server import Server, served

SHEETS = Path(__file__).resolve().parents[1] / "demo" / "plain"
MODES = ("off", "auto")
CLEAR = "product with a clear reference"
SOLID = "product with solid edges"
RENDERED = "rendered product"
WORST, CELL = 10, 260
MAGENTA = np.array([255, 0, 255])
COMMAND = "python -m benchmarks.plain --data ../shared/data --renders ../renders"


def scenes(data: Path, renders: Sequence[Cutout], half: str, count: int, each: int) -> Iterator[Scene]:
    """Yield all composed images; families whose fonts are not installed are skipped with a message."""
    shots = cutouts(data, half)
    paths = sorted((data / "train" / "backgrounds").glob("*.jpg"))[:40]
    photos = [as_u8(cv2.imread(str(path)))[..., ::-1] for path in paths]
    yield from products(shots, count, SEEDS[half])
    yield from products(with_clear_reference(shots), count, SEEDS[half], CLEAR)
    yield from products([with_solid_edges(shot) for shot in shots], count // 2, SEEDS[half], SOLID)
    if renders:
        yield from products(renders, count, SEEDS[half], RENDERED)
    for family in DRAWN:
        try:
            yield from drawings(family, each, SEEDS[half], shots, photos)
        except ModuleNotFoundError as exc:
            print(f"skipped {family}: it needs the fonts of the training environment ({exc.name})")
    yield from small_products(shots, count // 2, SEEDS[half])
    for family in FAMILIES:
        yield from counter_scenes(family, shots, each, SEEDS[half])


def cut(server: Server, image: bytes, mode: str) -> tuple[U8, bool]:
    """Return the alpha u8[H,W] of the served cut-out, and whether the service found a plain background.

    Raises:
        RuntimeError: The status is not 200.
    """
    response = post_image(server, f"/v1/remove?channels=alpha&plain_background={mode}", image)
    alpha = as_u8(cv2.imdecode(np.frombuffer(response.body, np.uint8), cv2.IMREAD_GRAYSCALE))
    return alpha, "plain-background=?1" in response.headers.get("X-Subject-Facts", "")


def row(scene: Scene, server: Server) -> dict[str, Any]:
    """Return the scores of one image in both modes."""
    measured = at_full_size if scene.is_small else at_640
    truth, found = measured(scene.truth), {}
    enclosed = holes(scene.truth)
    for mode in MODES:
        alpha, plain = cut(server, scene.data, mode)
        difference = np.abs(alpha.astype(np.float64) - scene.truth).sum() / max(1.0, float(scene.truth.sum()))
        recall = float((alpha[enclosed] < 128).mean()) if enclosed.any() else None
        found[mode] = {"iou": iou(measured(alpha), truth), "sad": difference, "holes": recall, "alpha": alpha}
    return {"scene": scene, "plain": plain, **found}


def at_full_size(values: U8) -> NDArray[np.float32]:
    return values.astype(np.float32) / 255


def holes(truth: U8) -> NDArray[np.bool_]:
    """Return the empty areas of a matte that do not touch the border of the frame."""
    count, labels = cv2.connectedComponents((truth < 8).astype(np.uint8), connectivity=4)
    outside = np.zeros(count, np.bool_)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[line] = True
    outside[0] = True
    return ~outside[labels]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of one family."""
    figures: dict[str, Any] = {"images": len(rows), "plain": round(float(np.mean([each["plain"] for each in rows])), 3)}
    for mode in MODES:
        scores = np.array([each[mode]["iou"] for each in rows])
        recalls = [each[mode]["holes"] for each in rows if each[mode]["holes"] is not None]
        figures[mode] = {
            "iou": round(float(scores.mean()), 4),
            "iou_first_percentile": round(float(np.percentile(scores, 1)), 4),
            "iou_minimum": round(float(scores.min()), 4),
            "sad_per_area": round(float(np.mean([each[mode]["sad"] for each in rows])), 4),
            "hole_recall": round(float(np.mean(recalls)), 4) if recalls else None,
        }
    return figures


def photos_changed(data: Path, count: int, half: str, server: Server) -> dict[str, Any]:
    """Return how many real photos ``auto`` changes, and their mean change of IoU against their labels."""
    changes, names = [], []
    shots = real_photos(data, count, HALVES[half])
    for name, image, label in shots:
        (before, _), (after, plain) = (cut(server, image, mode) for mode in MODES)
        if not plain and not np.array_equal(before, after):
            raise RuntimeError(f"{name} changed without a plain background")
        if plain:
            truth = at_640(as_u8(cv2.resize(label, before.shape[::-1], interpolation=cv2.INTER_AREA)))
            changes.append(iou(at_640(after), truth) - iou(at_640(before), truth))
            names.append(name)
    mean, least = (round(float(of(changes)), 4) if changes else 0.0 for of in (np.mean, np.min))
    return {"photos": len(shots), "changed": len(changes), "iou_change": mean, "lowest_change": least, "names": names}


def sheet(rows: list[dict[str, Any]]) -> U8:
    """Return the images of lowest IoU: image, truth, off and auto on magenta."""
    lines = []
    for each in sorted(rows, key=lambda found: found["auto"]["iou"])[:WORST]:
        rgb = as_u8(cv2.imdecode(np.frombuffer(each["scene"].data, np.uint8), cv2.IMREAD_COLOR))
        mattes = [each["scene"].truth, *(each[mode]["alpha"] for mode in MODES)]
        texts = [each["scene"].name[:40], "truth", *(f"{mode}: IoU {each[mode]['iou']:.3f}" for mode in MODES)]
        lines.append(
            np.hstack([_cell(*pair) for pair in zip([rgb, *(_over(rgb, a) for a in mattes)], texts, strict=True)])
        )
    return as_u8(np.vstack(lines))


def _over(rgb: U8, alpha: U8) -> U8:
    share = alpha[..., None] / 255
    return as_u8(rgb * share + MAGENTA * (1 - share))


def _cell(image: U8, text: str) -> U8:
    height, width = image.shape[:2]
    shrink = (CELL - 20) / max(height, width)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    canvas = np.full((CELL, CELL, 3), 235, np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    cv2.putText(canvas, text, (2, CELL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder holding train/")
    parser.add_argument("--renders", type=Path, help="folder that plain_renders wrote")
    parser.add_argument("--half", choices=sorted(HALVES), default="report", help="half of the held-out cut-outs")
    parser.add_argument("--products", type=int, default=300, help="product images")
    parser.add_argument("--each", type=int, default=20, help="images of each other family")
    parser.add_argument("--photos", type=int, default=300, help="real photos")
    args = parser.parse_args()
    if not cutouts(args.data, args.half):
        raise SystemExit(f"no cut-outs in {args.data}: it must hold train/manifest.json; name its folder with --data")
    renders = rendered_cutouts(args.renders, args.half) if args.renders else []
    if args.renders and not renders:
        raise SystemExit(f"no renders in {args.renders}: make them with python -m benchmarks.plain_renders")
    machine = report.machine()
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with served() as server:
        for scene in scenes(args.data, renders, args.half, args.products, args.each):
            families[scene.family].append(row(scene, server))
        photos = photos_changed(args.data, args.photos, args.half, server)
    SHEETS.mkdir(parents=True, exist_ok=True)
    for family, rows in families.items():
        cv2.imwrite(str(SHEETS / f"{family.replace(' ', '-')}.png"), sheet(rows))
    shots = cutouts(args.data, args.half)
    limits = {
        family: reference_limit(own, args.products, SEEDS[args.half])
        for family, own in (
            ("product", shots),
            (CLEAR, with_clear_reference(shots)),
            (SOLID, [with_solid_edges(shot) for shot in shots]),
        )
    }
    found = {"families": {family: summary(rows) for family, rows in families.items()}, "photos": photos}
    found["reference_limit"] = limits
    for family, figures in found["families"].items():
        print(f"{family}: {figures}")
    print(f"real photos: {photos}\nreference limit: {limits}\nsheets: {SHEETS}/ (not to be published)")
    command = f"{COMMAND} --half {args.half} --products {args.products} --each {args.each} --photos {args.photos}"
    report.write("plain", "cut-outs on plain backgrounds, with the option off and auto", command, machine, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
