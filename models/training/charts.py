"""Training curves and sheets of sample images as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


def curves(path: Path, panels: dict[str, dict[str, Sequence[tuple[float, float]]]]) -> None:
    """Write one panel per entry. Each panel maps a series name to its points (samples seen, value)."""
    figure = Figure(figsize=(6.5, 3 * len(panels)), layout="constrained")
    for axes, (title, series) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True):
        for name, points in series.items():
            axes.plot(*np.array(points, np.float64).reshape(-1, 2).T, label=name)
        axes.set(title=title, xlabel="samples")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=100)


def sheet(path: Path, rows: Sequence[Sequence[U8]], cell: int = 160) -> None:
    """Write a grid of RGB or gray images, each scaled into a square of ``cell`` pixels."""
    lines = []
    for row in rows:
        cells = []
        for image in row:
            rgb = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
            cells.append(cv2.resize(rgb, (cell, cell), interpolation=cv2.INTER_AREA))
        lines.append(np.hstack(cells))
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))) for line in lines]
    cv2.imwrite(str(path), np.vstack(lines)[..., ::-1])
