"""Quality of the finishing: a network's small matte enlarged to the image's full size.

    python -m benchmarks.finishing [--data DIR] [--closed-form-every N]

Three parts, each with its own data:

* matte: the same raw matte, enlarged by the service and by other methods, against exact and measured alphas (errors
of alphamatting.com, boundary F). Scored by group. "mean" is the mean of the groups. "per picture" is the mean over a
group's images of the error as a share of bilinear's. "near" and "far" split the SAD at 8 pixels from the true edge.
"soft" is the percentage of pixels between 0 and 255. "guided" is the service without the edge model. "true near"
replaces the raw matte by the true alpha within 8 pixels of the raw matte's edge and enlarges it as "guided" does, an
upper bound near the edge. The first network is measured again with images enlarged to one megapixel, and with
cut-outs on plain backdrops.
* color and cost: see ``finishing_color`` and ``finishing_cost``. The cost is measured with the mattes of the first
and of the last network, because it depends on the length and the softness of their edges.

The raw matte is the network's output for the whole image at its input size. Everything runs on one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from PIL import Image

from benchmarks import finishing_color, finishing_cost, report
from clearcut.imaging.matting.guided_filter import upsample
from clearcut.imaging.prepare import prepare
from clearcut.imaging.types import F32, U8, DecodedImage
from clearcut.inference.edge_model import load_edge_model
from models.scoring.matting import matting_errors
from models.scoring.predictor import spec_of
from models.scoring.segmentation import boundary_f

GROUPS = ("alphamatting27", "comp_white_grocery", "comp_white_ikea", "comp_white_magento")
COMMAND = "python -m benchmarks.finishing"
NEAR = 8
LARGE = 1e6
"""Second size in pixels. Enlarged images have a coarser grid for the finishing."""
Method = Callable[[F32, U8], U8]
Table = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Sample:
    stem: str
    group: str
    rgb: U8
    alpha: U8
    raw: F32


def network(path: Path) -> Callable[[U8], F32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, spec = session.get_inputs()[0].name, spec_of(path)

    def answer(rgb: U8) -> F32:
        return session.run(None, {name: prepare(DecodedImage(rgb), spec).tensor[None]})[0][0, 0]

    return answer


def samples(data: Path, model: Path) -> Iterator[Sample]:
    answer = network(model)
    for entry in json.loads((data / "bench" / "manifest.json").read_text()):
        if entry["source"] in GROUPS:
            rgb = cv2.cvtColor(cv2.imread(str(data / "bench/images" / f"{entry['stem']}.jpg")), cv2.COLOR_BGR2RGB)
            alpha = cv2.imread(str(data / "bench/masks" / f"{entry['stem']}.png"), cv2.IMREAD_GRAYSCALE)
            yield Sample(entry["stem"], entry["source"], rgb, alpha, answer(rgb))


def plain_samples(data: Path, model: Path) -> Iterator[Sample]:
    answer = network(model)
    for number, (rgb, alpha) in enumerate(finishing_color.on_plain(data)):
        yield Sample(str(number), "plain backdrops", rgb, alpha, answer(rgb))


def bilinear(raw: F32, rgb: U8) -> U8:
    return to_u8(cv2.resize(raw, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def lanczos_as_rembg(raw: F32, rgb: U8) -> U8:
    """Return the matte stretched to its own range and enlarged by Pillow's LANCZOS filter."""
    stretched = (raw - raw.min()) / max(float(np.ptp(raw)), 1e-6)
    return np.asarray(Image.fromarray((stretched * 255).astype(np.uint8)).resize(rgb.shape[1::-1], Image.LANCZOS))


def closed_form(raw: F32, rgb: U8) -> U8:
    """Return pymatting's closed-form matte. Pixels between 0 and 1, and ten pixels around them, are unknown."""
    from pymatting import estimate_alpha_cf

    soft = bilinear(raw, rgb)
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21))
    trimap = np.full(soft.shape, 0.5)
    trimap[cv2.erode((soft > 240).astype(np.uint8), window) > 0] = 1
    trimap[cv2.erode((soft < 15).astype(np.uint8), window) > 0] = 0
    if not (trimap == 1).any() or not (trimap == 0).any():
        return soft
    return to_u8(estimate_alpha_cf(rgb / 255.0, trimap))


def to_u8(alpha: np.ndarray) -> U8:
    return np.clip(np.asarray(alpha) * 255 + 0.5, 0, 255).astype(np.uint8)


def around(edge: np.ndarray, pixels: int) -> np.ndarray:
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(edge.astype(np.uint8), window) > 0


