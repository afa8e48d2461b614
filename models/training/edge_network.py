"""The edge model: what corrects a guided fit where edges are likelier to lie elsewhere, and its ONNX file.

Some 23 thousand weights. An exported file is refused if its answers are not torch's.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 4
"""Cells along the side of what the network sees as one."""


class Mixing(nn.Module):
    """A depthwise and a pointwise convolution around a residual."""

    def __init__(self, width: int, side: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, side, padding=side // 2, groups=width)
        self.pointwise = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.pointwise(F.relu(self.depthwise(x))))


class EdgeNetwork(nn.Module):
    """(rgb, matte, fit), f32[n,3|1|1,h,w] in about 0..1, to what to add, f32[n,1,h,w]; h and w multiples of 4.

    Everything happens at a quarter of the resolution, a block of 4 x 4 cells being so many channels: a convolution of
    few channels at full resolution, tried first, took twice the time of all the rest.
    """

    def __init__(self, width: int = 48, sides: tuple[int, ...] = (3, 5, 3, 5, 3)):
        super().__init__()
        self.coarse = nn.Conv2d(5, width, BLOCK, stride=BLOCK)
        self.mixing = nn.Sequential(*[Mixing(width, side) for side in sides])
        self.hidden = nn.Conv2d(width, width, 1)
        self.answer = nn.Conv2d(width, BLOCK * BLOCK, 1)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, rgb: Tensor, matte: Tensor, fit: Tensor) -> Tensor:
        return self.blocks(2 * torch.cat([rgb, matte, fit.clamp(-0.5, 1.5)], 1) - 1)

    def blocks(self, seen: Tensor) -> Tensor:
        """The answer to all five planes."""
        hidden = F.relu(self.hidden(self.mixing(F.relu(self.coarse(seen)))))
        return F.pixel_shuffle(self.answer(hidden), BLOCK)


class Exportable(nn.Module):
    """The network as the service calls it: u8[h,w,3], f32[h,w], f32[h,w] to f32[h,w].

    The scale of the inputs goes into the first convolution's weights.
    """

    def __init__(self, network: EdgeNetwork):
        super().__init__()
        self.network = copy.deepcopy(network)
        first = self.network.coarse
        with torch.no_grad():
            first.bias -= first.weight.sum((1, 2, 3))
            first.weight *= torch.tensor([2 / 255, 2 / 255, 2 / 255, 2, 2])[:, None, None]

    def forward(self, guide: Tensor, values: Tensor, fitted: Tensor) -> Tensor:
        planes = [guide.permute(2, 0, 1)[None].float(), values[None, None], fitted.clamp(-0.5, 1.5)[None, None]]
        return self.network.blocks(torch.cat(planes, 1))[0, 0]


def export(network: EdgeNetwork, out: Path) -> None:
    """Writes the ONNX file and checks it against torch on a size it was not traced with."""
    module = Exportable(network).eval()
    names = ["guide", "values", "fitted"]

    def example(height: int, width: int) -> tuple[Tensor, ...]:
        made = torch.Generator().manual_seed(height)
        planes = [torch.rand((height, width), generator=made) for _ in range(2)]
        return (torch.randint(0, 256, (height, width, 3), generator=made, dtype=torch.uint8), *planes)

    axes = {name: {0: "height", 1: "width"} for name in [*names, "added"]}
    torch.onnx.export(
        module, example(240, 320), str(out), input_names=names, output_names=["added"], opset_version=17,
        dynamic_axes=axes, dynamo=False,
    )  # fmt: skip
    other = example(164, 212)
    session = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    got = session.run(None, dict(zip(names, (each.numpy() for each in other), strict=True)))[0]
    with torch.no_grad():
        rgb, values, fitted = other[0].permute(2, 0, 1)[None] / 255, other[1][None, None], other[2][None, None]
        gap = float(np.abs(got - network(rgb, values, fitted)[0, 0].numpy()).max())
    if gap > 1e-4:
        raise RuntimeError(f"the exported file differs from torch by {gap:.1e}")
    data = out.read_bytes()
    print(f"{out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}, largest difference {gap:.1e}")
