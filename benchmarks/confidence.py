"""Calibration of ``X-Matte-Confidence``: fit on one set of held-out images, measured on another.

    python -m benchmarks.confidence --data DIR

The fit uses the tuning half of ``benchmarks.plain_scenes`` and ``plain_counter`` and half of the held-out photos of the
training pool and of ``more/``. The measurement uses the other halves and the benchmark photos of ``bench/``. Prints the
weights for ``app/clearcut/imaging/matting/confidence.py``, the calibration error of ten bins, the AUC for an IoU below
0.85, and the share of images below the limit for a review. Writes results/confidence.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.plain_counter import FAMILIES, counter_scenes, real_photos
from benchmarks.plain_scenes import DRAWN, HALVES, SEEDS, cutouts, drawings, products
from benchmarks.quality import at_640, bench_photos
from benchmarks.raw_mattes import raw_matte
from clearcut.imaging.decode import decode
from clearcut.imaging.matting.confidence import estimate_iou, fit_terms, matte_facts
from clearcut.imaging.matting.refine import refine
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from clearcut.inference.edge_model import load_edge_model
from clearcut.inference.model_files import load_model
from clearcut.inference.runtime import CpuSession
from models.scoring.segmentation import iou

F64 = NDArray[np.float64]
BAD = 0.85
REVIEW = 0.90
"""A person should look at cut-outs with a lower confidence (docs/quality.md)."""
BINS = 10
COMMAND = "python -m benchmarks.confidence --data ../shared/data"
Sample = tuple[bytes, NDArray[np.uint8]]


def samples(data: Path, half: str, scale: float) -> Iterator[Sample]:
    """Yield the files of one half with their true mattes, fewer with a smaller ``scale``."""
    shots = cutouts(data, half)
    photos = [np.asarray(cv2.imread(str(path))[..., ::-1], np.uint8) for path in backgrounds(data)]
    yield from ((each.data, each.truth) for each in products(shots, int(120 * scale), SEEDS[half]))
    for family in DRAWN:
        if family != "wordmark" and family != "box":  # these need the fonts of the training environment
            for each in drawings(family, int(10 * scale), SEEDS[half], shots, photos):
                yield each.data, each.truth
    for family in FAMILIES:
        for each in counter_scenes(family, shots, int(15 * scale), SEEDS[half]):
            yield each.data, each.truth
    yield from ((file, label) for _, file, label in real_photos(data, int(250 * scale), HALVES[half]))
    if half == "report":
        yield from ((shot.data, shot.matte) for shot in bench_photos(data / "bench"))


def backgrounds(data: Path) -> list[Path]:
    return sorted((data / "train" / "backgrounds").glob("*.jpg"))[:40]


def measure(found: Iterator[Sample]) -> tuple[F64, F64, F64, F64]:
    """Return the terms f64[N,7], the IoU, the certainty that was the confidence before, and the confidence, f64[N]."""
    model, edges = load_model("clearcut-m"), load_edge_model()
    session = CpuSession(model.data)
    terms, scores, before, now = [], [], [], []
    for data, truth in found:
        image = decode(data, probe(data, ProbeLimits()))
        raw = raw_matte(session.run, model.entry, image)
        matte = refine(raw, image, edges)
        if matte.box is None:
            continue
        facts = matte_facts(raw.values, matte.alpha, image.rgb, plain_background=matte.plain_background)
        label = np.asarray(cv2.resize(truth, (image.width, image.height), interpolation=cv2.INTER_AREA), np.uint8)
        terms.append(fit_terms(facts))
        scores.append(iou(at_640(matte.alpha), at_640(label)))
        before.append(facts.certainty)
        now.append(estimate_iou(facts))
    return np.array(terms), np.array(scores), np.array(before), np.array(now)


def fit(terms: F64, scores: F64) -> F64:
    """Return the weights of a logistic fit to the scores (cross-entropy, a small ridge)."""
    weights, ridge = np.zeros(terms.shape[1]), 1e-4 * len(scores) * np.eye(terms.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-terms @ weights))
        hessian = (terms * (p * (1 - p))[:, None]).T @ terms + ridge
        weights = weights - np.linalg.solve(hessian, terms.T @ (p - scores) + ridge @ weights)
    return np.asarray(weights, np.float64)


def calibration_error(confidence: F64, scores: F64) -> float:
    """Return the mean difference of confidence and IoU over ten bins of the confidence, weighted by their sizes."""
    bins = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    gaps = [abs(float((confidence - scores)[bins == each].mean())) * float((bins == each).mean()) for each in set(bins)]
    return float(sum(gaps))


def auc(confidence: F64, bad: NDArray[np.bool_]) -> float:
    """Return the share of pairs of a bad and a good image in which the bad one has the lower confidence."""
    pairs = np.sign(confidence[~bad][:, None] - confidence[bad][None, :])
    return float((pairs.mean() + 1) / 2)


def figures(confidence: F64, scores: F64) -> dict[str, Any]:
    rows: Sequence[tuple[str, float]] = (
        ("calibration_error", calibration_error(confidence, scores)),
        ("auc", auc(confidence, scores < BAD)),
        ("share_to_review", float((confidence < REVIEW).mean())),
        ("bad_in_review", float((confidence[scores < BAD] < REVIEW).mean())),
    )
    return {name: round(value, 4) for name, value in rows} | {"images": len(scores), "bad": int((scores < BAD).sum())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder holding train/ and bench/")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: fewer images")
    args = parser.parse_args()
    if not cutouts(args.data, "report"):
        raise SystemExit(f"no training images in {args.data}: it must hold train/manifest.json; name its folder")
    machine = report.machine()
    terms, scores, _, _ = measure(samples(args.data, "tuning", args.scale))
    weights = fit(terms, scores)
    print("weights:", tuple(float(each) for each in np.round(weights, 3)))
    terms, scores, before, now = measure(samples(args.data, "report", args.scale))
    found = {
        "weights": [float(each) for each in np.round(weights, 3)],
        "certainty_alone": figures(before, scores),
        "served": figures(now, scores),
        "fitted": figures(1 / (1 + np.exp(-terms @ weights)), scores),
    }
    report.write("confidence", "confidence against the IoU of the cut-out", COMMAND, machine, found)
    print(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