def outline(alpha: U8) -> np.ndarray:
    return cv2.morphologyEx((alpha > 127).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0


def true_near(plain: U8, sample: Sample) -> F32:
    """Return the raw matte with the true alpha within ``NEAR`` pixels of its edge."""
    mixed = np.where(around(outline(plain), NEAR), sample.alpha, plain)
    small = cv2.resize(mixed, sample.raw.shape[::-1], interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def figures(alpha: U8, sample: Sample) -> dict[str, float]:
    errors = asdict(matting_errors(alpha, sample.alpha))
    difference = cv2.absdiff(alpha, sample.alpha) / 255e3
    near = around(outline(sample.alpha) | ((sample.alpha > 12) & (sample.alpha < 243)), NEAR)
    sad_near = float(difference[near].sum())
    return {
        **errors,
        "boundary_f": boundary_f(alpha / 255.0, sample.alpha / 255.0),
        "sad_near": sad_near,
        "sad_far": errors["sad"] - sad_near,
        "soft": 100 * float(((alpha > 0) & (alpha < 255)).mean()),
    }


def larger(sample: Sample, pixels: float) -> Sample:
    """Return the image and its alpha enlarged to this many pixels. The raw matte stays."""
    scale = (pixels / sample.alpha.size) ** 0.5
    rgb = cv2.resize(sample.rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    alpha = cv2.resize(sample.alpha, rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return replace(sample, rgb=rgb, alpha=alpha)


def compare(drawn: Iterable[Sample], closed_form_every: int) -> dict[str, object]:
    scored: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    subset: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    seconds = []
    edges = load_edge_model()
    for number, sample in enumerate(drawn):
        plain = bilinear(sample.raw, sample.rgb)
        found = {
            "bilinear": plain,
            "lanczos as rembg": lanczos_as_rembg(sample.raw, sample.rgb),
            "guided": upsample(sample.raw, sample.rgb),
            "ours": upsample(sample.raw, sample.rgb, edges),
            "true near": upsample(true_near(plain, sample), sample.rgb),
        }
        here = {name: figures(alpha, sample) for name, alpha in found.items()}
        for name, figure in here.items():
            scored[name][sample.group].append(figure)
        if closed_form_every and number % closed_form_every == 0:
            start = time.thread_time()
            best = closed_form(sample.raw, sample.rgb)
            seconds.append(time.thread_time() - start)
            here["closed form"] = figures(best, sample)
            for name in ("bilinear", "ours", "closed form"):
                subset[name][sample.group].append(here[name])
    result: dict[str, object] = {"all": summary(scored)}
    if seconds:
        result["subset"] = {"closed_form_s": round(float(np.mean(seconds)), 2), "scores": summary(subset)}
    return result


def summary(scored: dict[str, dict[str, list[dict[str, float]]]]) -> Table:
    """Return the figures by method and by group, "mean" and "per picture"."""
    table: Table = {}
    for name, groups in scored.items():
        means = {group: mean(rows) for group, rows in groups.items()}
        shares = [
            mean([ratio(row, base) for row, base in zip(rows, scored["bilinear"][group], strict=True)])
            for group, rows in groups.items()
        ]
        table[name] = {**means, "mean": mean(list(means.values())), "per picture": mean(shares)}
    return table


def ratio(row: dict[str, float], base: dict[str, float]) -> dict[str, float]:
    return {key: row[key] / base[key] for key in ("sad", "mse", "gradient", "connectivity")}


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}


def show(title: str, table: Table) -> None:
    print(f"\n{title}")
    print(
        f"{'':18s}{'':20s}{'SAD':>8s}{'MSE':>8s}{'grad':>8s}{'conn':>8s}{'BF':>7s}{'near':>8s}{'far':>8s}{'soft':>8s}"
    )
    keys = ("sad", "mse", "gradient", "connectivity", "boundary_f", "sad_near", "sad_far", "soft")
    for name, groups in table.items():
        for group, row in groups.items():
            cells = "".join(f"{row[key]:8.3f}" if key in row else " " * 8 for key in keys)
            print(f"{name:18s}{group:20s}{cells}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, nargs="+", default=None, help="ONNX files of matting networks")
    parser.add_argument(
        "--closed-form-every", type=int, default=7, help="use closed-form matting for every n-th image; 0: never"
    )
    arguments = parser.parse_args()
    if not (arguments.data / "bench" / "manifest.json").exists():
        print(f"no bench data in {arguments.data}: give its directory with --data", file=sys.stderr)
        return 1
    models = arguments.models or [
        Path("models/clearcut-s.int8.onnx"),
        Path("models/clearcut-s.onnx"),
        Path("models/clearcut-m.onnx"),
        arguments.data.parent / "models/u2netp.onnx",
    ]
    cv2.setNumThreads(1)
    warnings.filterwarnings("ignore")  # pymatting warns about its own solver
    machine = report.machine()
    result: dict[str, object] = {}
    for path in models:
        if not path.exists():
            print(f"no model {path}: left out", file=sys.stderr)
            continue
        compared = compare(samples(arguments.data, path), arguments.closed_form_every)
        result[path.stem] = compared
        show(path.stem, compared["all"])
        if "subset" in compared:
            show(f"{path.stem}, one in {arguments.closed_form_every}", compared["subset"]["scores"])
            print(f"closed form: {compared['subset']['closed_form_s']} s of processor time a picture")
    enlarged = compare((larger(sample, LARGE) for sample in samples(arguments.data, models[0])), 0)
    show(f"{models[0].stem}, pictures enlarged to {LARGE:.0e} pixels", enlarged["all"])
    plain = compare(plain_samples(arguments.data, models[0]), 0)
    show(f"{models[0].stem}, cut-outs on plain backdrops", plain["all"])
    color = finishing_color.measure(arguments.data)
    finishing_color.show(color)
    cost = {}
    for path in dict.fromkeys((models[0], models[-1])):
        photos = [(sample.rgb, sample.raw) for sample in samples(arguments.data, path)]
        cost[path.stem] = finishing_cost.measure(photos[:: max(1, len(photos) // 8)])
        print(f"\nwith the mattes of {path.stem}")
        finishing_cost.show(cost[path.stem])
    figures_ = {"matte": result, "matte at 1 MP": enlarged, "plain backdrops": plain, "color": color, "cost": cost}
    report.write("finishing", "quality of the finishing: a small matte at full size", COMMAND, machine, figures_)
    return 0


if __name__ == "__main__":
    sys.exit(main())
