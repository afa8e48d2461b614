"""Losses of the edge model at full size.

SAD, gradient error (both as alphamatting.com defines them) and squared error, each relative to bilinear enlargement,
plus the part of the subject that is missing in addition to the guided filter's loss.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.scoring.matting import GRADIENT_SIGMA

TILE, REACH = 64, 4
"""Pixels that one matrix product filters, and the radius of the filter."""


@functools.cache
def kernels() -> tuple[np.ndarray, np.ndarray]:
    """Return a Gaussian and its derivative, f32[9] each, scaled so that their product has norm 1."""
    reach = np.arange(-REACH, REACH + 1, dtype=np.float32)
    bell = np.exp(-(reach**2) / (2 * GRADIENT_SIGMA**2))
    slope = -reach * bell
    scale = np.sqrt(np.linalg.norm(bell) * np.linalg.norm(slope))
    return (bell / scale).astype(np.float32), (slope / scale).astype(np.float32)


@functools.cache
def bands() -> tuple[Tensor, Tensor]:
    """Return the kernels as matrices f32[TILE + 2 REACH, TILE], faster on CPUs than one-channel convolutions."""
    places = torch.arange(TILE)[None] + torch.arange(2 * REACH + 1)[:, None]
    empty = torch.zeros(TILE + 2 * REACH, TILE)
    both = [empty.scatter(0, places, torch.from_numpy(k)[:, None].expand(-1, TILE)) for k in kernels()]
    return both[0], both[1]


def along(plane: Tensor, band: Tensor) -> Tensor:
    """Filter f32[n,1,h,w] along its rows with a replicated border. w is a multiple of TILE."""
    wide = F.pad(plane, (REACH, REACH, 0, 0), mode="replicate").unfold(3, TILE + 2 * REACH, TILE)
    return (wide.contiguous() @ band).flatten(3)


def gradient(alpha: Tensor) -> Tensor:
    """Return the gradient magnitude of f32[n,1,s,s], as ``models.scoring.matting.gradient_magnitude``."""
    bell, slope = (each.to(alpha.device) for each in bands())
    across = along(along(alpha, slope).mT, bell)
    down = along(along(alpha, bell).mT, slope)
    return (across.square() + down.square() + 1e-8).sqrt().mT


def errors(found: Tensor, batch: dict[str, Tensor]) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return (ours, bilinear's) of SAD, gradient error and MSE, f32[n] each, as means over the pixels."""
    truth = batch["alpha"]

    def three(alpha: Tensor, steep: Tensor) -> tuple[Tensor, ...]:
        rows = ((alpha - truth).abs(), (steep - batch["steep"]).square(), (alpha - truth).square())
        return tuple(row.flatten(1).mean(1) for row in rows)

    return tuple(zip(three(found, gradient(found)), three(batch["plain"], batch["steep plain"]), strict=True))


def missing(found: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the missing part of the subject, ours and the guided filter's, f32[n] each, as means over the pixels."""
    ours, fit = (F.relu(batch["alpha"] - each).flatten(1).mean(1) for each in (found, batch["pixels"].clamp(0, 1)))
    return ours, fit


def loss_of(found: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return the weighted remaining errors plus the additional missing part of the subject.

    The constants in the denominators limit the weight of images that are already good. The last term keeps the model
    from removing uncertain thin parts to reduce the gradient error.
    """
    sad, steep, mse = errors(found, batch)
    left = 2.0 * sad[0] / (sad[1] + 0.004) + 2.2 * steep[0] / (steep[1] + 0.0006) + 0.5 * mse[0] / (mse[1] + 0.003)
    ours, fit = missing(found, batch)
    return (left + 1.5 * F.relu(ours - fit) / (fit + 0.002)).mean()
