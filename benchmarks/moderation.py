"""Moderation with NSFWJS: parity of the converted classifier with TensorFlow.js, and refusals of ordinary photos.

    python -m benchmarks.moderation --data DIR --model-dir FOLDER --tools FOLDER --package FOLDER

``--model-dir`` has ``nsfw.onnx`` (``clearcut models pull nsfw``). ``--tools`` is a folder in which
``npm install @tensorflow/tfjs @tensorflow/tfjs-backend-wasm`` has run, and ``--package`` the unpacked npm package
``nsfwjs``. 50 photos of the benchmark, as the service prepares them, are scored by ONNX Runtime and by TensorFlow.js
under Node. The refusals are those of 200 photos: the benchmark and the first photos of ``more/``. Writes
results/moderation.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import report
from clearcut.imaging.decode import decode
from clearcut.imaging.prepare import prepare
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from clearcut.inference.moderation import Moderator, load_moderator

PARITY_PHOTOS, PHOTOS = 50, 200
LIMITS = ProbeLimits(max_pixels=50_000_000, max_side=16_384, max_scans=64, max_segments=1000)
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
SCRIPT = Path(__file__).with_name("tfjs_scores.mjs")
MODEL = "package/dist/models/mobilenet_v2"


def files(data: Path) -> list[Path]:
    """Return the photos: those of the benchmark, then those of ``more/`` in the order of its manifest."""
    bench = [data / "bench" / "images" / f"{row['stem']}.jpg" for row in _rows(data / "bench")]
    more = [data / "more" / row["file"] for row in _rows(data / "more") if row["file"].startswith("images/")]
    return (bench + more[:: max(1, len(more) // PHOTOS)])[:PHOTOS]


def _rows(folder: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads((folder / "manifest.json").read_text())
    return rows


def tensor(path: Path, moderator: Moderator) -> np.ndarray:
    """Return f32[3,S,S] of a photo, as the service prepares it."""
    content = path.read_bytes()
    return prepare(decode(content, probe(content, LIMITS)), moderator.input).tensor


def tfjs_scores(tensors: list[np.ndarray], tools: Path, package: Path) -> np.ndarray:
    """Return f64[N,5], the scores of TensorFlow.js."""
    with tempfile.TemporaryDirectory() as folder:
        pixels, output = Path(folder) / "pixels.bin", Path(folder) / "scores.json"
        pixels.write_bytes(np.stack(tensors).transpose(0, 2, 3, 1).astype("<f4").tobytes())
        modules = [package / MODEL / name for name in ("model.min.js", "group1-shard1of1.min.js")]
        subprocess.run(["node", SCRIPT, tools, *modules, pixels, output], check=True)
        return np.array(json.loads(output.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    for name in ("--model-dir", "--tools", "--package"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args()
    machine = report.machine()
    moderator = load_moderator(args.model_dir.resolve())
    if moderator is None:
        raise SystemExit(f"no classifier in {args.model_dir}: run clearcut models pull nsfw")
    tensors = [tensor(path, moderator) for path in files(args.data)]
    scores = np.array([list(moderator.scores(each).values()) for each in tensors])
    labels = list(moderator.scores(tensors[0]))
    reference = tfjs_scores(tensors[:PARITY_PHOTOS], args.tools.resolve(), args.package.resolve())
    difference = np.abs(scores[:PARITY_PHOTOS] - reference)
    watched = [labels.index(label) for label in moderator.thresholds]
    refused = [moderator.refusal(each) for each in tensors]
    found = {
        "parity_photos": PARITY_PHOTOS,
        "largest_difference": float(f"{difference.max():.2e}"),
        "same_label": int((scores[:PARITY_PHOTOS].argmax(1) == reference.argmax(1)).sum()),
        "photos": len(tensors),
        "thresholds": dict(moderator.thresholds),
        "refused": sum(label is not None for label in refused),
        "refused_by_threshold": {
            f"{limit:g}": int((scores[:, watched] >= limit).any(axis=1).sum()) for limit in THRESHOLDS
        },
    }
    report.write(
        "moderation", "converted NSFWJS against TensorFlow.js, and refusals of ordinary photos",
        "python -m benchmarks.moderation --model-dir FOLDER --tools FOLDER --package FOLDER", machine, found,
    )  # fmt: skip
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
