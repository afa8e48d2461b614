"""Scores of checkpoints on the held-out data at several input sizes, compared at one common size.

    python -m models.training.evaluate --config models/training/configs/clearcut-m-2.toml \
        --checkpoint last.pt --size 320 384

A configuration's own log compares mattes at the input size of its stage, so logs of different sizes cannot be compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from .config import load_config
from .data import Pool
from .export import average_of
from .validate import Split, figures_of, held_out_splits, predict

COMMON = 448  # px, side of the images that mattes are compared at


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """u8[N,S,S] or u8[N,S,S,3] -> the same at ``size`` pixels: area means down, bilinear up."""
    method = cv2.INTER_AREA if size < max(images.shape[1:3]) else cv2.INTER_LINEAR
    return np.stack([cv2.resize(image, (size, size), interpolation=method) for image in images])


def photos_of(pool: Pool) -> Split:
    """Return all photos of a pack, with one common source: ``extra``."""
    rgba = [resized(pool[i][None], COMMON)[0] for i in range(len(pool))]
    rgb, matte = np.stack([each[..., :3] for each in rgba]), np.stack([each[..., 3] for each in rgba])
    return Split(rgb, matte, ("extra",) * len(pool))


def main() -> None:
    """Print a Markdown table with one row per checkpoint and size."""
    parser = argparse.ArgumentParser(description="Score checkpoints on held-out data at a common size.")
    parser.add_argument("--config", type=Path, required=True, help="of any run with this network and these packs")
    parser.add_argument("--checkpoint", nargs="+", required=True, help="each is scored; A+B is the mean of A and B")
    parser.add_argument("--size", nargs="+", type=int, default=[320])
    parser.add_argument("--extra", type=Path, help="a pack of further held-out photos (``data_extra``)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    splits = held_out_splits(Pool(*load_config(args.config).packs), COMMON)
    if args.extra is not None:
        splits["extra"] = photos_of(Pool(args.extra))
    columns = ("checkpoint", "px", "pairs", "composites", "drawn", "photos without a subject", "extra")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for checkpoint in args.checkpoint:
        network = average_of(args.config, checkpoint.split("+"))
        for size in args.size:
            mattes = {}
            for name, split in splits.items():
                small = resized(split.rgb, size)
                mattes[name] = resized(predict(network, small, torch.device("cpu")), COMMON)
            found = figures_of(mattes, splits)
            values = [f"{found[f'{name}_iou']:.4f}" for name in ("pairs", "composites", "drawn")]
            values += [f"{found['bare_share']:.1%}", f"{found['extra_iou']:.4f}" if "extra" in splits else ""]
            print(f"| {checkpoint} | {size} | {' | '.join(values)} |", flush=True)


if __name__ == "__main__":
    main()
