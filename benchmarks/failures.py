"""Images that the default model cuts out badly, for the model card.

    python -m benchmarks.failures

The sheet shows four images, the original above the service's result on green: a rocket (SpaceX, public domain), a man
with a tripod (Lav Varshney, CC0), the moon's surface (NASA, public domain), all from scikit-image, and a scene drawn
by ``models.training.scenes``. Writes models/failures.jpg. After a change of the model, check whether these are still
failures and whether the card says so.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data as photos

from benchmarks.quality import alpha_of, over_background
from models.training import subject_free
from tests.support.live_server import served

OUT = Path(__file__).resolve().parents[1] / "models" / "failures.jpg"
HEIGHT = 240
DRAWN = 135
"""Index among the drawn images without a subject."""


def images() -> list[NDArray[np.uint8]]:
    """Return u8[H,W,3], RGB."""
    drawn = list(subject_free.images(()))[DRAWN]
    return [photos.rocket(), *(np.dstack([gray] * 3) for gray in (photos.camera(), photos.moon())), drawn]


def main() -> int:
    columns = []
    with served() as server:
        for rgb in images():
            bgr = np.ascontiguousarray(rgb[..., ::-1])
            alpha = alpha_of(server, cv2.imencode(".png", bgr)[1].tobytes())
            pair = np.vstack([bgr, over_background(bgr, alpha)])
            width = round(pair.shape[1] * 2 * HEIGHT / pair.shape[0])
            columns.append(cv2.resize(pair, (width, 2 * HEIGHT), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(OUT), np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(OUT)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
