"""Trains and exports the edge model, which learns corrections of the guided filter's matte along edges.

    python -m models.training.edge.train --data models/training/runs/edges --out models/clearcut-edges.onnx

The local mean of the model's correction is subtracted, as in the service, so that the model moves edges and does not
change regions. Each training sample is a window around an edge. With ``--teacher`` the mattes of a larger model are a
second target beside the true ones.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clearcut.imaging.matting.edge_correction import BALANCE

from .losses import TILE, errors, gradient, loss_of, missing
from .network import BLOCK, EdgeNetwork, export, exported
from .samples import WINDOW, Samples, cut, flipped, tensors

PHOTOS = 0.4
"""Share of windows from the part of real photos."""
SHARE = 0.85
"""Share of the learned correction that is exported. At 1.0, u2netp's mattes lost 3.9 % more of the subject than with
the guided filter alone; at this value 1.8 %.
"""
NETWORKS = ("clearcut-s int8", "clearcut-s", "u2netp", "clearcut-m")
"""In the order of ``--networks`` of ``edge.data``."""
STEADY = 0.5
"""Final weight of the difference between the outputs for two positions of the blocks. It grows from 0, because a full
weight at the start would keep the output constant."""
TAUGHT = 0.5
"""Weight of the teacher's mattes beside the true ones."""
MARGIN = 32
"""Cells at a window's border that are not compared: the network's receptive field ends there."""


