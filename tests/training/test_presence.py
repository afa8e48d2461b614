"""The output that estimates whether an image has a subject. Needs torch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is installed for training only")

from models.training.export import Exportable  # noqa: E402
from models.training.lite import LiteConfig, LiteNetwork  # noqa: E402
from models.training.presence import fit  # noqa: E402


def test_fit_separates_classes_of_unequal_size() -> None:
    noise = torch.randn(220, 8, generator=torch.Generator().manual_seed(1))
    present, absent = noise[:200] + 1.5, noise[200:] * 3 - 1.5
    weight, bias = fit(present, absent)
    chance = [torch.sigmoid(x @ weight[0] + bias) for x in (present, absent)]
    assert float((chance[0] > 0.5).float().mean()) > 0.95
    assert float((chance[1] < 0.5).float().mean()) > 0.85


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
