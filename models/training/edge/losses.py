"""What the edge model is taught to make small, at full size.

SAD, gradient error (both as alphamatting.com defines them) and squared error, each as a share of bilinear enlargement's
own, and what more of the subject is missing than with the guided fit alone.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.scoring.matting import GRADIENT_SIGMA

TILE, REACH = 64, 4
"""Pixels that are filtered by one product of matrices, and half the filter."""


@functools.cache
def kernels() -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian and its derivative, f32[9] each, so scaled that their product has norm 1."""
    reach = np.arange(-REACH, REACH + 1, dtype=np.float32)
    bell = np.exp(-(reach**2) / (2 * GRADIENT_SIGMA**2))
    slope = -reach * bell
    scale = np.sqrt(np.linalg.norm(bell) * np.linalg.norm(slope))
    return (bell / scale).astype(np.float32), (slope / scale).astype(np.float32)


@functools.cache
def bands() -> tuple[Tensor, Tensor]:
    """The same as matrices f32[TILE + 2 REACH, TILE]: on a CPU many times faster than convolutions of one channel."""
    places = torch.arange(TILE)[None] + torch.arange(2 * REACH + 1)[:, None]
    empty = torch.zeros(TILE + 2 * REACH, TILE)
    both = [empty.scatter(0, places, torch.from_numpy(k)[:, None].expand(-1, TILE)) for k in kernels()]
    return both[0], both[1]


def along(plane: Tensor, band: Tensor) -> Tensor:
    """``plane``, f32[n,1,h,w], filtered along its rows, border repeated; w a multiple of TILE."""
    wide = F.pad(plane, (REACH, REACH, 0, 0), mode="replicate").unfold(3, TILE + 2 * REACH, TILE)
    return (wide.contiguous() @ band).flatten(3)


def gradient(alpha: Tensor) -> Tensor:
    """As ``models.scoring.matting.gradient_magnitude``: f32[n,1,s,s] to the same."""
    bell, slope = (each.to(alpha.device) for each in bands())
    across = along(along(alpha, slope).mT, bell)
    down = along(along(alpha, bell).mT, slope)
    return (across.square() + down.square() + 1e-8).sqrt().mT


def errors(found: Tensor, batch: dict[str, Tensor]) -> tuple[tuple[Tensor, Tensor], ...]:
    """Of SAD, gradient error and MSE: ours and bilinear's, f32[n] each, as means over the pixels."""
    truth = batch["alpha"]

    def three(alpha: Tensor, steep: Tensor) -> tuple[Tensor, ...]:
        rows = ((alpha - truth).abs(), (steep - batch["steep"]).square(), (alpha - truth).square())
        return tuple(row.flatten(1).mean(1) for row in rows)

    return tuple(zip(three(found, gradient(found)), three(batch["plain"], batch["steep plain"]), strict=True))


def missing(found: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What is missing of the subject, with us and with the guided fit alone, f32[n] each, as means over the pixels."""
    ours, fit = (F.relu(batch["alpha"] - each).flatten(1).mean(1) for each in (found, batch["pixels"].clamp(0, 1)))
    return ours, fit


def loss_of(found: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """What is left of each error, weighted, and what more is missing of the subject.

    The floors keep pictures that were good already from ruling. Without the last term gradient error was won by giving
    up what a network is unsure of: thin things, and on photos of people a tenth of what was missing already.
    """
    sad, steep, mse = errors(found, batch)
    left = 2.0 * sad[0] / (sad[1] + 0.004) + 2.2 * steep[0] / (steep[1] + 0.0006) + 0.5 * mse[0] / (mse[1] + 0.003)
    ours, fit = missing(found, batch)
    return (left + 1.5 * F.relu(ours - fit) / (fit + 0.002)).mean()
