"""The network of ``clearcut-s``: a ResNet-like encoder, global context at stride 32, a light decoder.

The network has no batch norm: it starts from weights with folded norms and trains as it is exported. Every added
block ends in a convolution initialized to zero, so an enlarged network computes the same as the smaller one at first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shape of the network. The defaults have 3.05 M parameters."""

    stem: int = 16
    widths: tuple[int, ...] = (32, 64, 128, 192)  # strides 4, 8, 16, 32
    blocks: tuple[int, ...] = (1, 2, 3, 3)
    extra_blocks: tuple[int, ...] = (0, 0, 0, 0)  # zero-initialized residual blocks per stage
    context_blocks: int = 0  # self-attention blocks at stride 32
    decoder: tuple[int, ...] = (16, 24, 48, 64)  # strides 2, 4, 8, 16
    refine: tuple[int, ...] = (0, 0, 0, 0)  # zero-initialized residual blocks per decoder level
    pool_branch: int = 32

    @staticmethod
    def from_dict(values: dict[str, Any]) -> NetworkConfig:
        """Build from a TOML table; lists become tuples."""
        return NetworkConfig(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


def conv(cin: int, cout: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with bias and 'same' padding, He-initialized for the following ReLU."""
    layer = nn.Conv2d(cin, cout, kernel, stride, kernel // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Initialize a block's last convolution to zero, so that it contributes nothing at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut: relu(b(relu(a(x))) + d(x))."""

    def __init__(self, cin: int, cout: int, stride: int = 1, *, identity_start: bool = False):
        super().__init__()
        self.a = conv(cin, cout, 3, stride)
        self.b = conv(cout, cout)
        if identity_start:
            zero(self.b)
        self.d = conv(cin, cout, 1, stride) if stride != 1 or cin != cout else None

    @property
    def silent(self) -> bool:
        """Return whether the block adds nothing to its input, as before any training."""
        return self.d is None and not self.b.weight.any()

    def forward(self, x: Tensor) -> Tensor:
        """f32|bf16[N,cin,H,W] -> [N,cout,H/stride,W/stride], >= 0."""
        shortcut = x if self.d is None else self.d(x)
        return F.relu(self.b(F.relu(self.a(x))) + shortcut)


class Context(nn.Module):
    """One pre-norm transformer block over the stride-32 cells; starts as the identity.

    At 320 px there are 100 cells, so full attention is cheaper than one 3x3 convolution there.
    """

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm_a = nn.LayerNorm(width)
        self.norm_b = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        for last in (self.out, self.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,h,w] -> [N,C,h,w]."""
        c, h, w = (int(v) for v in x.shape[1:])  # plain numbers, so that export folds them
        t = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm_a(t)).chunk(3, dim=-1)
        q, k, v = (s.reshape(-1, h * w, self.heads, c // self.heads).transpose(1, 2) for s in (q, k, v))
        # Written out rather than by scaled_dot_product_attention: exports to four plain nodes.
        weight = torch.softmax(q @ k.transpose(-1, -2) * (c // self.heads) ** -0.5, dim=-1)
        t = t + self.out((weight @ v).transpose(1, 2).reshape(-1, h * w, c))
        t = t + self.down(F.relu(self.up(self.norm_b(t))))
        return t.transpose(1, 2).reshape(-1, c, h, w)


class Pyramid(nn.Module):
    """Pyramid pooling: the whole field, its quarters and 2x2 cells, next to the features."""

    def __init__(self, width: int, branch: int):
        super().__init__()
        self.p = nn.ModuleList(conv(width, branch, 1) for _ in range(3))
        self.o = conv(width + 3 * branch, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N,C,h,w] with even h = w -> [N,C,h,w]."""
        size = int(x.shape[-1])
        parts = [x]
        for layer, kernel in zip(self.p, (size, size // 2, 2), strict=True):
            pooled = F.relu(layer(F.avg_pool2d(x, kernel)))
            parts.append(upsample(pooled, size // int(pooled.shape[-1])))
        return F.relu(self.o(torch.cat(parts, dim=1)))


def upsample(x: Tensor, factor: int) -> Tensor:
    """Resize bilinearly, with half-pixel centers."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


@dataclass(slots=True)
class Logits:
    """Full-size logits [N,1,S,S] and, in training, those of the coarser decoder levels."""

    full: Tensor
    sides: list[Tensor] = field(default_factory=list)
    confidence: Tensor | None = None  # f32[N]: logit of the estimated IoU
    presence: Tensor | None = None  # f32[N]: logit of the probability that the image has a subject


class MattingNetwork(nn.Module):
    """RGB (ImageNet-normalized, square, side a multiple of 64) -> matte logits of that size."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.stem = conv(3, config.stem, 3, 2)
        stages: list[nn.Module] = []
        cin = config.stem
        for width, count, extra in zip(config.widths, config.blocks, config.extra_blocks, strict=True):
            own = [Residual(cin if i == 0 else width, width, 2 if i == 0 else 1) for i in range(count)]
            own += [Residual(width, width, identity_start=True) for _ in range(extra)]
            stages.append(nn.Sequential(*own))
            cin = width
        self.stages = nn.ModuleList(stages)
        self.context = nn.Sequential(*(Context(cin) for _ in range(config.context_blocks)))
        self.pyramid = Pyramid(cin, config.pool_branch)
        skips = (config.stem, *config.widths[:-1])
        above = (*config.decoder[1:], cin)
        self.reduce = nn.ModuleList(conv(a, d, 1) for a, d in zip(above, config.decoder, strict=True))
        self.lateral = nn.ModuleList(conv(s, d, 1) for s, d in zip(skips, config.decoder, strict=True))
        self.fuse = nn.ModuleList(conv(d, d) for d in config.decoder)
        self.refine = nn.ModuleList(
            nn.Sequential(*(Residual(d, d, identity_start=True) for _ in range(count)))
            for d, count in zip(config.decoder, config.refine, strict=True)
        )
        self.head = conv(config.decoder[0], 1)
        self.side_heads = nn.ModuleList(zero(conv(d, 1, 1)) for d in config.decoder[1:])

    def forward(self, image: Tensor) -> Logits:
        """f32[N,3,S,S] -> logits; the side outputs (strides 4, 8, 16) only while training."""
        x = F.relu(self.stem(image))
        skips = [x]
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        x = self.pyramid(self.context(skips.pop()))
        sides: list[Tensor] = []
        for level in reversed(range(len(self.fuse))):
            x = upsample(self.reduce[level](x), 2) + self.lateral[level](skips[level])
            x = self.refine[level](F.relu(self.fuse[level](x)))
            if self.training and level > 0:
                sides.append(self.side_heads[level - 1](x))
        return Logits(upsample(self.head(x), 2), sides)


def load_exported(network: MattingNetwork, path: Path) -> None:
    """Load the weights of an ONNX file that ``export`` wrote, of this shape or of a smaller one.

    Blocks that the file lacks must still contribute nothing. Export keeps the parameters' names except for the
    matrices of linear layers, which it transposes and numbers. Those are found by the name of the node that reads
    them. The side heads exist only in training and keep their values.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    found = {name.removeprefix("network."): value for name, value in arrays.items()}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays:
            layer = node.name.split("/")[-3:-1]  # /network/context/context.0/qkv/MatMul
            found[f"{'.'.join(layer)}.weight"] = arrays[node.input[1]].T
    grown = tuple(
        f"{name}." for name, module in network.named_modules() if isinstance(module, Residual) and module.silent
    )
    missing = []
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name in found:
                parameter.copy_(torch.from_numpy(found[name].copy()))
            elif not name.startswith(("side_heads.", *grown)):
                missing.append(name)
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")


def initial_network(config: NetworkConfig, seed: int) -> MattingNetwork:
    """Return the initial network of a run, from a seed."""
    torch.manual_seed(seed)
    return MattingNetwork(config)
