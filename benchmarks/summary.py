"""One table and one chart of all stored results, and a comparison with earlier results.

    python -m benchmarks.summary            # the table, and results/summary.png
    python -m benchmarks.summary --check    # against the last commit's results; exit 1 on a loss of over 10 %

Only figures that are ratios or bytes are compared, because they mean the same on any machine. ``make bench-check``
first runs the benchmarks that take a minute or two. The others are compared as stored.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import report

ROOT = Path(__file__).resolve().parents[1]
WORST_LOSS = 0.10


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a stored result."""

    what: str
    file: str
    path: tuple[str, ...]
    higher_is_better: bool = True
    target: float | None = None

    def of(self, result: Mapping[str, Any] | None) -> float | None:
        value: Any = result
        for step in self.path:
            if not isinstance(value, Mapping) or step not in value:
                return None
            value = value[step]
        return float(value) if isinstance(value, int | float) else None

    def met(self, value: float) -> bool | None:
        if self.target is None:
            return None
        return value >= self.target if self.higher_is_better else value <= self.target


def _against_rembg(work: str, figure: str, target: float) -> Figure:
    return Figure(f"against rembg: {work}", "vs_rembg", ("work", work, figure), figure == "rate_ratio", target)


FIGURES = (
    _against_rembg("u2netp, 1 MP, 8 at once", "rate_ratio", 1.45),
    _against_rembg("u2netp, 10 MP, 4 at once", "rate_ratio", 3.0),
    _against_rembg("u2netp, 10 MP, one at a time: latency", "latency_ratio", 0.28),
    _against_rembg("default model, 1 MP, 8 at once", "rate_ratio", 9.0),
    _against_rembg("default model, 10 MP, 4 at once", "rate_ratio", 10.0),
    Figure("service over raw session, u2netp", "limit_u2netp", ("service_over_raw",), True, 0.9),
    Figure("p95 over p50 at 70 % of saturation", "scaling", ("at_70_percent", "p95_over_p50"), False, 1.5),
    Figure("goodput at 3x saturation over peak", "scaling", ("at_3x", "goodput_over_peak"), True, 0.97),
    Figure("PNG bytes over Pillow's, 1 MP", "codecs", ("1 MP", "png, ours", "bytes_over_pillow_png"), False, 1.25),
    Figure("PNG bytes over Pillow's, 10 MP", "codecs", ("10 MP", "png, ours", "bytes_over_pillow_png"), False, 1.25),
    Figure("batcher, small tensors: share of ideal", "batcher", ("throughput", "tensors_3x32x32", "share_of_ideal")),
    Figure("batcher, full tensors: share of ideal", "batcher", ("throughput", "tensors_3x320x320", "share_of_ideal")),
    Figure("RSS after 2,000 mixed requests over base", "memory", ("idle_again_over_base",), False, 1.15),
    Figure("color error in soft edges, share of none", "finishing", ("color", "ours", "share_of_none"), False, 0.35),
)


def stored(file: str) -> Mapping[str, Any] | None:
    path = report.RESULTS / f"{file}.json"
    return json.loads(path.read_text()) if path.exists() else None


def committed(file: str) -> Mapping[str, Any] | None:
    """Return the result in the last commit, or None without a result or without git."""
    name = f"HEAD:benchmarks/results/{file}.json"
    shown = subprocess.run(["git", "show", name], cwd=ROOT, capture_output=True, text=True, check=False)
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def gain(figure: Figure, now: float, before: float) -> float:
    """Return how many times better than before. Above 1 is a gain in either direction of the figure."""
    if now <= 0 or before <= 0:
        return 1.0
    return now / before if figure.higher_is_better else before / now


def losses(now: Mapping[Figure, float | None], before: Mapping[Figure, float | None]) -> Iterator[str]:
    for figure in FIGURES:
        new, old = now.get(figure), before.get(figure)
        if new is None and old is not None:
            yield f"{figure.what}: not there any more, was {old:g}"
        elif new is not None and old is not None and gain(figure, new, old) < 1 - WORST_LOSS:
            yield f"{figure.what}: {new:g}, was {old:g} ({gain(figure, new, old):.2f} of it)"


def plot(values: Mapping[Figure, float | None]) -> np.ndarray:
    """Return a bar chart u8[H,W,3] of each figure with a target. The line marks the target."""
    rows = [(f, gain(f, v, f.target)) for f, v in values.items() if v is not None and f.target is not None]
    canvas = np.full((30 + 26 * len(rows), 900, 3), 255, np.uint8)
    full, left = 300, 420
    for place, (figure, share) in enumerate(rows):
        top = 12 + 26 * place
        color = (120, 160, 60) if share >= 1 else (60, 90, 220)
        cv2.rectangle(canvas, (left, top), (left + round(full * min(share, 1.5)), top + 18), color, -1)
        cv2.putText(canvas, figure.what, (8, top + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        text = f"{values[figure]:g}"
        cv2.putText(canvas, text, (left + 6, top + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255,) * 3, 1, cv2.LINE_AA)
    cv2.line(canvas, (left + full, 6), (left + full, canvas.shape[0] - 12), (0, 0, 0), 1)
    return canvas


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    now = {figure: figure.of(stored(figure.file)) for figure in FIGURES}
    before = {figure: figure.of(committed(figure.file)) for figure in FIGURES} if args.check else {}
    for figure, value in now.items():
        text = "not measured" if value is None else f"{value:.3g}"
        target = "" if figure.target is None else f"{'>=' if figure.higher_is_better else '<='} {figure.target:g}"
        met = None if value is None else figure.met(value)
        verdict = {True: "met", False: "MISSED", None: ""}[met]
        was = before.get(figure)
        print(f"{figure.what:<46}{text:>14}  {target:<9}{verdict:<8}" + (f"was {was:.3g}" if was is not None else ""))
    if not args.check:
        cv2.imwrite(str(report.RESULTS / "summary.png"), plot(now))
        return 0
    lost = list(losses(now, before))
    for line in lost:
        print(f"LOSS {line}", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
