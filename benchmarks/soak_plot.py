"""Chart of a soak run: memory, descriptors, threads and responses over minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDE, HIGH, LEFT, TOP, GAP = 900, 150, 60, 30, 50
INK = ((170, 90, 30), (40, 40, 200))


def write(result: dict[str, Any], path: Path) -> None:
    course = np.array(result["course"], float)
    minutes = course[:, 0] / 60
    seconds = np.diff(course[:, 0], prepend=0.0).clip(0.1)
    panels = [
        ("resident memory, MiB", [course[:, 1]]),
        ("descriptors without connections (blue), threads (red)", [course[:, 2], course[:, 3]]),
        (
            "good answers (blue) and refusals (red) a second, over 30 s",
            [_smooth(course[:, n] / seconds) for n in (5, 6)],
        ),
    ]
    canvas = np.full((TOP + len(panels) * (HIGH + GAP), LEFT + WIDE + 20, 3), 255, np.uint8)
    for number, (title, lines) in enumerate(panels):
        _panel(canvas, TOP + number * (HIGH + GAP), title, minutes, lines)
    cv2.imwrite(str(path), canvas, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def _smooth(values: np.ndarray) -> np.ndarray:
    size = min(6, len(values))
    return np.convolve(np.pad(values, (size // 2, size - 1 - size // 2), mode="edge"), np.ones(size) / size, "valid")


def _panel(canvas: np.ndarray, top: int, title: str, x: np.ndarray, lines: Sequence[np.ndarray]) -> None:
    most = max(float(line.max()) for line in lines) * 1.1 or 1.0
    cv2.rectangle(canvas, (LEFT, top), (LEFT + WIDE, top + HIGH), (200, 200, 200), 1)
    _text(canvas, title, (LEFT, top - 8))
    for share in (0.0, 0.5, 1.0):
        _text(canvas, f"{most * share:.0f}", (8, int(top + HIGH * (1 - share)) + 4))
    _text(canvas, f"{x[-1]:.1f} min", (LEFT + WIDE - 55, top + HIGH + 15))
    for line, color in zip(lines, INK, strict=False):
        points = np.stack([LEFT + x / max(x[-1], 1e-9) * WIDE, top + HIGH * (1 - line / most)], axis=1)
        cv2.polylines(canvas, [points.round().astype(np.int32)], False, color, 1, cv2.LINE_AA)


def _text(canvas: np.ndarray, text: str, at: tuple[int, int]) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (60, 60, 60), 1, cv2.LINE_AA)
