"""Fast CPU training of ``relu6(depthwise(relu6(x)))``: a small C++ extension, built on first use.

Needs a C++ compiler and ``ninja``; without them :func:`available` is False and the network uses torch's operations.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@functools.cache
def _extension() -> Any:
    from torch.utils.cpp_extension import load

    flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-ffast-math", "-fno-finite-math-only"]
    source = Path(__file__).with_name("depthwise.cpp")
    try:
        return load("clearcut_depthwise", [str(source)], extra_cflags=flags, extra_ldflags=["-fopenmp"])
    except (OSError, RuntimeError, ImportError) as error:
        warnings.warn(f"slow depthwise convolutions: the extension cannot be built ({error})", stacklevel=2)
        return None


def available() -> bool:
    """Whether the extension is (or can be) built on this machine."""
    return _extension() is not None


class DepthwiseRelu6(torch.autograd.Function):
    """[N,C,H,W] before ReLU6 -> [N,C,H/stride,W/stride] after ReLU6; f32 or bf16, channels-last, C a multiple of 16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        kernel = weight.shape[-1]
        flat = weight.detach().float().reshape(weight.shape[0], -1).t().contiguous()
        y: Tensor = _extension().forward(x.detach(), flat, bias.detach().float(), kernel, stride)
        ctx.save_for_backward(x, y, flat)
        ctx.kernel, ctx.stride = kernel, stride
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        x, y, flat = ctx.saved_tensors
        gx, gw, gb = _extension().backward(x, y, grad.to(x.dtype), flat, ctx.kernel, ctx.stride)
        return gx, gw.t().reshape(-1, 1, ctx.kernel, ctx.kernel), gb, None


def depthwise_relu6(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """``relu6(depthwise(relu6(x)))`` with TensorFlow's "same" padding."""
    return DepthwiseRelu6.apply(x, weight, bias, stride)  # type: ignore[no-any-return,no-untyped-call]
