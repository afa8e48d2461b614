"""Properties of the networks. Needs torch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is installed for training only")

from models.training.config import load_config  # noqa: E402
from models.training.export import Exportable, suppress_uncertain  # noqa: E402
from models.training.lite import LiteConfig, LiteNetwork  # noqa: E402
from models.training.lite import load_exported as load_lite  # noqa: E402
from models.training.losses import matting_loss  # noqa: E402
from models.training.network import Logits, MattingNetwork, NetworkConfig, initial_network, load_exported  # noqa: E402
from models.training.train import rate_at  # noqa: E402

GROWN = NetworkConfig(extra_blocks=(0, 0, 1, 0), context_blocks=1, refine=(0, 1, 1, 1))
CONFIGS = Path(__file__).parents[2] / "models" / "training" / "configs"
DEFAULT = Path(__file__).parents[2] / "models" / "clearcut-s.onnx"


def test_grown_network_computes_the_same() -> None:
    small, large = MattingNetwork(NetworkConfig()), MattingNetwork(GROWN)
    with torch.no_grad():
        large.load_state_dict(small.state_dict(), strict=False)
    image = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(Exportable(large.eval())(image), Exportable(small.eval())(image))


def test_output_has_input_size_and_unit_range() -> None:
    with torch.no_grad():
        matte = Exportable(MattingNetwork(GROWN).eval())(torch.randn(2, 3, 64, 64))
    assert matte.shape == (2, 1, 64, 64)
    assert 0 <= float(matte.min()) <= float(matte.max()) <= 1


def test_batch_equals_single_images() -> None:
    network = Exportable(MattingNetwork(GROWN).eval())
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        singles = torch.cat([network(images[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(network(images), singles, atol=1e-4, rtol=0)


def test_exported_file_can_be_trained_further() -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    config = NetworkConfig(extra_blocks=(0, 0, 1, 0), context_blocks=1, refine=(0, 1, 1, 1))
    own = initial_network(config, seed=1)
    load_exported(own, DEFAULT)
    image = torch.rand(1, 3, 320, 320)
    (expected,) = ort.InferenceSession(str(DEFAULT)).run(None, {"image": image.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(Exportable(own.eval())(image), torch.from_numpy(expected), atol=1e-4, rtol=0)
    larger = MattingNetwork(replace(config, extra_blocks=(1, 2, 1, 0), refine=(1, 2, 1, 1)))
    load_exported(larger, DEFAULT)  # the larger network computes the same
    with torch.no_grad():
        torch.testing.assert_close(Exportable(larger.eval())(image), torch.from_numpy(expected), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match=r"lacks context\.1"):
        load_exported(MattingNetwork(replace(config, context_blocks=2)), DEFAULT)


def test_exported_lite_network_can_be_trained_further(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    network = LiteNetwork(LiteConfig())
    load_lite(network, DEFAULT.with_name("clearcut-m.onnx"))
    image = (torch.rand(1, 3, 384, 384) - 0.5) / 4
    session = ort.InferenceSession(str(DEFAULT.with_name("clearcut-m.onnx")))
    confidence = session.run(["confidence"], {"image": image.numpy()})[0]
    with torch.no_grad():
        found = Exportable(network.eval())(image)[1]
    torch.testing.assert_close(found, torch.from_numpy(confidence), atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="lacks"):
        load_lite(LiteNetwork(LiteConfig(kind="lite1")), DEFAULT.with_name("clearcut-m.onnx"))


def test_uncertain_values_far_from_sure_ones_become_lower() -> None:
    alpha = torch.zeros(1, 1, 192, 192)
    alpha[..., :64, :64] = 1
    alpha[..., :64, 64:76] = 0.5  # an edge
    alpha[..., 128:, 128:] = 0.5
    alpha[..., 128:, :64] = 0.3
    lowered = suppress_uncertain(alpha)
    assert torch.equal(lowered[..., :76, :76], alpha[..., :76, :76])
    assert float(lowered[..., 136:, 136:].max()) == pytest.approx(1 / 6, abs=1e-6)
    assert float(lowered[..., 128:, :64].max()) == 0
    weak = alpha * 0.7  # no confident value
    assert torch.equal(suppress_uncertain(weak), weak)


def test_loss_prefers_true_matte() -> None:
    matte = torch.zeros(2, 1, 64, 64)
    matte[:, :, 16:48, 16:48] = 1
    right = matting_loss(Logits((matte - 0.5) * 40), matte)
    wrong = matting_loss(Logits((0.5 - matte) * 40), matte)
    assert float(right) < 0.01 < float(wrong)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_config_loads_with_decreasing_rate(path: Path) -> None:
    config = load_config(path)
    for stage in config.stages:
        assert stage.size % 64 == 0
        assert rate_at(stage, 0) < stage.rate
        assert rate_at(stage, stage.samples) == pytest.approx(stage.rate_end)
        if stage.seconds < math.inf:
            assert rate_at(stage, stage.warmup, stage.seconds) == pytest.approx(stage.rate_end)


TAUGHT = """
out = "runs/taught"
packs = ["runs/pool"]
teacher = "u2netp.onnx"
taught = ["pseudo", "plain"]
mixture = {pseudo = 0.5, plain = 0.5}
[[stage]]
size = 64
batch = 1
samples = 1
rate = 1e-3
rate_end = 1e-4
warmup = 0
"""


@pytest.mark.parametrize(
    ("text", "replacement", "message"),
    [
        ('teacher = "u2netp.onnx"\n', "", "no teacher"),
        ('"pseudo", "plain"', '"pseudo"', "plain samples"),
        ('taught = ["pseudo"', 'taught = ["drawings"', "drawings"),
    ],
)
def test_samples_without_label_are_refused(tmp_path: Path, text: str, replacement: str, message: str) -> None:
    assert text in TAUGHT
    path = tmp_path / "changed.toml"
    path.write_text(TAUGHT)
    load_config(path)
    path.write_text(TAUGHT.replace(text, replacement))
    with pytest.raises(ValueError, match=message):
        load_config(path)