def with_steepness(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        return batch | {"steep": gradient(batch["alpha"]), "steep plain": gradient(batch["plain"])}


def corrected(network: EdgeNetwork, batch: dict[str, Tensor]) -> Tensor:
    """Return the corrected matte at full size, f32[n,1,H,W] in 0..1."""
    return applied(answer(network, batch), batch)


def answer(network: EdgeNetwork, batch: dict[str, Tensor]) -> Tensor:
    added: Tensor = network(batch["rgb"], batch["matte"], batch["fit"])
    return added


def applied(added: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Apply the network's output as the service does where colors do not show the edge."""
    added = added * batch["edge"]
    half = BALANCE // 2
    pair = F.pad(torch.cat([added, batch["edge"]], 1), (half,) * 4, mode="replicate")
    sums, weights = F.avg_pool2d(pair, BALANCE, 1).split(1, 1)
    added = (added - sums / weights.clamp_min(1e-6)) * batch["edge"]
    wide = F.interpolate(added, batch["pixels"].shape[2:], mode="bilinear", align_corners=False)
    return (batch["pixels"] + wide).clamp(0, 1)


@torch.no_grad()
def taught(teacher: EdgeNetwork, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch with the teacher's matte as its truth. An exported teacher applies only ``SHARE``."""
    truth = applied(answer(teacher, batch) / SHARE, batch)
    return batch | {"alpha": truth, "steep": gradient(truth)}


def unsteady(network: EdgeNetwork, added: Tensor, batch: dict[str, Tensor], rng: np.random.Generator) -> Tensor:
    """Return the mean difference in the soft edge to the output for another, random position of the blocks."""
    down, right = (int(each) for each in rng.integers(0, BLOCK, 2))
    side = added.shape[2] - BLOCK
    moved = {key: batch[key][:, :, down : down + side, right : right + side] for key in ("rgb", "matte", "fit")}
    inner = np.s_[..., MARGIN : side - MARGIN, MARGIN : side - MARGIN]
    overlap = np.s_[..., down + MARGIN : down + side - MARGIN, right + MARGIN : right + side - MARGIN]
    edge = batch["edge"][overlap]
    return ((answer(network, moved)[inner] - added[overlap]).abs() * edge).sum() / edge.sum().clamp_min(1)


@torch.no_grad()
def evaluate(network: EdgeNetwork, held: Samples, largest: int) -> str:
    """Return the mean changes by network in percent: SAD, gradient error and MSE against bilinear enlargement, and the
    missing part of the subject against the guided filter alone.
    """
    rows: dict[int, list[list[float]]] = {}
    for index in range(min(largest, len(held))):
        row = held[index]
        if row["alpha"].shape[0] % TILE:
            row = cut(row, 0, 0, WINDOW)
        batch = with_steepness(tensors([row]))
        found = corrected(network, batch)
        pairs = [*errors(found, batch), tuple(each + 1e-4 for each in missing(found, batch))]
        share = [float(ours / other.clamp_min(1e-5)) for ours, other in pairs]
        rows.setdefault(held.network(index), []).append(share)
    changes = {name: 100 * (np.mean(rows[which], axis=0) - 1) for which, name in enumerate(NETWORKS) if which in rows}
    return "; ".join(f"{name} " + " ".join(f"{each:+.1f}" for each in row) for name, row in changes.items())


def report(network: EdgeNetwork, held: list[Samples], largest: int) -> str:
    return " | ".join(evaluate(network, part, largest) for part in held)


def train(
    data: list[Path], steps: int, batch_size: int, start: Path | None, seconds: float, teacher: EdgeNetwork | None
) -> EdgeNetwork:
    """Train for ``steps`` or ``seconds``, whichever ends first, and return the average of the weights.

    The learning rate reaches its end value in both cases. ``start`` is a file of initial weights.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts = [
        [[Samples(folder, f"{which}{part}", device) for part in ("mixed", "photos")] for folder in data]
        for which in ("", "held_")
    ]
    samples, held = parts[0], list(itertools.chain(*parts[1]))
    network = EdgeNetwork()
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore
    if teacher is not None:
        teacher = teacher.to(device, memory_format=torch.channels_last)  # type: ignore
    print(
        f"{[len(each) for each in itertools.chain(*samples)]} samples; initially: {report(network, held, 150)}",
        flush=True,
    )
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
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
        for group in optimizer.param_groups:
            group["lr"] = rate
        windows = []
        drawn = samples[int(rng.integers(0, len(samples)))]
        for _ in range(batch_size):
            part = drawn[int(rng.random() < PHOTOS)]
            windows.append(part.window(int(rng.integers(0, len(part))), rng))
        batch = with_steepness(flipped(tensors(windows), rng))
        added = answer(network, batch)
        found = applied(added, batch)
        loss = loss_of(found, batch) + STEADY * done * unsteady(network, added, batch, rng)
        if teacher is not None:
            loss = loss + TAUGHT * loss_of(found, taught(teacher, batch))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        taken = step + 1
        if time.time() - reported > 300:
            print(f"{taken}: {taken * batch_size / (time.time() - begun):.0f} windows/s", flush=True)
            print(report(average.module, held, 150), flush=True)
            torch.save(average.module.state_dict(), data[0] / "average.pt")
            reported = time.time()
    print(f"{taken} steps in {time.time() - begun:.0f} s; {report(average.module, held, 1 << 20)}", flush=True)
    torch.save(average.module.state_dict(), data[0] / "average.pt")
    return average.module.cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("models/training/runs/edges")])
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after this time")
    parser.add_argument("--start", type=Path, help="initial weights, as a run saves them")
    parser.add_argument("--teacher", type=Path, help="an exported model as teacher")
    parser.add_argument("--export-only", action="store_true", help="only export the weights of the last run")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.export_only:
        network = EdgeNetwork()
        network.load_state_dict(torch.load(arguments.data[0] / "average.pt", map_location="cpu", weights_only=True))
    else:
        teacher = exported(arguments.teacher) if arguments.teacher else None
        network = train(arguments.data, arguments.steps, arguments.batch, arguments.start, arguments.seconds, teacher)
    with torch.no_grad():
        network.answer.weight.mul_(SHARE)
        network.answer.bias.mul_(SHARE)
    export(network, arguments.out)


if __name__ == "__main__":
    main()
