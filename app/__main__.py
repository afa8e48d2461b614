"""``python -m app``: the former name of ``python -m clearcut``. It will be removed in the next version."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from clearcut.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
