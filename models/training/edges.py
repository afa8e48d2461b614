"""The edge model: learns what to add to a guided fit so that edges lie where they are, and exports itself.

    python -m models.training.edges --data models/training/runs/edges --out models/clearcut-edges.onnx

What the model (``edge_network``) adds around a cell on average is taken out again, as in ``imaging.guided``: it moves
edges and does not judge regions, so that it cannot be wrong about the subject. It learns a window around an edge at a
time; the losses are in ``edge_losses``.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.imaging.guided import BALANCE

from .edge_losses import errors, loss_of, missing, steepness
from .edge_network import EdgeNetwork, export

WINDOW = 192
"""Cells along the side of a training window."""
Row = dict[str, np.ndarray]
PHOTOS = 0.4
"""Share of windows from the part of real photos."""
SHARE = 0.85
"""Of the learnt correction that is exported. With u2netp's mattes of held-out composites 3.9 % more of the subject was
missing with the whole than with the guided fit alone, 1.8 % with this; SAD is half a point lower, gradient error half a
point higher."""
NETWORKS = ("clearcut-s", "u2netp", "starter")


class Samples:
    """The parts that ``edge_data`` wrote, in memory."""

    def __init__(self, folder: Path, name: str):
        paths = sorted(folder.glob(f"{name}-*.npz"))
        self._parts = [{key: file[key] for key in file.files} for file in map(np.load, paths)]
        self._places = [(part, row) for part, planes in enumerate(self._parts) for row in range(len(planes["raw"]))]

    def __len__(self) -> int:
        return len(self._places)

    def network(self, index: int) -> int:
        """Whose matte it is, by the order given to ``edge_data``."""
        part, row = self._places[index]
        return int(self._parts[part]["network"][row])

    def __getitem__(self, index: int) -> Row:
        """One sample as it is stored, views of it."""
        part, place = self._places[index]
        return {key: plane[place] for key, plane in self._parts[part].items() if key != "network"}


def tensors(row: Row) -> dict[str, Tensor]:
    """f32[c,h,w] each; "plain" is the matte enlarged."""
    raw, size = row["raw"].astype(np.float32), row["alpha"].shape[::-1]
    planes = {
        "alpha": (row["alpha"] / np.float32(255)).astype(np.float32),
        "matte": raw,
        "plain": cv2.resize(raw, size, interpolation=cv2.INTER_LINEAR),
        "fit": row["cells"],
        "pixels": row["pixels"],
        "edge": row["edge"],
    }
    planes["steep"], planes["steep plain"] = steepness(planes["alpha"]), steepness(planes["plain"])
    found = {key: torch.from_numpy(plane.astype(np.float32))[None] for key, plane in planes.items()}
    found["rgb"] = torch.from_numpy(row["guide"].transpose(2, 0, 1) / np.float32(255))
    return found


def window(row: Row, rng: np.random.Generator) -> dict[str, Tensor]:
    """A part of a sample around some edge, the network's or the true one, turned or mirrored."""
    of = row["raw"] if rng.random() < 0.5 else row["alpha"][::2, ::2] / np.float32(255)
    rows, columns = np.nonzero((of > 0.1) & (of < 0.9))
    room = of.shape[0] - WINDOW
    corner = [room // 2] * 2
    if len(rows):
        place = int(rng.integers(len(rows)))
        corner = [int(np.clip(at[place] - rng.integers(20, WINDOW - 20), 0, room)) for at in (rows, columns)]
    cut = {}
    for key, plane in row.items():
        top, left, side = (each * plane.shape[0] // of.shape[0] for each in (*corner, WINDOW))
        cut[key] = plane[top : top + side, left : left + side]
    flips = [axis for axis, odds in ((1, 0.2), (2, 0.5)) if rng.random() < odds]
    turned = rng.random() < 0.3
    made = {key: plane.flip(flips) for key, plane in tensors(cut).items()}
    return {key: plane.transpose(1, 2) for key, plane in made.items()} if turned else made


def corrected(network: EdgeNetwork, batch: dict[str, Tensor]) -> Tensor:
    """The matte at full size, f32[n,1,2h,2w] in 0..1."""
    added = network(batch["rgb"], batch["matte"], batch["fit"]) * batch["edge"]
    half = BALANCE // 2
    pair = F.pad(torch.cat([added, batch["edge"]], 1), (half,) * 4, mode="replicate")
    sums, weights = F.avg_pool2d(pair, BALANCE, 1).split(1, 1)
    added = (added - sums / weights.clamp_min(1e-6)) * batch["edge"]
    wide = F.interpolate(added, scale_factor=2, mode="bilinear", align_corners=False)
    return (batch["pixels"] + wide).clamp(0, 1)


@torch.no_grad()
def evaluate(network: EdgeNetwork, held: Samples, most: int) -> str:
    """By network, in per cent: the mean change of SAD, gradient error and MSE against bilinear, and of what is missing
    of the subject against the guided fit alone.
    """
    rows: dict[int, list[list[float]]] = {}
    for index in range(min(most, len(held))):
        batch = {key: plane[None] for key, plane in tensors(held[index]).items()}
        found = corrected(network, batch)
        pairs = [*errors(found, batch), tuple(each + 1e-4 for each in missing(found, batch))]
        share = [float(ours / other.clamp_min(1e-5)) for ours, other in pairs]
        rows.setdefault(held.network(index), []).append(share)
    tell = {name: 100 * (np.mean(rows[which], axis=0) - 1) for which, name in enumerate(NETWORKS) if which in rows}
    return "; ".join(f"{name} " + " ".join(f"{each:+.1f}" for each in row) for name, row in tell.items())


def told(network: EdgeNetwork, held: list[Samples], most: int) -> str:
    return " | ".join(evaluate(network, part, most) for part in held)


def train(data: Path, steps: int, batch_size: int, start: Path | None) -> EdgeNetwork:
    """The average of the weights after ``steps``, begun from the file ``start`` if there is one."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    samples, held = ([Samples(data, f"{which}{part}") for part in ("mixed", "photos")] for which in ("", "held_"))
    network = EdgeNetwork()
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True))
    network = network.to(memory_format=torch.channels_last)
    print(f"{[len(each) for each in samples]} samples; at first: {told(network, held, 150)}", flush=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    begun = time.time()
    for step in range(steps):
        rate = 1.5e-3 * min(1.0, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        windows = []
        for _ in range(batch_size):
            drawn = samples[int(rng.random() < PHOTOS)]
            windows.append(window(drawn[int(rng.integers(0, len(drawn)))], rng))
        batch = {key: torch.stack([each[key] for each in windows]) for key in windows[0]}
        loss = loss_of(corrected(network, batch), batch)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        if (step + 1) % 500 == 0 or step + 1 == steps:
            speed = (step + 1) * batch_size / (time.time() - begun)
            tell = told(average.module, held, 150 if step + 1 < steps else 1 << 20)
            print(f"{step + 1}: {speed:.0f} windows/s, {tell}", flush=True)
            torch.save(average.module.state_dict(), data / "average.pt")
    return average.module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("models/training/runs/edges"))
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--start", type=Path, help="weights to begin from, as a run saves them")
    parser.add_argument("--export-only", action="store_true", help="export what the last run saved")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.export_only:
        network = EdgeNetwork()
        network.load_state_dict(torch.load(arguments.data / "average.pt", weights_only=True))
    else:
        network = train(arguments.data, arguments.steps, arguments.batch, arguments.start)
    with torch.no_grad():
        network.answer.weight.mul_(SHARE)
        network.answer.bias.mul_(SHARE)
    export(network, arguments.out)


if __name__ == "__main__":
    main()
