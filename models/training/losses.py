"""Training loss: edge-weighted cross-entropy plus soft IoU, at every decoder level."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .network import Logits


def edge_weight(matte: Tensor, radius: int, boost: float) -> Tensor:
    """1 + boost near changes of the matte, f32[N,1,H,W] (as in F3Net, Wei et al. 2020)."""
    side = 2 * radius + 1  # by rows, then by columns: a box is separable
    mean = F.avg_pool2d(matte, (side, 1), 1, (radius, 0), count_include_pad=False)
    mean = F.avg_pool2d(mean, (1, side), 1, (0, radius), count_include_pad=False)
    return 1 + boost * (mean - matte).abs()


def has_subject(matte: Tensor) -> Tensor:
    """Return 1 for each image with a subject, else 0: f32[N,1,H,W] in 0..1 to f32[N]."""
    return (matte.mean((1, 2, 3)) > 0.002).float()


def soft_iou(alpha: Tensor, matte: Tensor, weight: Tensor) -> Tensor:
    """Return 1 - weighted soft IoU per image, f32[N]. Empty mattes count only through cross-entropy."""
    both = (alpha * matte * weight).sum((1, 2, 3))
    either = ((alpha + matte - alpha * matte) * weight).sum((1, 2, 3))
    return (1 - (both + 1) / (either + 1)) * has_subject(matte)


def level_loss(logits: Tensor, matte: Tensor, boost: float, share: Tensor) -> Tensor:
    """Cross-entropy + IoU + L1 of one level, weighted by each sample's share f32[N]: scalar."""
    weight = edge_weight(matte, max(2, matte.shape[-1] // 42), boost)
    entropy = F.binary_cross_entropy_with_logits(logits, matte, reduction="none")
    entropy = (entropy * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    alpha = torch.sigmoid(logits)
    return ((entropy + soft_iou(alpha, matte, weight) + (alpha - matte).abs().mean((1, 2, 3))) * share).sum()


def true_iou(logits: Tensor, matte: Tensor) -> Tensor:
    """IoU of the thresholded matte, f32[N]; 1 where both are empty."""
    a, b = logits.detach() > 0, matte > 0.5
    return ((a & b).sum((1, 2, 3)) + 1) / ((a | b).sum((1, 2, 3)) + 1)


def matting_loss(
    out: Logits,
    matte: Tensor,
    weight: Tensor | None = None,
    *,
    side_weight: float = 0.3,
    boost: float = 4.0,
    presence_weight: float = 0.0,
) -> Tensor:
    """Return the loss of the full output and of the coarser side outputs against area-averaged mattes.

    ``matte``: f32[N,1,S,S] in 0..1; ``weight``: f32[N], of each sample. The confidence is compared with the IoU that
    the network reaches itself, the presence with whether the matte has a subject. Computed in f32 even under autocast.
    """
    weight = matte.new_ones(len(matte)) if weight is None else weight
    share = weight / weight.sum()
    loss = level_loss(out.full.float(), matte, boost, share)
    for side in out.sides:
        size = side.shape[-2:]
        loss = loss + side_weight * level_loss(side.float(), F.adaptive_avg_pool2d(matte, size), boost, share)
    if out.confidence is not None:
        reached = true_iou(out.full, matte)
        loss = loss + (F.binary_cross_entropy_with_logits(out.confidence, reached, reduction="none") * share).sum()
    if out.presence is not None:
        entropy = F.binary_cross_entropy_with_logits(out.presence, has_subject(matte), reduction="none")
        loss = loss + presence_weight * (entropy * share).sum()
    return loss
