"""The fused depthwise operation against torch's own, forward and backward."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is in the training environment only")

from torch.nn import functional  # noqa: E402

from models.training import depthwise  # noqa: E402
from models.training.lite import LiteConfig, LiteNetwork, SameConv  # noqa: E402

pytestmark = pytest.mark.skipif(not depthwise.available(), reason="no C++ compiler or ninja here")


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("side", [2, 4, 14])
def test_fused_depthwise_equals_torch(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(side)
    layer = SameConv(32, 32, kernel, stride, groups=32)
    x = (torch.randn(3, 32, side, side) * 4).contiguous(memory_format=torch.channels_last)
    grad, results = None, []
    for fused in (True, False):
        image = x.clone().requires_grad_()
        layer.zero_grad()
        if fused:
            y = depthwise.depthwise_relu6(image, layer.weight, layer.bias, stride)
        else:
            y = functional.relu6(layer(functional.relu6(image)))
        grad = torch.randn_like(y) if grad is None else grad
        y.backward(grad)
        results.append((y.detach(), image.grad, layer.weight.grad.clone(), layer.bias.grad.clone()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_training_and_evaluation_agree() -> None:
    torch.manual_seed(0)
    network = LiteNetwork(LiteConfig())
    torch.nn.init.normal_(network.head.weight)
    image = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    trained = network.train()(image)
    with torch.no_grad():
        evaluated = network.eval()(image)
    torch.testing.assert_close(trained.full.detach(), evaluated.full, rtol=1e-3, atol=1e-3)
    assert len(trained.sides) == 4
    assert not evaluated.sides
    assert trained.confidence is not None
    assert trained.confidence.shape == (2,)
