"""Fits the output that estimates whether an image has a subject, and adds it to a checkpoint.

    python -m models.training.presence --config models/training/configs/interiors.toml \
        --checkpoint last.pt ../interiors-b/last.pt --empty DIR --out served.pt

Logistic regression on the largest value of each channel of the encoder's last features. The network rarely makes a
mistake on the photos that it has trained on, so use photos for ``--empty`` that are in no pack. Prints the rejected
share of the held-out images for each threshold.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .augment import view
from .config import load_config
from .data import Pool
from .data_more import read_rgb
from .export import average_of
from .lite import LiteNetwork, channel_maxima
from .sampling import Sampler
from .validate import U8, held_out_splits, normalize

PHOTOS, SAMPLES, VIEWS = 1200, 600, 2
"""Numbers of training photos, of samples with and without a subject, and of random views of each empty photo."""
WITH, WITHOUT = ("composite", "drawn"), ("negative",)
DECAY = 0.01
SEED = 991


@torch.no_grad()
def features(network: LiteNetwork, images: Sequence[U8], size: int, batch: int = 8) -> Tensor:
    """u8[H,W,3] each -> f32[N,D]."""
    small = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images])
    parts = []
    for start in range(0, len(small), batch):
        image = normalize(torch.from_numpy(small[start : start + batch].astype(np.uint8)), network)
        parts.append(channel_maxima(network.encoder(image.contiguous(memory_format=torch.channels_last))[4]))
    return torch.cat(parts)


def fit(present: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a logistic regression: f32[N,D], f32[M,D] -> weight f32[1,D], bias f32[1]. Both classes count equally."""
    samples = torch.cat([present, absent])
    mean, deviation = samples.mean(0), samples.std(0) + 1e-3
    scaled = (samples - mean) / deviation
    label = torch.cat([torch.ones(len(present)), torch.zeros(len(absent))])
    sample_weight = torch.where(label > 0, 0.5 / len(present), 0.5 / len(absent))
    weight, bias = torch.zeros(samples.shape[1], requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        entropy = F.binary_cross_entropy_with_logits(scaled @ weight + bias, label, reduction="none")
        value = (entropy * sample_weight).sum() + DECAY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weight, bias = weight.detach(), bias.detach()
    return (weight / deviation)[None], bias - (weight * mean / deviation).sum()


def photos_in(folders: Sequence[Path], held_out: Collection[str]) -> list[U8]:
    """Read ``images/*.jpg`` of each folder as u8[H,W,3], except for the stems in ``held_out``."""
    paths = sorted(path for folder in folders for path in (folder / "images").glob("*.jpg"))
    return [read_rgb(path) for path in paths if path.stem not in held_out]


def main() -> None:
    """Fit, print scores on the held-out images, and write the checkpoint."""
    parser = argparse.ArgumentParser(description="Fit the output that estimates whether an image has a subject.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", nargs="+", required=True, help="the mean of several is used")
    parser.add_argument("--empty", type=Path, nargs="+", required=True, help="folders of photos without a subject")
    parser.add_argument(
        "--out", type=Path, required=True, help="checkpoint with the mean and the new output, in the folder of the run"
    )
    args = parser.parse_args()
    config = load_config(args.config)
    stage, pool, rng = config.stages[-1], Pool(*config.packs), np.random.default_rng(SEED)
    network = average_of(args.config, args.checkpoint)
    if not isinstance(network, LiteNetwork):
        raise SystemExit("only networks of kind lite have this output")
    records = list(enumerate(pool.records))
    pairs = [i for i, r in records if not r.held_out and r.kind in ("photo", "pseudo") and r.weight == 1]
    sampler = Sampler(pool, config.mixture_of(stage), seed=SEED)
    numbers = {kind: [n for n in range(20 * SAMPLES) if sampler.kind(n) in kind][:SAMPLES] for kind in (WITH, WITHOUT)}
    present = [pool[i][..., :3] for i in rng.choice(pairs, min(PHOTOS, len(pairs)), replace=False)]
    present += [rgb for rgb, matte in (sampler(n, stage.size) for n in numbers[WITH]) if (matte > 127).mean() > 0.01]
    packed = [pool[i][..., :3] for i, r in records if not r.held_out and r.kind == "background"]
    empty_photos = photos_in(args.empty, {r.stem for _, r in records if r.held_out})
    views = [view(image, stage.size, rng) for image in empty_photos for _ in range(VIEWS)]
    scenery = [sampler(n, stage.size)[0] for n in numbers[WITHOUT]]
    absent = torch.cat([features(network, images, stage.size) for images in (packed, empty_photos, views, scenery)])
    weight, bias = fit(features(network, present, stage.size), absent)
    layer = network.add_presence()
    layer.weight.data.copy_(weight)
    layer.bias.data.copy_(bias)
    splits = held_out_splits(pool, stage.size)
    probabilities = {
        name: torch.sigmoid(layer(features(network, list(split.rgb), stage.size))[:, 0]).detach()
        for name, split in splits.items()
    }
    for threshold in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5):
        row = {name: f"{float((values < threshold).float().mean()):.3f}" for name, values in probabilities.items()}
        print(f"rejected below {threshold}: {row}")
    torch.save({"average": network.state_dict(), "total": 0}, config.out / args.out)


if __name__ == "__main__":
    main()
