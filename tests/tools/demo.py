"""``make demo``: cut out sample photos with curl on a server started for it.

The photos are public domain (NASA's portrait of Eileen Collins; the cat Chelsea by Stefan van der Walt, CC0; a coffee
cup by Rachel Michetti, CC0), from scikit-image.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from tests.support.live_server import served

OUT = Path("demo")
PHOTOS = {"astronaut": data.astronaut, "cat": data.chelsea, "coffee": data.coffee}


def main() -> int:
    OUT.mkdir(exist_ok=True)
    pairs = []
    with served() as server:
        for name, photo in PHOTOS.items():
            before = photo()[..., ::-1]
            source, result, headers = (OUT / f"{name}.{kind}" for kind in ("jpg", "png", "headers.txt"))
            cv2.imwrite(str(source), before)
            command = [
                "curl", "-sS", "--fail-with-body", "-D", str(headers), "-o", str(result),
                "-w", "%{http_code} in %{time_total} s", "-F", f"image_file=@{source}", f"{server.base_url}/v1/remove",
            ]  # fmt: skip
            print("$", " ".join(command))
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(headers.read_text())
            pairs.append((before, cv2.imread(str(result), cv2.IMREAD_UNCHANGED)))
    sheet = OUT / "before-after.png"
    cv2.imwrite(str(sheet), before_after(pairs))
    print(f"Written: {sheet} and the cut-outs beside it. The server has stopped.")
    return 0


def before_after(pairs: list[tuple[np.ndarray, np.ndarray]], height: int = 300) -> np.ndarray:
    """Return one column per photo: the original (u8[H,W,3] BGR) above its cut-out (u8[H,W,4] BGRA)."""
    columns = []
    for before, after in pairs:
        alpha = after[..., 3:].astype(np.float32) / 255
        shown = (after[..., :3] * alpha + _chequers(*after.shape[:2]) * (1 - alpha)).astype(np.uint8)
        width = round(before.shape[1] * height / before.shape[0])
        rows = [cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in (before, shown)]
        columns.append(np.vstack(rows))
    return np.hstack(columns)


def _chequers(height: int, width: int, square: int = 16) -> np.ndarray:
    rows, columns = np.indices((height, width)) // square
    return np.where((rows + columns) % 2, 204, 255).astype(np.float32)[..., None]


if __name__ == "__main__":
    sys.exit(main())
