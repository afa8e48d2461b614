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

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.imaging.guided import BALANCE

from .edge_losses import errors, gradient, loss_of, missing
from .edge_network import BLOCK, EdgeNetwork, export

WINDOW = 192
"""Cells along the side of a training window."""
Planes = dict[str, Tensor]
PHOTOS = 0.4
"""Share of windows from the part of real photos."""
SHARE = 0.85
"""Of the learnt correction that is exported. Of the model that is served: with u2netp's mattes of held-out composites
3.9 % more of the subject was missing with the whole than with the guided fit alone, 1.8 % with this; SAD is half a
point lower, gradient error half a point higher.
"""
NETWORKS = ("clearcut-s int8", "clearcut-s", "u2netp", "starter")
"""As they are given to ``edge_data``."""
STEADY = 2.0
"""Weight, at the end, of the difference in the soft edge between the answers to two positions of the blocks. It grows
from nothing: from the beginning on it would hold the network at saying the same everywhere."""
MARGIN = 32
"""Cells at a window's rim that are not compared: farther in the network does not see it."""


class Samples:
    """The parts that ``edge_data`` wrote, in the device's memory."""

    def __init__(self, folder: Path, name: str, device: torch.device):
        self._parts: list[dict[str, Tensor]] = []
        self._places: list[tuple[int, int]] = []
        self._edges: list[np.ndarray] = []
        for path in sorted(folder.glob(f"{name}-*.npz")):
            with np.load(path) as file:
                planes = {key: file[key] for key in file.files}
            self._edges += [places_of(raw, alpha) for raw, alpha in zip(planes["raw"], planes["alpha"], strict=True)]
            self._places += [(len(self._parts), row) for row in range(len(planes["raw"]))]
            self._parts.append({key: torch.from_numpy(plane).to(device) for key, plane in planes.items()})

    def __len__(self) -> int:
        return len(self._places)

    def network(self, index: int) -> int:
        """Whose matte it is, by the order given to ``edge_data``."""
        part, row = self._places[index]
        return int(self._parts[part]["network"][row])

    def __getitem__(self, index: int) -> Planes:
        """One sample as it is stored, views of it."""
        part, row = self._places[index]
        return {key: plane[row] for key, plane in self._parts[part].items() if key != "network"}

    def window(self, index: int, rng: np.random.Generator) -> Planes:
        """A part of a sample around some edge, the network's or the true one."""
        row, edges = self[index], self._edges[index]
        room = row["raw"].shape[0] - WINDOW
        corner = [room // 2] * 2
        if len(edges):
            place = edges[int(rng.integers(len(edges)))]
            corner = [int(np.clip(each - rng.integers(20, WINDOW - 20), 0, room)) for each in place]
        return cut(row, *corner, WINDOW)


def places_of(raw: np.ndarray, alpha: np.ndarray, most: int = 128) -> np.ndarray:
    """Some cells (row, column) on the edge of the network's matte and as many on the true one, i16[n,2]."""
    rng = np.random.default_rng(0)
    found = [np.argwhere((of > 0.1) & (of < 0.9)) for of in (raw, alpha[::2, ::2] / np.float32(255))]
    drawn = [of[rng.integers(0, len(of), most)] for of in found if len(of)]
    return np.concatenate(drawn or [np.zeros((0, 2))]).astype(np.int16)


def cut(row: Planes, top: int, left: int, side: int) -> Planes:
    """A square of ``side`` cells out of all planes, of which some have twice as many pixels as cells."""
    cells = row["raw"].shape[0]
    parts = {}
    for key, plane in row.items():
        scale = plane.shape[0] // cells
        parts[key] = plane[scale * top : scale * (top + side), scale * left : scale * (left + side)]
    return parts


def tensors(rows: list[Planes]) -> dict[str, Tensor]:
    """f32[n,c,h,w] each; "plain" is the matte enlarged."""
    made = {key: torch.stack([row[key] for row in rows]).float() for key in rows[0]}
    found = {key: made[key][:, None] for key in ("pixels", "edge")}
    found |= {"matte": made["raw"][:, None], "fit": made["cells"][:, None], "alpha": made["alpha"][:, None] / 255}
    found["rgb"] = made["guide"].permute(0, 3, 1, 2) / 255
    found["plain"] = F.interpolate(found["matte"], scale_factor=2, mode="bilinear", align_corners=False)
    return found


def turned(batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """All of a batch mirrored and turned, or not."""
    flips = [axis for axis, odds in ((2, 0.2), (3, 0.5)) if rng.random() < odds]
    batch = {key: plane.flip(flips) for key, plane in batch.items()}
    return {key: plane.transpose(2, 3) for key, plane in batch.items()} if rng.random() < 0.3 else batch


def with_steepness(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        return batch | {"steep": gradient(batch["alpha"]), "steep plain": gradient(batch["plain"])}


def corrected(network: EdgeNetwork, batch: dict[str, Tensor]) -> Tensor:
    """The matte at full size, f32[n,1,2h,2w] in 0..1."""
    return applied(answer(network, batch), batch)


def answer(network: EdgeNetwork, batch: dict[str, Tensor]) -> Tensor:
    added: Tensor = network(batch["rgb"], batch["matte"], batch["fit"])
    return added


def applied(added: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """What the service does with the network's answer."""
    added = added * batch["edge"]
    half = BALANCE // 2
    pair = F.pad(torch.cat([added, batch["edge"]], 1), (half,) * 4, mode="replicate")
    sums, weights = F.avg_pool2d(pair, BALANCE, 1).split(1, 1)
    added = (added - sums / weights.clamp_min(1e-6)) * batch["edge"]
    wide = F.interpolate(added, scale_factor=2, mode="bilinear", align_corners=False)
    return (batch["pixels"] + wide).clamp(0, 1)


def unsteady(network: EdgeNetwork, added: Tensor, batch: dict[str, Tensor], rng: np.random.Generator) -> Tensor:
    """How far the answer depends on where the blocks fall: the mean difference to another position in the soft edge."""
    down, right = (int(each) for each in rng.integers(0, BLOCK, 2))
    side = added.shape[2] - BLOCK
    moved = {key: batch[key][:, :, down : down + side, right : right + side] for key in ("rgb", "matte", "fit")}
    inner = np.s_[..., MARGIN : side - MARGIN, MARGIN : side - MARGIN]
    here = np.s_[..., down + MARGIN : down + side - MARGIN, right + MARGIN : right + side - MARGIN]
    edge = batch["edge"][here]
    return ((answer(network, moved)[inner] - added[here]).abs() * edge).sum() / edge.sum().clamp_min(1)


@torch.no_grad()
def evaluate(network: EdgeNetwork, held: Samples, most: int) -> str:
    """By network, in per cent: the mean change of SAD, gradient error and MSE against bilinear, and of what is missing
    of the subject against the guided fit alone.
    """
    rows: dict[int, list[list[float]]] = {}
    for index in range(min(most, len(held))):
        batch = with_steepness(tensors([held[index]]))
        found = corrected(network, batch)
        pairs = [*errors(found, batch), tuple(each + 1e-4 for each in missing(found, batch))]
        share = [float(ours / other.clamp_min(1e-5)) for ours, other in pairs]
        rows.setdefault(held.network(index), []).append(share)
    tell = {name: 100 * (np.mean(rows[which], axis=0) - 1) for which, name in enumerate(NETWORKS) if which in rows}
    return "; ".join(f"{name} " + " ".join(f"{each:+.1f}" for each in row) for name, row in tell.items())


def told(network: EdgeNetwork, held: list[Samples], most: int) -> str:
    return " | ".join(evaluate(network, part, most) for part in held)


def train(data: Path, steps: int, batch_size: int, start: Path | None, seconds: float) -> EdgeNetwork:
    """The average of the weights after ``steps``, begun from the file ``start`` if there is one; done sooner, the rate
    fallen as far, after ``seconds``.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    samples, held = (
        [Samples(data, f"{which}{part}", device) for part in ("mixed", "photos")] for which in ("", "held_")
    )
    network = EdgeNetwork()
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore
    print(f"{[len(each) for each in samples]} samples; at first: {told(network, held, 150)}", flush=True)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    begun = reported = time.time()
    taken = 0
    for step in range(steps):
        done = max(step / steps, (time.time() - begun) / seconds)
        if done >= 1:
            break
        rate = 1.5e-3 * min(1.0, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        windows = []
        for _ in range(batch_size):
            drawn = samples[int(rng.random() < PHOTOS)]
            windows.append(drawn.window(int(rng.integers(0, len(drawn))), rng))
        batch = with_steepness(turned(tensors(windows), rng))
        added = answer(network, batch)
        loss = loss_of(applied(added, batch), batch) + STEADY * done * unsteady(network, added, batch, rng)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        taken = step + 1
        if time.time() - reported > 300:
            print(f"{taken}: {taken * batch_size / (time.time() - begun):.0f} windows/s", flush=True)
            print(told(average.module, held, 150), flush=True)
            torch.save(average.module.state_dict(), data / "average.pt")
            reported = time.time()
    print(f"{taken} steps in {time.time() - begun:.0f} s; {told(average.module, held, 1 << 20)}", flush=True)
    torch.save(average.module.state_dict(), data / "average.pt")
    return average.module.cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("models/training/runs/edges"))
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--start", type=Path, help="weights to begin from, as a run saves them")
    parser.add_argument("--export-only", action="store_true", help="export what the last run saved")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.export_only:
        network = EdgeNetwork()
        network.load_state_dict(torch.load(arguments.data / "average.pt", map_location="cpu", weights_only=True))
    else:
        network = train(arguments.data, arguments.steps, arguments.batch, arguments.start, arguments.seconds)
    with torch.no_grad():
        network.answer.weight.mul_(SHARE)
        network.answer.bias.mul_(SHARE)
    export(network, arguments.out)


if __name__ == "__main__":
    main()
