"""How long does one picture take on one core, next to other networks? Paired: the networks take turns.

    python -m models.training.latency u2netp.onnx models/clearcut-s.onnx

Prints the median milliseconds of each, and the median of the ratios to the first, round by round:
whatever else the machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .teacher import session


def measure(models: list[Path], rounds: int) -> NDArray[np.float64]:
    """Seconds f64[rounds, models], one thread, batch 1, on random input."""
    rng = np.random.default_rng(0)
    ready = []
    for path in models:
        model = session(path, 1)
        node = model.get_inputs()[0]
        size = int(node.shape[-1])
        ready.append((model, {node.name: rng.standard_normal((1, 3, size, size), dtype=np.float32)}))
    times = np.zeros((rounds + 1, len(ready)))
    for row in times:
        for column, (model, feed) in enumerate(ready):
            start = time.perf_counter()
            model.run(None, feed)
            row[column] = time.perf_counter() - start
    return times[1:]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Paired one-core latency of ONNX networks.")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    times = measure(args.models, args.rounds)
    ratio = np.median(times / times[:, :1], axis=0)
    for path, row, share in zip(args.models, times.T, ratio, strict=True):
        print(f"{path.name}: median {np.median(row) * 1e3:.1f} ms, fastest {row.min() * 1e3:.1f} ms, ratio {share:.3f}")


if __name__ == "__main__":
    main()
