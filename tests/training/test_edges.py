"""What the edge model is taught with is what is measured and served; skipped where torch is not installed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is installed for training only")

from app.imaging.guided import upsample  # noqa: E402
from benchmarks.matting_metrics import gradient_magnitude  # noqa: E402
from models.training.edge_data import SIDE, fitted  # noqa: E402
from models.training.edge_losses import gradient, loss_of, steepness  # noqa: E402
from models.training.edge_network import EdgeNetwork  # noqa: E402
from models.training.edges import corrected, tensors  # noqa: E402


@pytest.fixture
def row() -> dict[str, np.ndarray]:
    """A sample as ``edge_data`` stores it, and its picture: blots of colour, a disc as its subject, a soft answer."""
    y, x = np.mgrid[: 2 * SIDE, : 2 * SIDE]
    disc = (255 * (np.hypot(y - 300, x - 350) < 180)).astype(np.uint8)
    raw = cv2.GaussianBlur(cv2.resize(disc, (SIDE, SIDE), interpolation=cv2.INTER_AREA), (0, 0), 3) / np.float32(255)
    blots = np.random.default_rng(2).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    ground, subject = (cv2.resize(each, disc.shape, interpolation=cv2.INTER_CUBIC) for each in blots)
    rgb = np.where(disc[..., None] > 0, subject, ground)
    return {"alpha": disc, "raw": raw.astype(np.float16).astype(np.float32), **fitted(rgb, raw), "rgb": rgb}


def test_the_gradient_is_the_benchmarks() -> None:
    alpha = np.random.default_rng(3).random((128, 192), np.float32)
    wanted = gradient_magnitude(alpha)
    np.testing.assert_allclose(steepness(alpha), wanted, atol=1e-4)
    np.testing.assert_allclose(gradient(torch.from_numpy(alpha)[None, None])[0, 0].numpy(), wanted, atol=1e-4)


def test_what_is_taught_is_what_is_served(row: dict[str, np.ndarray]) -> None:
    torch.manual_seed(1)
    network = EdgeNetwork()
    torch.nn.init.normal_(network.answer.weight, std=0.2)
    rgb = row.pop("rgb")
    batch = {key: plane[None] for key, plane in tensors(row).items()}

    def served(guide: np.ndarray, values: np.ndarray, fit: np.ndarray) -> np.ndarray:
        """Where the service works on a part of the grid only, the network sees no more than that."""
        planes = [guide.transpose(2, 0, 1)[None] / np.float32(255), values[None, None], fit[None, None]]
        with torch.no_grad():
            return network(*(torch.from_numpy(np.ascontiguousarray(plane)) for plane in planes))[0, 0].numpy()

    with torch.no_grad():
        taught = corrected(network, batch)[0, 0].numpy()
        alone = batch["pixels"].clamp(0, 1)[0, 0].numpy()
    found = upsample(row["raw"], rgb, served) / 255
    assert np.abs(taught - alone).mean() > 0.001  # it does something
    assert np.abs(taught - found).mean() < 0.1 * np.abs(taught - alone).mean()


def test_losing_the_subject_costs_more_than_gaining_as_much(row: dict[str, np.ndarray]) -> None:
    row.pop("rgb")
    batch = {key: plane[None] for key, plane in tensors(row).items()}
    fit = batch["pixels"].clamp(0, 1)
    inside = 0.05 * batch["alpha"]
    # The squared error is even and the others nearly so: what is left is the share of the subject that is missing.
    assert loss_of(fit - inside, batch) > loss_of(fit, batch) + 0.1
