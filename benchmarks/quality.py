"""Quality of the cut-outs that the service returns, by group: every benchmark photo through the HTTP API.

    python -m benchmarks.quality --data DIR --weights FOLDER [--models clearcut-m u2netp:fp32]

Each model is served by ``python -m clearcut serve``. Each photo is sent unchanged, and the alpha of the returned PNG
is scored against the true matte: IoU, S-measure, MAE and boundary F at a longest side of 640, like the published
figures of u2netp, and alphamatting.com's errors at full size for the groups with true alphas. "Mean" is the mean of
the groups. "network alone" is the model's file scored by ``models.scoring.benchmark`` without the service: the photo
is reduced to 640 first and the matte is enlarged linearly.

Also measured: the share of 200 drawn images, of 36 texture crops and of the held-out photos without a subject
(``more/negatives``, split by original photo) in which more than 2 % of the frame has an alpha above 0.5; the time of
a run on one core relative to u2netp in fp32, alternating; the mean number of runs for a photo with a subject; and a
sheet of the worst photos in ``demo/quality/``, not for publication because the photos' licenses are mixed. Writes
results/quality.json.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data as photos

from benchmarks import report
from benchmarks.http_request import post_image
from clearcut.inference.model_files import load_model
from clearcut.inference.startup.precision import paired_ratio
from models.scoring.benchmark import LONGEST, by_group, evaluate
from models.scoring.matting import matting_errors
from models.scoring.predictor import Predictor
from models.scoring.segmentation import Scores, cut_share, score
from models.training import subject_free
from models.training.data import HELD_OUT_ORIGINALS, is_held_out
from tests.support.live_server import Server, served
from tests.support.metrics import metric

U8 = NDArray[np.uint8]
SHEETS = Path(__file__).resolve().parents[1] / "demo" / "quality"
SOFT = ("alphamatting27", "comp_white_grocery", "comp_white_ikea", "comp_white_magento")
"""Groups with measured or exact alpha."""
MEASURES = ("mae", "iou", "s", "bf")
PEER = "u2netp:fp32"
WORST, CELL = 12, 260
COMMAND = "make quality"


@dataclass(frozen=True, slots=True)
class Photo:
    stem: str
    group: str
    data: bytes
    matte: U8


@dataclass(slots=True)
class Column:
    """Results of one model."""

    name: str
    served: dict[str, str]
    groups: dict[str, tuple[float, ...]]
    soft: dict[str, dict[str, float]]
    subject_free: float
    textures: float
    bare: float | None
    """Share of the photos without a subject that give a cut-out, or None without such photos."""
    runs: float
    """Mean number of runs of the model for a photo with a subject."""
    scores: dict[str, Scores] = field(default_factory=dict)
    alphas: dict[str, U8] = field(default_factory=dict)
    alone: dict[str, tuple[float, ...]] = field(default_factory=dict)
    time: float = 1.0


def bench_photos(bench: Path) -> Iterator[Photo]:
    """Yield the photos' bytes with their true mattes, both at full size."""
    for row in json.loads((bench / "manifest.json").read_text()):
        mask = cv2.imread(str(bench / "masks" / f"{row['stem']}.png"), cv2.IMREAD_GRAYSCALE)
        yield Photo(row["stem"], row["source"], (bench / "images" / f"{row['stem']}.jpg").read_bytes(), as_u8(mask))


def empty_images() -> list[bytes]:
    """Return the drawn images of ``subject_free`` as PNGs."""
    return [_png(rgb) for rgb in subject_free.images(())]


def bare_photos(data: Path) -> list[bytes]:
    """Return the held-out photos without a subject, or none if ``more/`` is missing."""
    more = data / "more"
    if not (more / "manifest.json").is_file():
        return []
    rows = [row for row in json.loads((more / "manifest.json").read_text()) if row["file"].startswith("negatives/")]
    stems = [f"{row['group']}/{row['original_path']}" for row in rows]
    held_out = [is_held_out(stem, HELD_OUT_ORIGINALS) for stem in stems]
    return [(more / row["file"]).read_bytes() for row, mine in zip(rows, held_out, strict=True) if mine]


