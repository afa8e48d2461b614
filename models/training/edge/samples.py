"""Samples that ``edge.data`` wrote, and windows around their edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 192
"""Cells along the side of a training window."""
Planes = dict[str, Tensor]


class Samples:
    """The samples of one part in a folder, in the device's memory."""

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
        """Return the index of the network that made the matte."""
        part, row = self._places[index]
        return int(self._parts[part]["network"][row])

    def __getitem__(self, index: int) -> Planes:
        """Return views of one stored sample."""
        part, row = self._places[index]
        return {key: plane[row] for key, plane in self._parts[part].items() if key != "network"}

    def window(self, index: int, rng: np.random.Generator) -> Planes:
        """Return a window around a random edge of the network's matte or of the true one."""
        row, edges = self[index], self._edges[index]
        free_cells = row["raw"].shape[0] - WINDOW
        corner = [free_cells // 2] * 2
        if len(edges):
            place = edges[int(rng.integers(len(edges)))]
            corner = [int(np.clip(each - rng.integers(20, WINDOW - 20), 0, free_cells)) for each in place]
        return cut(row, *corner, WINDOW)


def places_of(raw: np.ndarray, alpha: np.ndarray, largest: int = 128) -> np.ndarray:
    """Return cells (row, column) on the edge of the network's matte and as many on the true one, i16[n,2]."""
    rng = np.random.default_rng(0)
    step = len(alpha) // len(raw)
    found = [np.argwhere((of > 0.1) & (of < 0.9)) for of in (raw, alpha[::step, ::step] / np.float32(255))]
    drawn = [of[rng.integers(0, len(of), largest)] for of in found if len(of)]
    return np.concatenate(drawn or [np.zeros((0, 2))]).astype(np.int16)


def cut(row: Planes, top: int, left: int, side: int) -> Planes:
    """A square of ``side`` cells out of all planes, of which some have a multiple of the cells."""
    cells = row["raw"].shape[0]
    parts = {}
    for key, plane in row.items():
        scale = plane.shape[0] // cells
        parts[key] = plane[scale * top : scale * (top + side), scale * left : scale * (left + side)]
    return parts


def tensors(rows: list[Planes]) -> dict[str, Tensor]:
    """Return f32[n,c,h,w] each; "plain" is the enlarged matte."""
    made = {key: torch.stack([row[key] for row in rows]).float() for key in rows[0]}
    found = {key: made[key][:, None] for key in ("pixels", "edge")}
    found |= {"matte": made["raw"][:, None], "fit": made["cells"][:, None], "alpha": made["alpha"][:, None] / 255}
    found["rgb"] = made["guide"].permute(0, 3, 1, 2) / 255
    found["plain"] = F.interpolate(found["matte"], found["alpha"].shape[2:], mode="bilinear", align_corners=False)
    return found


def flipped(batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """Mirror and transpose the whole batch at random."""
    flips = [axis for axis, odds in ((2, 0.2), (3, 0.5)) if rng.random() < odds]
    batch = {key: plane.flip(flips) for key, plane in batch.items()}
    return {key: plane.transpose(2, 3) for key, plane in batch.items()} if rng.random() < 0.3 else batch
