"""Coverage-guided fuzzing of one target with atheris (libFuzzer): ``make fuzz SECONDS=60``.

The corpus is made from the generators of tests/hostile at each run and grows in a temporary folder; nothing is stored
but an input that breaks something, which is written to .cache/fuzz and whose path is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["app", "python_multipart"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    run, seeds = TARGETS[args.target]
    corpus = Path(tempfile.mkdtemp(prefix="clearcut-fuzz-"))
    for seed in seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    found = Path(".cache/fuzz")
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={args.seconds}",
        "-max_len=32768",
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        f"-artifact_prefix={found}/{args.target}-",
        "-verbosity=0",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
