"""Training data and losses of the edge model match the benchmark and the service. Needs torch."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is installed for training only")

from clearcut.imaging.matting.guided_filter import upsample  # noqa: E402
from models.scoring.matting import gradient_magnitude  # noqa: E402
from models.training.edge.data import fitted  # noqa: E402
from models.training.edge.losses import gradient, loss_of  # noqa: E402
from models.training.edge.network import EdgeNetwork, export, exported  # noqa: E402
from models.training.edge.samples import Planes, cut, tensors  # noqa: E402
from models.training.edge.train import SHARE, applied, corrected, taught, unsteady, with_steepness  # noqa: E402

SIDE = 320


@pytest.fixture
def row() -> dict[str, np.ndarray]:
    """Return a sample as ``edge.data`` stores it, and its image: color blots, a disc as the subject, a soft matte."""
    y, x = np.mgrid[: 2 * SIDE, : 2 * SIDE]
    disc = (255 * (np.hypot(y - 300, x - 350) < 180)).astype(np.uint8)
    raw = cv2.GaussianBlur(cv2.resize(disc, (SIDE, SIDE), interpolation=cv2.INTER_AREA), (0, 0), 3) / np.float32(255)
    blots = np.random.default_rng(2).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    background, subject = (cv2.resize(each, disc.shape, interpolation=cv2.INTER_CUBIC) for each in blots)
    rgb = np.where(disc[..., None] > 0, subject, background)
    return {"alpha": disc, "raw": raw.astype(np.float16).astype(np.float32), **fitted(rgb, raw, 2), "rgb": rgb}


def planes(row: dict[str, np.ndarray]) -> Planes:
    return {key: torch.from_numpy(plane) for key, plane in row.items() if key != "rgb"}


def test_gradient_equals_benchmark() -> None:
    alpha = np.random.default_rng(3).random((128, 192), np.float32)
    expected = gradient_magnitude(alpha)
    np.testing.assert_allclose(gradient(torch.from_numpy(alpha)[None, None])[0, 0].numpy(), expected, atol=1e-4)


def test_training_matches_service(row: dict[str, np.ndarray]) -> None:
    torch.manual_seed(1)
    network = EdgeNetwork()
    torch.nn.init.normal_(network.answer.weight, std=0.2)
    rgb = row["rgb"]
    batch = tensors([planes(row)])

    def served(guide: np.ndarray, values: np.ndarray, fit: np.ndarray) -> np.ndarray:
        """Where the service works on a part of the grid, the network sees only that part."""
        planes = [guide.transpose(2, 0, 1)[None] / np.float32(255), values[None, None], fit[None, None]]
        with torch.no_grad():
            return network(*(torch.from_numpy(np.ascontiguousarray(plane)) for plane in planes))[0, 0].numpy()

    with torch.no_grad():
        taught = corrected(network, batch)[0, 0].numpy()
        alone = batch["pixels"].clamp(0, 1)[0, 0].numpy()
    found = upsample(row["raw"], rgb, served) / 255
    assert np.abs(taught - alone).mean() > 0.001  # the network changes the matte
    assert np.abs(taught - found).mean() < 0.1 * np.abs(taught - alone).mean()


def test_losing_subject_costs_more_than_gaining(row: dict[str, np.ndarray]) -> None:
    batch = with_steepness(tensors([planes(row)]))
    fit = batch["pixels"].clamp(0, 1)
    inside = 0.05 * batch["alpha"]
    # The squared error is even and the other terms nearly so. The remainder is the missing share of the subject.
    assert loss_of(fit - inside, batch) > loss_of(fit, batch) + 0.1


def test_window_is_part_of_its_sample(row: dict[str, np.ndarray]) -> None:
    whole, part = tensors([planes(row)]), tensors([cut(planes(row), 40, 12, 64)])
    for key in ("alpha", "pixels"):
        torch.testing.assert_close(part[key], whole[key][..., 80:208, 24:152])
    for key in ("rgb", "matte", "fit", "edge"):
        torch.testing.assert_close(part[key], whole[key][..., 40:104, 12:76])


def test_unsteady_mattes_are_detected(row: dict[str, np.ndarray]) -> None:
    torch.manual_seed(1)
    batch = tensors([cut(planes(row), 60, 60, 192)])

    class Waves(torch.nn.Module):
        """Return ripples of four columns, fixed to the image or to the blocks."""

        def __init__(self, fixed: bool):
            super().__init__()
            self.fixed = fixed

        def forward(self, rgb: torch.Tensor, matte: torch.Tensor, fit: torch.Tensor) -> torch.Tensor:
            return rgb[:, :1] if self.fixed else torch.arange(matte.shape[3]).remainder(4).expand_as(matte) / 4

    rng = np.random.default_rng(4)  # moves by a few columns
    for network, steady in ((Waves(True), True), (Waves(False), False)):
        added = network(batch["rgb"], batch["matte"], batch["fit"])
        gap = max(float(unsteady(network, added, batch, rng)) for _ in range(4))
        assert (gap == 0) == steady


def test_constant_network_output_changes_nothing(row: dict[str, np.ndarray]) -> None:
    batch = tensors([planes(row)])
    found = applied(torch.full_like(batch["edge"], 0.3), batch)
    torch.testing.assert_close(found, batch["pixels"].clamp(0, 1), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")
def test_exported_network_can_be_loaded(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = EdgeNetwork(8, (3, 5))
    torch.nn.init.normal_(network.answer.weight)
    export(network, tmp_path / "edges.onnx")
    again = exported(tmp_path / "edges.onnx")
    planes = [torch.rand(1, channels, 16, 24) for channels in (3, 1, 1)]
    with torch.no_grad():
        torch.testing.assert_close(again(*planes), network(*planes), atol=1e-4, rtol=0)


def test_teacher_matte_replaces_true_matte(row: dict[str, np.ndarray]) -> None:
    torch.manual_seed(1)
    teacher = EdgeNetwork()
    torch.nn.init.normal_(teacher.answer.weight, std=0.2)
    batch = with_steepness(tensors([planes(row)]))
    found = corrected(teacher, batch).detach()
    with torch.no_grad():  # as exported
        teacher.answer.weight.mul_(SHARE)
    lesson = taught(teacher, batch)
    torch.testing.assert_close(lesson["alpha"], found, atol=1e-4, rtol=0)
    assert loss_of(found, lesson) < 0.02 < loss_of(found, batch)
