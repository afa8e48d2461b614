"""The network of ``clearcut-m``: an EfficientNet-Lite encoder, a top-down decoder and a confidence head.

Encoder: Tan and Le, EfficientNet (ICML 2019), in its Lite form (no squeeze-and-excitation, ReLU6). Batch norms are
folded into the convolutions before training, so the network trains in the form in which it is exported.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import depthwise
from .network import Logits, upsample

MEAN, DEVIATION = 127.0, 128.0
"""Input normalization of the pretrained weights: (value - 127) / 128 for values in 0..255."""
_BLOCKS = (  # repeats, kernel, stride, expansion, input channels, output channels
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
_DEPTH = {"lite0": 1.0, "lite1": 1.1, "lite2": 1.2}
_WIDTH = {"lite0": 1.0, "lite1": 1.0, "lite2": 1.1}


@dataclass(frozen=True, slots=True)
class LiteConfig:
    """Shape of the network; decoder channels and residual blocks are listed from stride 2 to stride 32."""

    kind: str = "lite0"
    decoder: tuple[int, ...] = (16, 32, 48, 80, 128)
    residuals: tuple[int, ...] = (0, 1, 1, 1, 1)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> LiteConfig:
        """Build from a TOML table; lists become tuples."""
        return LiteConfig(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


def scaled(channels: int, width: float) -> int:
    """Channel count of a wider variant: the nearest multiple of 8 that is at least 90 % of the product."""
    if width == 1.0:
        return channels
    product = channels * width
    rounded = max(8, int(product + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * product else rounded


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: at stride 2 the extra pixel is at the bottom right."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        before = (kernel - 2) // 2
        after = kernel - 2 - before
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


class InvertedResidual(nn.Module):
    """Expand (1x1), depthwise, project (1x1); a shortcut where the shape stays."""

    def __init__(self, kernel: int, stride: int, expansion: int, cin: int, cout: int):
        super().__init__()
        middle = cin * expansion
        self.expand = SameConv(cin, middle, 1) if expansion != 1 else None
        self.depthwise = SameConv(middle, middle, kernel, stride, groups=middle)
        self.project = SameConv(middle, cout, 1)
        self.shortcut = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand(x)
        if self.training and y.device.type == "cpu" and torch.is_grad_enabled() and depthwise.available():
            layer = self.depthwise
            y = depthwise.depthwise_relu6(y, layer.weight, layer.bias, layer.stride[0])  # type: ignore[arg-type]
        else:
            y = F.relu6(self.depthwise(F.relu6(y)))
        y = self.project(y)
        return x + y if self.shortcut else y


class Encoder(nn.Module):
    """Features at strides 2, 4, 8, 16 and 32."""

    def __init__(self, kind: str):
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        self.taps: list[int] = []
        self.channels: list[int] = []
        for index, (repeats, kernel, stride, expansion, cin, cout) in enumerate(_BLOCKS):
            cin = 32 if index == 0 else scaled(cin, _WIDTH[kind])
            cout = scaled(cout, _WIDTH[kind])
            fixed = index in (0, len(_BLOCKS) - 1)
            if stride == 2:
                self.taps.append(len(blocks) - 1)
                self.channels.append(cin)
            for n in range(repeats if fixed else math.ceil(repeats * _DEPTH[kind])):
                first = n == 0
                blocks.append(InvertedResidual(kernel, stride if first else 1, expansion, cin if first else cout, cout))
        self.blocks = nn.ModuleList(blocks)
        self.taps.append(len(blocks) - 1)
        self.channels.append(cout)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu6(self.stem(x))
        features = []
        for n, block in enumerate(self.blocks):
            x = block(x)
            if n in self.taps:
                features.append(x)
        return features

    def load_published(self, path: Path) -> None:
        """Load the published PyTorch weights, with batch norms (eps 1e-3) folded into the convolutions."""
        state = torch.load(path, map_location="cpu", weights_only=True)

        def fold(layer: nn.Conv2d, weight: str, norm: str) -> None:
            gain, bias, mean, variance = (
                state[f"{norm}.{q}"] for q in ("weight", "bias", "running_mean", "running_var")
            )
            scale = gain / torch.sqrt(variance + 1e-3)
            layer.weight.data.copy_(state[f"{weight}.weight"] * scale[:, None, None, None])
            layer.bias.data.copy_(bias - mean * scale)  # type: ignore[union-attr]

        fold(self.stem, "_conv_stem", "_bn0")
        for n, block in enumerate(self.blocks):
            prefix = f"_blocks.{n}."
            if block.expand is not None:
                fold(block.expand, prefix + "_expand_conv", prefix + "_bn0")  # type: ignore[arg-type]
            fold(block.depthwise, prefix + "_depthwise_conv", prefix + "_bn1")  # type: ignore[arg-type]
            fold(block.project, prefix + "_project_conv", prefix + "_bn2")  # type: ignore[arg-type]


def conv(cin: int, cout: int, kernel: int = 3) -> nn.Conv2d:
    """A padded convolution with bias, He-initialized for ReLU."""
    layer = nn.Conv2d(cin, cout, kernel, 1, kernel // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class Residual(nn.Module):
    """relu(x + b(relu(a(x)))), the identity at first."""

    def __init__(self, channels: int):
        super().__init__()
        self.a, self.b = conv(channels, channels), conv(channels, channels)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b(F.relu(self.a(x))))


class Confidence(nn.Module):
    """Estimates the IoU of the matte from pooled features; its gradient does not reach the rest of the network."""

    def __init__(self, deep: int, fine: int, hidden: int = 64):
        super().__init__()
        self.first = nn.Linear(deep + 3 * fine + 2, hidden)
        self.second = nn.Linear(hidden, 1)
        nn.init.zeros_(self.second.weight)

    def forward(self, deep: Tensor, fine: Tensor, alpha: Tensor) -> Tensor:
        """deep [N,D,h,w], fine [N,C,S/4,S/4], alpha f32[N,1,S,S] in 0..1 -> logits f32[N]."""
        small = F.avg_pool2d(alpha, 4)
        edge = 4 * small * (1 - small)
        pooled = [(fine * share).mean((2, 3)) / (share.mean((2, 3)) + 0.01) for share in (small, 1 - small, edge)]
        parts = [deep.mean((2, 3)), *pooled, small.mean((2, 3)), edge.mean((2, 3))]
        return self.second(F.relu(self.first(torch.cat(parts, 1))))[:, 0]  # type: ignore[no-any-return]


def channel_maxima(deep: Tensor) -> Tensor:
    """Return the largest value of each channel: [N,D,h,w] to f32[N,D]."""
    return deep.float().amax((2, 3))


class LiteNetwork(nn.Module):
    """RGB f32[N,3,S,S] as (value - 127) / 128, S a multiple of 32 -> matte logits f32[N,1,S,S], confidence f32[N].

    ``presence`` is None until ``add_presence`` is called; ``presence.py`` fits it after training.
    """

    def __init__(self, config: LiteConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.kind)
        channels, widths = self.encoder.channels, config.decoder
        self.lateral = nn.ModuleList(conv(c, d, 1) for c, d in zip(channels, widths, strict=True))
        self.reduce = nn.ModuleList(conv(widths[i + 1], widths[i], 1) for i in range(4))
        self.fuse = nn.ModuleList(conv(d, d) for d in widths)
        self.refine = nn.ModuleList(
            nn.Sequential(*(Residual(d) for _ in range(count)))
            for d, count in zip(widths, config.residuals, strict=True)
        )
        self.context = conv(channels[-1], widths[-1], 1)
        self.head = conv(widths[0], 1)
        self.side_heads = nn.ModuleList(conv(d, 1, 1) for d in widths[1:])
        for head in (self.head, *self.side_heads):
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
        self.confidence = Confidence(channels[-1], widths[1])
        self.presence: nn.Linear | None = None

    def add_presence(self) -> nn.Linear:
        """Add the output that estimates whether the image has a subject, from the largest values of the features."""
        self.presence = nn.Linear(self.encoder.channels[-1], 1)
        nn.init.zeros_(self.presence.weight)
        return self.presence

    def forward(self, image: Tensor) -> Logits:
        """Side logits at strides 32, 16, 8 and 4 only while training."""
        features = self.encoder(image)
        pooled = F.relu(self.context(features[4].mean((2, 3), keepdim=True)))
        x = self.refine[4](F.relu(self.fuse[4](self.lateral[4](features[4]) + pooled)))
        sides = [self.side_heads[3](x)] if self.training else []
        fine = x
        for level in (3, 2, 1, 0):
            x = upsample(self.reduce[level](x), 2) + self.lateral[level](features[level])
            x = self.refine[level](F.relu(self.fuse[level](x)))
            if level == 1:
                fine = x
            if self.training and level > 0:
                sides.append(self.side_heads[level - 1](x))
        full = upsample(self.head(x), 2)
        alpha = torch.sigmoid(full.detach().float())
        confidence = self.confidence(features[4].detach().float(), fine.detach().float(), alpha)
        presence = None if self.presence is None else self.presence(channel_maxima(features[4]))[:, 0]
        return Logits(full, sides, confidence, presence)


_RENAMED = (
    (r"^enc\.", "encoder."),
    (r"^(encoder\.blocks\.\d+)\.e\.", r"\1.expand."),
    (r"^(encoder\.blocks\.\d+)\.d\.", r"\1.depthwise."),
    (r"^(encoder\.blocks\.\d+)\.p\.", r"\1.project."),
    (r"^lat\.", "lateral."),
    (r"^up\.", "reduce."),
    (r"^res\.", "refine."),
    (r"^glob\.", "context."),
    (r"^sides\.", "side_heads."),
)


def load_trial(network: LiteNetwork, state: dict[str, Tensor]) -> None:
    """Load the state dict of the reference implementation: shorter module names, no confidence head.

    Raises:
        ValueError: the state has other parameters than this shape.
    """
    renamed = {}
    for key, value in state.items():
        for pattern, name in _RENAMED:
            key = re.sub(pattern, name, key)
        renamed[key] = value.float()
    missing, unexpected = network.load_state_dict(renamed, strict=False)
    if unexpected or any(not name.startswith("confidence.") for name in missing):
        raise ValueError(f"missing {missing}, unexpected {unexpected}")


def load_exported(network: LiteNetwork, path: Path) -> None:
    """Load the weights of an ONNX file that ``export`` wrote, without the output for presence.

    The side heads exist only in training, so they keep their values.

    Raises:
        ValueError: the file lacks a parameter, or one has another shape.
    """
    import onnx
    from onnx import numpy_helper

    arrays = {each.name: numpy_helper.to_array(each) for each in onnx.load(str(path)).graph.initializer}
    found = {name.removeprefix("network.").removesuffix("_f16"): value for name, value in arrays.items()}
    missing = []
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            value = found.get(name)
            if value is not None and value.shape == parameter.shape:
                parameter.copy_(torch.from_numpy(value.astype("float32")))
            elif not name.startswith(("side_heads.", "presence.")):
                missing.append(name)
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
