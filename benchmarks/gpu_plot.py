"""Charts of the GPU benchmark: session, service and time by stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDE, HIGH, LEFT, TOP, GAP = 760, 220, 70, 40, 70
COLORS = ((170, 90, 30), (40, 40, 200), (60, 150, 60), (160, 60, 160), (30, 150, 200), (90, 90, 90))


def write(figures: Mapping[str, Any], path: Path) -> None:
    """Write the charts of the figures of ``benchmarks.gpu`` as a PNG file."""
    raw = {name: _numbers(rows) for name, rows in figures["raw_images_per_s"].items()}
    service = {
        name: {level: row["images_per_s"] for level, row in rows.items()} for name, rows in figures["service"].items()
    }
    canvas = np.full((TOP + 3 * (HIGH + GAP), LEFT + WIDE + 30, 3), 255, np.uint8)
    _lines(canvas, TOP, "session alone, images/s by batch size", raw)
    _lines(canvas, TOP + HIGH + GAP, "service, images/s by concurrent requests", service)
    _bars(canvas, TOP + 2 * (HIGH + GAP), "one request, ms by stage", figures["stages_ms"])
    cv2.imwrite(str(path), canvas, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def _numbers(rows: Mapping[str, object]) -> dict[str, float]:
    return {key: value for key, value in rows.items() if isinstance(value, float)}


def _lines(canvas: np.ndarray, top: int, title: str, lines: Mapping[str, Mapping[str, float]]) -> None:
    """Draw lines over a logarithmic axis of whole numbers."""
    _text(canvas, title, LEFT, top - 12)
    cv2.rectangle(canvas, (LEFT, top), (LEFT + WIDE, top + HIGH), (200, 200, 200), 1)
    most = max((value for line in lines.values() for value in line.values()), default=1.0) * 1.1
    places = sorted({int(key) for line in lines.values() for key in line})
    right = max(np.log2(max(places, default=1)), 1.0)
    for share in (0.0, 0.5, 1.0):
        _text(canvas, f"{most * share:.0f}", 8, int(top + HIGH * (1 - share)) + 4)
    for place in places:
        _text(canvas, str(place), int(LEFT + np.log2(place) / right * WIDE) - 6, top + HIGH + 16)
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        points = [
            (round(LEFT + np.log2(int(key)) / right * WIDE), round(top + HIGH * (1 - value / most)))
            for key, value in line.items()
        ]
        for point in points:
            cv2.circle(canvas, point, 3, color, -1, cv2.LINE_AA)
        if points:
            cv2.polylines(canvas, [np.array(points, np.int32)], False, color, 1, cv2.LINE_AA)
        _text(canvas, name, LEFT + 12, top + 18 + 16 * number, color)


def _bars(canvas: np.ndarray, top: int, title: str, stages: Mapping[str, float]) -> None:
    _text(canvas, title, LEFT, top - 12)
    most = max(stages.values(), default=1.0) or 1.0
    height = max(1, HIGH // max(1, len(stages)))
    for number, (name, value) in enumerate(stages.items()):
        y = top + number * height
        cv2.rectangle(canvas, (LEFT + 60, y), (LEFT + 60 + round(value / most * 560), y + height - 4), COLORS[0], -1)
        _text(canvas, f"{name} {value:g}", LEFT + 70 + round(value / most * 560), y + height // 2 + 3)


def _text(canvas: np.ndarray, text: str, x: int, y: int, color: tuple[int, int, int] = (60, 60, 60)) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
