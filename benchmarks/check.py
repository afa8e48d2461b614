"""Compare the working tree with a commit: both run the quick benchmarks alternately on the same machine.

Stored results of another day would also show how busy the machine was then. The commit is checked out into
build/bench-base. Fails if a figure of the working tree is more than 10 % worse in all rounds.

    python -m benchmarks.check [--base COMMIT] [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.summary import FIGURES, ROOT, Figure, gain

QUICK = ("batcher", "codecs", "scaling")
BASE = ROOT / "build" / "bench-base"
WORST_LOSS = 0.10
Values = dict[Figure, float]
Round = tuple[Values, Values]
"""The figures of the commit and of the working tree."""


def check_out(commit: str) -> None:
    """Check ``commit`` out into ``BASE``."""
    remove_base()
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(BASE), commit], cwd=ROOT, check=True)


def remove_base() -> None:
    if BASE.exists():
        subprocess.run(["git", "worktree", "remove", "--force", str(BASE)], cwd=ROOT, check=True)
    subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)


def run(tree: Path, benchmark: str) -> Values:
    """Run a benchmark of a tree and return its figures."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tree / "app"), str(tree)])}
    command = [sys.executable, "-m", f"benchmarks.{benchmark}"]
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((tree / "benchmarks" / "results" / f"{benchmark}.json").read_text())
    found = {figure: figure.of(result) for figure in FIGURES if figure.file == benchmark}
    return {figure: value for figure, value in found.items() if value is not None}


def rounds(benchmark: str, count: int, run: Callable[[Path, str], Values] = run) -> list[Round]:
    """Run a benchmark in both trees ``count`` times; the tree that goes first alternates."""
    done: list[Round] = []
    for number in range(count):
        order = (BASE, ROOT) if number % 2 == 0 else (ROOT, BASE)
        values = {tree: run(tree, benchmark) for tree in order}
        done.append((values[BASE], values[ROOT]))
    return done


def losses(done: Sequence[Round]) -> list[str]:
    """Return a line for each figure that is missing now, or more than 10 % worse in every round."""
    lines = []
    for figure in done[0][0]:
        if any(figure not in now for _, now in done):
            lines.append(f"{figure.what}: missing")
            continue
        gains = [gain(figure, now[figure], base[figure]) for base, now in done if figure in base]
        if max(gains) < 1 - WORST_LOSS:
            lines.append(f"{figure.what}: {', '.join(f'{each:.2f}' for each in gains)} of the commit's")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HEAD", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=QUICK, help="run one benchmark")
    args = parser.parse_args()
    check_out(args.base)
    lost: list[str] = []
    try:
        for benchmark in [args.only] if args.only else QUICK:
            done = rounds(benchmark, args.rounds)
            for figure in done[0][0]:
                pairs = [f"{now.get(figure, float('nan')):.3g} / {base[figure]:.3g}" for base, now in done]
                print(f"{figure.what:<46}now / before: {', '.join(pairs)}", flush=True)
            lost += losses(done)
    finally:
        remove_base()
    for line in lost:
        print(f"LOSS {line}", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
