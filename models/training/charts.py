"""Curves and sample sheets as PNG, drawn with OpenCV alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
_COLOURS = ((200, 80, 30), (40, 120, 220), (60, 150, 60), (150, 60, 160), (90, 90, 90))


def curves(path: Path, panels: dict[str, dict[str, Sequence[tuple[float, float]]]]) -> None:
    """Write one panel per entry; each holds named series of (samples seen, value)."""
    width, height, pad = 520, 300, 52
    sheets = []
    for title, series in panels.items():
        sheet = np.full((height, width, 3), 255, np.uint8)
        points = np.array([p for s in series.values() for p in s], np.float64)
        cv2.putText(sheet, title, (pad, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, 16)
        if len(points):
            low, high = points.min(0), points.max(0)
            span = np.maximum(high - low, 1e-9)
            area = np.array([width - pad - 16, height - 2 * pad])
            for share in (0.0, 0.5, 1.0):
                y = int(height - pad - share * area[1])
                cv2.line(sheet, (pad, y), (width - 16, y), (225, 225, 225), 1)
                cv2.putText(
                    sheet,
                    f"{low[1] + share * span[1]:.3f}",
                    (4, y + 4),
                    cv2.FONT_HERSHEY_SIMPLEX,
                    0.4,
                    (80, 80, 80),
                    1,
                    16,
                )
            cv2.putText(
                sheet,
                f"{low[0]:,.0f} to {high[0]:,.0f} samples",
                (pad, height - 30),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.4,
                (80, 80, 80),
                1,
                16,
            )
            for number, (name, values) in enumerate(series.items()):
                colour = _COLOURS[number % len(_COLOURS)]
                at = (np.array(values, np.float64).reshape(-1, 2) - low) / span * area
                line = np.stack([pad + at[:, 0], height - pad - at[:, 1]], 1).astype(np.int32)
                cv2.polylines(sheet, [line], False, colour, 1, 16)
                cv2.putText(
                    sheet, name, (pad + 110 * number, height - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, 16
                )
        sheets.append(sheet)
    cv2.imwrite(str(path), np.vstack(sheets))


def sheet(path: Path, rows: Sequence[Sequence[U8]], cell: int = 160) -> None:
    """Write a grid of RGB or grey pictures, each scaled into a square cell."""
    lines = []
    for row in rows:
        cells = []
        for picture in row:
            rgb = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture
            cells.append(cv2.resize(rgb, (cell, cell), interpolation=cv2.INTER_AREA))
        lines.append(np.hstack(cells))
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))) for line in lines]
    cv2.imwrite(str(path), np.vstack(lines)[..., ::-1])
