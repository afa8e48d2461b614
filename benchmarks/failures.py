"""What the default model gets wrong, in pictures that may be shown: for the model card.

    python -m benchmarks.failures

Four pictures, above as sent and below as the service returned them on green: a rocket (SpaceX, public domain), a man
with a tripod (Lav Varshney, CC0), the moon's surface (NASA, public domain), all out of scikit-image, and a scene drawn
by ``models.training.scenes``. Writes models/failures.jpg. When the model changes look whether these are still failures,
and whether the card says so.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data as photos

from benchmarks.quality import alpha_of, on_ground
from models.training import subject_free
from tests.support.live_server import served

OUT = Path(__file__).resolve().parents[1] / "models" / "failures.jpg"
HEIGHT = 240
DRAWN = 135
"""Which of the drawn pictures without a subject."""


def pictures() -> list[NDArray[np.uint8]]:
    """u8[H,W,3], RGB."""
    drawn = list(subject_free.pictures(()))[DRAWN]
    return [photos.rocket(), *(np.dstack([grey] * 3) for grey in (photos.camera(), photos.moon())), drawn]


def main() -> int:
    columns = []
    with served() as server:
        for rgb in pictures():
            bgr = np.ascontiguousarray(rgb[..., ::-1])
            alpha = alpha_of(server, cv2.imencode(".png", bgr)[1].tobytes())
            pair = np.vstack([bgr, on_ground(bgr, alpha)])
            width = round(pair.shape[1] * 2 * HEIGHT / pair.shape[0])
            columns.append(cv2.resize(pair, (width, 2 * HEIGHT), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(OUT), np.hstack(columns), [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(OUT)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
