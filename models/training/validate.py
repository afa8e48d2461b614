"""Held-out scores that choose checkpoints: real pairs, composites and images without a subject."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from . import lite
from .data import Pool
from .drawn import HELD_OUT_SEED
from .network import MattingNetwork
from .sampling import Mixture, Sampler

U8 = NDArray[np.uint8]
Network = MattingNetwork | lite.LiteNetwork
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalize(rgb: torch.Tensor, network: Network) -> torch.Tensor:
    """u8[N,S,S,3] -> f32[N,3,S,S], channels-last in memory, with the mean and deviation that the network expects."""
    if isinstance(network, lite.LiteNetwork):
        return (rgb.permute(0, 3, 1, 2).float() - lite.MEAN) / lite.DEVIATION
    mean = torch.tensor(MEAN, device=rgb.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=rgb.device).view(1, 3, 1, 1)
    return (rgb.permute(0, 3, 1, 2).float() / 255 - mean) / std


@dataclass(frozen=True, slots=True)
class Split:
    """Fixed images of one kind: rgb u8[N,S,S,3], matte u8[N,S,S], and each one's source."""

    rgb: U8
    matte: U8
    sources: tuple[str, ...]


def held_out_splits(pool: Pool, size: int, composites: int = 192) -> dict[str, Split]:
    """``pairs``: whole held-out images; ``composites``: held-out objects over held-out scenes; ``drawn``: held-out
    shapes and fonts; ``empty`` and ``bare``: drawn scenes and photos without a subject.
    """
    pairs = [i for i, r in enumerate(pool.records) if r.held_out and r.kind in ("photo", "pseudo", "render")]
    rgb = [cv2.resize(pool[i][..., :3], (size, size), interpolation=cv2.INTER_AREA) for i in pairs]
    matte = [
        cv2.resize(np.ascontiguousarray(pool[i][..., 3]), (size, size), interpolation=cv2.INTER_AREA) for i in pairs
    ]
    sampler = Sampler(pool, Mixture(photo=0, pseudo=0, composite=1, negative=0), held_out=True, seed=77)
    made = [sampler(i, size) for i in range(composites)]
    sampler = Sampler(pool, Mixture(photo=0, pseudo=0, composite=0, negative=1), held_out=True, seed=78)
    empty = [sampler(i, size) for i in range(composites // 2)]
    mixture = Mixture(photo=0, pseudo=0, composite=0, negative=0, drawn=1)
    sampler = Sampler(pool, mixture, held_out=True, seed=HELD_OUT_SEED)
    drawn = [sampler(i, size) for i in range(composites // 2)]
    photos = [i for i, r in enumerate(pool.records) if r.held_out and r.kind == "background"]
    bare = [cv2.resize(pool[i][..., :3], (size, size), interpolation=cv2.INTER_AREA) for i in photos]
    return {
        "bare": Split(np.stack(bare), np.zeros((len(bare), size, size), np.uint8), ("bare",) * len(bare)),
        "pairs": Split(np.stack(rgb), np.stack(matte), tuple(pool.records[i].source for i in pairs)),
        "composites": Split(np.stack([m[0] for m in made]), np.stack([m[1] for m in made]), ("composite",) * len(made)),
        "drawn": Split(np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn]), ("drawn",) * len(drawn)),
        "empty": Split(np.stack([e[0] for e in empty]), np.stack([e[1] for e in empty]), ("empty",) * len(empty)),
    }


@torch.no_grad()
def predict(network: Network, rgb: U8, device: torch.device, batch: int = 16) -> U8:
    """u8[N,S,S,3] -> u8[N,S,S]."""
    network.eval()
    out = []
    for start in range(0, len(rgb), batch):
        image = normalize(torch.from_numpy(rgb[start : start + batch]).to(device), network)
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(image).full
        out.append((torch.sigmoid(logits.float())[:, 0] * 255 + 0.5).to(torch.uint8).cpu().numpy())
    network.train()
    return np.concatenate(out)


def figures_of(mattes: dict[str, U8], splits: dict[str, Split]) -> dict[str, float]:
    """Figures of mattes u8[N,S,S] at the splits' own size.

    ``choose`` is the mean IoU of pairs (by source) and composites, plus a fifth of that of drawn images, minus a
    fifth of the share of empty photos that are cut: the higher the better.
    """
    figures: dict[str, float] = {}
    for name, split in splits.items():
        got = mattes[name]
        if name in ("empty", "bare"):
            figures[f"{name}_share"] = float(((got > 127).mean((1, 2)) > 0.02).mean())
            continue
        a, b = got > 127, split.matte > 127
        iou = ((a & b).sum((1, 2)) + 1) / ((a | b).sum((1, 2)) + 1)
        by_source = [float(iou[[s == source for s in split.sources]].mean()) for source in sorted(set(split.sources))]
        figures[f"{name}_iou"] = float(np.mean(by_source))
        figures[f"{name}_mae"] = float(np.abs(got.astype(np.float32) - split.matte.astype(np.float32)).mean() / 255)
    figures["choose"] = (figures["pairs_iou"] + figures["composites_iou"]) / 2
    figures["choose"] += (figures["drawn_iou"] - figures["bare_share"]) / 5
    return figures


def score(network: Network, splits: dict[str, Split], device: torch.device) -> tuple[dict[str, float], dict[str, U8]]:
    """Figures of a network at the splits' own size, and the mattes themselves for a sheet."""
    mattes = {name: predict(network, split.rgb, device) for name, split in splits.items()}
    return figures_of(mattes, splits), mattes
