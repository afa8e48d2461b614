"""The edge model's network (12,000 weights) and its ONNX export. The export fails if it differs from torch."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = 4
"""Cells along the side of a block, the network's unit."""
SCALES = torch.tensor([2 / 255, 2 / 255, 2 / 255, 2, 2])
"""Scale of the service's five planes to the network's range of about -1..1."""


class Mixing(nn.Module):
    """A residual block of a depthwise and a pointwise convolution."""

    def __init__(self, width: int, side: int):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, side, padding=side // 2, groups=width)
        self.pointwise = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.pointwise(F.relu(self.depthwise(x))))


class EdgeNetwork(nn.Module):
    """Maps (rgb, matte, fit), f32[n,3|1|1,h,w] in about 0..1, to the correction f32[n,1,h,w]; h and w multiples of 4.

    It works at a quarter of the resolution, with 4 x 4 cells as channels, which is several times faster.
    """

    def __init__(self, width: int = 32, sides: tuple[int, ...] = (3, 5, 3, 5, 3)):
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
        """Return the correction for the five scaled planes."""
        hidden = F.relu(self.hidden(self.mixing(F.relu(self.coarse(seen)))))
        return F.pixel_shuffle(self.answer(hidden), BLOCK)


class Exportable(nn.Module):
    """The network as the service calls it: f32[1,5,h,w] to f32[h,w]; see ``clearcut.inference.edge_model``.

    The first convolution's weights include the scale of the inputs.
    """

    def __init__(self, network: EdgeNetwork):
        super().__init__()
        self.network = copy.deepcopy(network)
        first = self.network.coarse
        with torch.no_grad():
            first.bias -= first.weight.sum((1, 2, 3))
            first.weight *= SCALES[:, None, None]

    def forward(self, planes: Tensor) -> Tensor:
        return self.network.blocks(planes)[0, 0]


def exported(path: Path) -> EdgeNetwork:
    """Return the network of an ONNX file that ``export`` wrote, of any width."""
    read = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    weights = {name.removeprefix("network."): torch.tensor(each) for name, each in read.items()}
    layers = sum(name.endswith("depthwise.weight") for name in weights)
    sides = tuple(weights[f"mixing.{layer}.depthwise.weight"].shape[-1] for layer in range(layers))
    network = EdgeNetwork(len(weights["coarse.bias"]), sides)
    network.load_state_dict(weights)
    with torch.no_grad():  # removes the scale of the inputs
        network.coarse.weight /= SCALES[:, None, None]
        network.coarse.bias += network.coarse.weight.sum((1, 2, 3))
    return network


def export(network: EdgeNetwork, out: Path) -> None:
    """Write the ONNX file and compare it with torch on another size than the traced one."""
    module = Exportable(network).eval()
    axes = {"planes": {2: "height", 3: "width"}, "added": {0: "height", 1: "width"}}
    torch.onnx.export(
        module, (torch.rand(1, 5, 240, 320),), str(out), input_names=["planes"], output_names=["added"],
        opset_version=17, dynamic_axes=axes, dynamo=False,
    )  # fmt: skip
    rgb, values, fitted = (torch.rand(1, channels, 164, 212) for channels in (3, 1, 1))
    session = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    got = session.run(None, {"planes": torch.cat([255 * rgb, values, fitted], 1).numpy()})[0]
    with torch.no_grad():
        gap = float(np.abs(got - network(rgb, values, fitted)[0, 0].numpy()).max())
    if gap > 1e-4:
        raise RuntimeError(f"the exported file differs from torch by {gap:.1e}")
    data = out.read_bytes()
    print(f"{out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}, largest difference {gap:.1e}")