def texture_crops() -> list[bytes]:
    """Return crops of scikit-image's brick, grass and gravel (public domain) in three tints, without a subject."""
    crops = []
    for source in (photos.brick, photos.grass, photos.gravel):
        gray = source()
        for tint in ((1.0, 1.0, 1.0), (1.0, 0.85, 0.7), (0.75, 0.9, 1.0)):
            for top, left in ((0, 0), (0, 192), (192, 0), (192, 192)):
                crop = gray[top : top + 320, left : left + 320, None] * np.array(tint)
                crops.append(_png(as_u8(crop)))
    return crops


def as_u8(values: Any) -> U8:
    return np.asarray(values).astype(np.uint8)


def _png(rgb: U8) -> bytes:
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def alpha_of(server: Server, image: bytes) -> U8:
    """Send an image and return the alpha u8[H,W] of the returned PNG.

    Raises:
        RuntimeError: The status is not 200.
    """
    body = post_image(server, "/v1/remove?format=png", image).body
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    return as_u8(pixels[..., 3])


def alphas_of(server: Server, images: Iterable[bytes]) -> list[U8]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda image: alpha_of(server, image), images))


def at_640(values: U8) -> NDArray[np.float32]:
    """Return u8[H,W] as f32[h,w] in 0..1 at the size that is scored."""
    height, width = values.shape
    shrink = min(1.0, LONGEST / max(height, width))
    small = cv2.resize(values, (round(width * shrink), round(height * shrink)), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def measure(name: str, weights: Path, shots: list[Photo], bare: list[bytes]) -> Column:
    """Serve ``MODEL`` or ``MODEL:PRECISION`` and score its results."""
    model, _, precision = name.partition(":")
    with served(model=model, precision=precision or "auto", model_dir=str(weights.resolve())) as server:
        labels = {key: server.event("ready")[key] for key in ("name", "precision", "file", "sha256", "device")}
        alphas = alphas_of(server, [shot.data for shot in shots])
        runs = metric(server, "clearcut_batch_size_sum") / len(shots)
        drawn = alphas_of(server, empty_images())
        textures = alphas_of(server, texture_crops())
        bare_alphas = alphas_of(server, bare)
    scores = [score(at_640(alpha), at_640(shot.matte)) for shot, alpha in zip(shots, alphas, strict=True)]
    rows: dict[str, list[Scores]] = defaultdict(list)
    errors: dict[str, list[dict[str, float]]] = defaultdict(list)
    for shot, alpha, found in zip(shots, alphas, scores, strict=True):
        rows[shot.group].append(found)
        if shot.group in SOFT:
            of = matting_errors(alpha, shot.matte)
            errors[shot.group].append({"sad": of.sad, "mse": of.mse, "gradient": of.gradient})
    soft = {
        group: {key: float(np.mean([each[key] for each in found])) for key in found[0]}
        for group, found in sorted(errors.items())
    }
    return Column(
        name=name,
        served=labels,
        groups=by_group(rows),
        soft=soft,
        subject_free=_false_alarms(drawn),
        textures=_false_alarms(textures),
        bare=_false_alarms(bare_alphas) if bare else None,
        runs=runs,
        scores={shot.stem: found for shot, found in zip(shots, scores, strict=True)},
        alphas={shot.stem: alpha for shot, alpha in zip(shots, alphas, strict=True)},
    )


def _false_alarms(alphas: Iterable[U8]) -> float:
    return float(np.mean([cut_share(alpha.astype(np.float32) / 255) > subject_free.LIMIT for alpha in alphas]))


def level_groups(column: Column, peer: Column) -> int:
    """Return the groups with an IoU of at least the peer's minus .005."""
    return sum(values[1] >= peer.groups[group][1] - 0.005 for group, values in column.groups.items() if group != "mean")


def sheet(column: Column, peer: Column | None, shots: list[Photo]) -> U8:
    """Return the photos of lowest IoU: photo, truth, result, the peer's result, with the IoU below."""
    rows = []
    for shot in sorted(shots, key=lambda each: column.scores[each.stem].iou)[:WORST]:
        rgb = cv2.imdecode(np.frombuffer(shot.data, np.uint8), cv2.IMREAD_COLOR)
        cells = [_cell(as_u8(rgb), shot.stem), _cell(over_background(rgb, shot.matte), "truth")]
        for each in [column] + ([peer] if peer and peer is not column else []):
            text = f"{each.name}: IoU {each.scores[shot.stem].iou:.2f}"
            cells.append(_cell(over_background(rgb, each.alphas[shot.stem]), text))
        rows.append(np.hstack(cells))
    return as_u8(np.vstack(rows))


def over_background(rgb: NDArray[Any], alpha: U8) -> U8:
    """Return the subject of bgr u8[H,W,3] on green."""
    share = alpha[..., None] / 255
    return as_u8(rgb * share + np.array([120, 170, 120]) * (1 - share))


def _cell(image: U8, text: str) -> U8:
    height, width = image.shape[:2]
    shrink = (CELL - 20) / max(height, width)
    small = cv2.resize(image, (round(width * shrink), round(height * shrink)), interpolation=cv2.INTER_AREA)
    canvas = np.full((CELL, CELL, 3), 245, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    cv2.putText(canvas, text, (2, CELL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def figures(columns: list[Column], peer: Column | None) -> dict[str, Any]:
    """Return rounded values for JSON."""

    def table(groups: dict[str, tuple[float, ...]]) -> dict[str, dict[str, float]]:
        return {
            group: {key: round(value, 4) for key, value in zip(MEASURES, values, strict=True)}
            for group, values in groups.items()
        }

    return {
        "models": {
            column.name: {
                "served": column.served,
                "groups": table(column.groups),
                "network_alone": table(column.alone).get("mean", {}),
                "soft": {
                    group: {key: round(value, 3) for key, value in values.items()}
                    for group, values in column.soft.items()
                },
                "groups_level_with_u2netp": level_groups(column, peer) if peer else None,
                "subject_free_cut": round(column.subject_free, 4),
                "textures_cut": round(column.textures, 4),
                "bare_photos_cut": None if column.bare is None else round(column.bare, 4),
                "one_core_time_over_u2netp": round(column.time, 3),
                "runs_per_photo": round(column.runs, 3),
            }
            for column in columns
        }
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder holding bench/")
    parser.add_argument("--weights", type=Path, default=Path("../shared/models"), help="folder with u2netp.onnx")
    parser.add_argument(
        "--models",
        nargs="+",
        default=["clearcut-m", "clearcut-m:fp32", "clearcut-s", PEER],
        metavar="MODEL[:PRECISION]",
    )
    parser.add_argument("--rounds", type=int, default=30, help="pairs of runs for the time on one core")
    args = parser.parse_args()
    bench = args.data / "bench"
    if not (bench / "manifest.json").is_file():
        raise SystemExit(f"no benchmark in {args.data}: it must hold bench/manifest.json; name its folder with DATA=")
    absent = [
        name for name in args.models if name.startswith("u2netp") and not (args.weights / "u2netp.onnx").is_file()
    ]
    if absent:
        raise SystemExit(f"no u2netp.onnx in {args.weights}: name its folder with WEIGHTS=, or leave u2netp out")
    machine = report.machine()
    shots, bare = list(bench_photos(bench)), bare_photos(args.data)
    columns: list[Column] = []
    for name in args.models:
        columns.append(measure(name, args.weights, shots, bare))
        print(f"{name}: mean of groups {dict(zip(MEASURES, np.round(columns[-1].groups['mean'], 4), strict=True))}")
    peer = next((column for column in columns if column.name == PEER), None)
    for column in columns:
        model, precision = column.served["name"], column.served["precision"]
        loaded = load_model(model, extra_dir=args.weights, precision=precision)  # type: ignore[arg-type]
        column.alone = evaluate(Predictor(loaded.path), bench)
        if peer and column is not peer:
            column.time = paired_ratio(loaded, load_model("u2netp", extra_dir=args.weights), args.rounds)
    SHEETS.mkdir(parents=True, exist_ok=True)
    for column in columns:
        cv2.imwrite(str(SHEETS / f"worst-{column.name.replace(':', '-')}.png"), sheet(column, peer, shots))
    found = figures(columns, peer)
    report.write("quality", "cut-outs of the served API against true mattes, by group", COMMAND, machine, found)
    print(json.dumps(found, indent=1))
    print(f"worst photos: {SHEETS}/ (not to be published)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
