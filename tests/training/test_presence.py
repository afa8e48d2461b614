"""The output that estimates whether an image has a subject. Needs torch."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is installed for training only")

from models.training.export import Exportable, export_fp32  # noqa: E402
from models.training.lite import LiteConfig, LiteNetwork, channel_maxima  # noqa: E402
from models.training.losses import matting_loss  # noqa: E402
from models.training.presence import fit  # noqa: E402


def test_fit_separates_features_of_unequal_scale() -> None:
    generator = torch.Generator().manual_seed(1)
    scale, offset = torch.logspace(-2, 1, 8), torch.linspace(-100, 100, 8)
    present, absent = (torch.randn(count, 8, generator=generator) for count in (200, 20))
    samples = [(present + 1) * scale + offset, (absent - 1) * scale + offset]
    weight, bias = fit(*samples)
    probability = [torch.sigmoid(each @ weight[0] + bias) for each in samples]
    assert float((probability[0] > 0.5).float().mean()) > 0.97
    assert float((probability[1] < 0.5).float().mean()) == 1


def test_presence_loss_trains_the_encoder() -> None:
    network = LiteNetwork(LiteConfig())
    torch.nn.init.ones_(network.add_presence().weight)
    matte = torch.zeros(2, 1, 64, 64)
    matte[0, :, 16:48, 16:48] = 1
    out = network(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5)))
    losses = [matting_loss(out, matte, presence_weight=share) for share in (0.0, 0.5)]
    expected = torch.nn.functional.softplus(torch.stack([-out.presence[0], out.presence[1]])).mean()
    torch.testing.assert_close(losses[1] - losses[0], 0.5 * expected)  # cross-entropy of the labels 1 and 0
    (losses[1] - losses[0]).backward()
    assert float(network.encoder.stem.weight.grad.abs().max()) > 0


@torch.no_grad()
def test_rejected_image_has_an_empty_matte() -> None:
    network = LiteNetwork(LiteConfig()).eval()
    image = torch.randn(1, 3, 64, 64)
    layer = network.add_presence()
    layer.weight.zero_()
    matte = {}
    for bias in (-3.0, 3.0):
        layer.bias.fill_(bias)
        matte[bias], _ = Exportable(network, reject_below=0.5)(image)
    assert float(matte[-3.0].max()) < 1e-3
    torch.testing.assert_close(matte[3.0], Exportable(network)(image)[0])


@torch.no_grad()
@pytest.mark.parametrize(("presence", "confidence", "empty"), [(0.2, 0.4, True), (0.2, 0.6, False), (0.4, 0.4, False)])
def test_unsure_image_has_an_empty_matte(presence: float, confidence: float, empty: bool) -> None:
    network = LiteNetwork(LiteConfig()).eval()
    network.add_presence().bias.fill_(math.log(presence / (1 - presence)))
    network.confidence.second.bias.fill_(math.log(confidence / (1 - confidence)))
    matte, _ = Exportable(network, reject_below=0.01, reject_unsure=(0.3, 0.5))(torch.randn(1, 3, 64, 64))
    assert (float(matte.max()) < 1e-3) == empty


@pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export")
@pytest.mark.filterwarnings("ignore:The feature will be removed")  # this and the next one: from inside torch's exporter
@pytest.mark.filterwarnings("ignore:Constant folding")
def test_exported_file_rejects_like_the_network(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    network = LiteNetwork(LiteConfig()).eval()
    layer = network.add_presence()
    torch.manual_seed(2)
    for parameter in (*network.encoder.parameters(), network.head.weight, layer.weight):
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * torch.arange(1, 7).view(6, 1, 1, 1)
    with torch.no_grad():
        logits = layer(channel_maxima(network.encoder(images)[4]))[:, 0]
        layer.bias.sub_(logits.median())  # half of the images are rejected
    export_fp32(network, 64, tmp_path / "network.onnx", reject_below=0.5)
    with torch.no_grad():
        expected = Exportable(network, reject_below=0.5)(images)
    found = ort.InferenceSession(str(tmp_path / "network.onnx")).run(None, {"image": images.numpy()})
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(a), b, atol=2e-4, rtol=0)
    empty = torch.from_numpy(found[0]).amax((1, 2, 3)) < 1e-3
    assert 0 < int(empty.sum()) < 6
