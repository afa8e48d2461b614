"""``make demo``: cut out sample photos on a server started for it. Needs the packages of ``make serve`` only.

The photos are public domain (NASA's portrait of Eileen Collins; the cat Chelsea by Stefan van der Walt, CC0; a coffee
cup by Rachel Michetti, CC0), from scikit-image.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from clearcut.cli.cut_backends import ServerBackend

OUT = Path("demo")
PHOTOS = Path(__file__).resolve().parents[1] / "golden" / "photos"


def main() -> int:
    OUT.mkdir(exist_ok=True)
    print("Starting a server for the demo. This takes a few seconds.", flush=True)
    pairs = []
    with server_url() as url:
        backend = ServerBackend(url, None, {}, {}, 1)
        for photo in sorted(PHOTOS.glob("*.jpg")):
            source, target = OUT / photo.name, OUT / f"{photo.stem}.png"
            shutil.copyfile(photo, source)
            begun = time.monotonic()
            (output,) = backend.cut(source.read_bytes())
            ms = 1000 * (time.monotonic() - begun)
            target.write_bytes(output.data)
            cutout = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
            height, width = cutout.shape[:2]
            print(
                f"{source} -> {target}  {width} x {height}, confidence {output.confidence:.2f}, {ms:.0f} ms", flush=True
            )
            pairs.append((cv2.imread(str(source)), cutout))
    sheet = OUT / "before-after.png"
    cv2.imwrite(str(sheet), before_after(pairs))
    print(f"Open {sheet.resolve()} to compare, or the cut-outs: {OUT}/*.png")
    return 0


@contextmanager
def server_url() -> Iterator[str]:
    """Start a server on a free port, yield its URL when it accepts requests, and stop it at the end.

    Raises:
        SystemExit: the server does not start. It prints the reason.
    """
    environ = {**os.environ, "CLEARCUT_PORT": "0", "CLEARCUT_HOST": "127.0.0.1", "CLEARCUT_LOG_FORMAT": "json"}
    with subprocess.Popen(
        [sys.executable, "-m", "clearcut", "serve"], env=environ, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            events = (json.loads(line) for line in process.stdout)
            port = next((each["port"] for each in events if each["event"] == "listening"), None)
            if port is None:
                sys.exit(process.wait())
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            for _ in process.stdout or ():  # the server logs its end; a closed pipe would be an error for it
                pass


def before_after(pairs: list[tuple[np.ndarray, np.ndarray]], height: int = 300) -> np.ndarray:
    """Return one column per photo: the original (u8[H,W,3] BGR) above its cut-out (u8[H,W,4] BGRA)."""
    columns = []
    for before, after in pairs:
        alpha = after[..., 3:].astype(np.float32) / 255
        shown = (after[..., :3] * alpha + _chequers(*before.shape[:2]) * (1 - alpha)).astype(np.uint8)
        width = round(before.shape[1] * height / before.shape[0])
        rows = [cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA) for each in (before, shown)]
        columns.append(np.vstack(rows))
    return np.hstack(columns)


def _chequers(height: int, width: int, square: int = 16) -> np.ndarray:
    rows, columns = np.indices((height, width)) // square
    return np.where((rows + columns) % 2, 204, 255).astype(np.float32)[..., None]


if __name__ == "__main__":
    sys.exit(main())
