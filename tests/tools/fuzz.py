"""Coverage-guided fuzzing of one target with atheris (libFuzzer): ``make fuzz SECONDS=60``.

The corpus is generated from tests/support/hostile at each run and grows in a temporary folder. Only failing inputs
are stored, in .cache/fuzz, and their paths are printed. The time is split over several processes, because atheris
never frees the memory of its array comparisons.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

FOUND = Path(".cache/fuzz")
LEG_S = 15


def leg(target: str, seconds: int, corpus: str) -> None:
    """Fuzz for this many seconds and exit. The exit code is not 0 if a failure was found."""
    import atheris

    with atheris.instrument_imports(include=["clearcut", "python_multipart"]):
        from tests.support.fuzz_targets import MAX_LEN, TARGETS

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LEN}",
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        f"-artifact_prefix={FOUND}/{target}-",
        "-verbosity=0",
        corpus,
    ]
    atheris.Setup([sys.argv[0], *options], TARGETS[target][0])
    atheris.Fuzz()


def run(target: str, seconds: int) -> int:
    from tests.support.fuzz_targets import TARGETS

    FOUND.mkdir(parents=True, exist_ok=True)
    inputs = 0
    with tempfile.TemporaryDirectory(prefix="clearcut-fuzz-") as corpus:
        for seed in TARGETS[target][1]():
            (Path(corpus) / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
        for begun in range(0, seconds, LEG_S):
            command = [sys.executable, "-m", "tests.tools.fuzz", target, "--corpus", corpus]
            command += ["--seconds", str(min(LEG_S, seconds - begun))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(done.stdout[-4000:], done.stderr[-4000:])
                return 1
            counts = [line.split()[1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
            inputs += int(counts[0])
        kept = len(list(Path(corpus).iterdir()))
    print(f"{target}: {inputs:,} inputs in {seconds} s, {kept} kept for their coverage, none broke anything")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "target",
    )
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", help="of one leg; what this starts itself with")
    args = parser.parse_args()
    if args.corpus:
        leg(args.target, args.seconds, args.corpus)
    return run(args.target, args.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
