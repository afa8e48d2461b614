"""Photos of a given size for the speed benchmarks: scikit-image's public-domain photos, enlarged.

Enlarging makes an image smoother than a camera's. Noise of a camera's strength restores the entropy that deflate
works on.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage import data

SOURCES = (data.astronaut, data.coffee, data.chelsea, data.rocket)


def jpegs(megapixels: float, quality: int = 90, noise: float = 3.0) -> list[bytes]:
    """Return one JPEG of about ``megapixels`` for each source. The bytes are the same at every call."""
    random = np.random.default_rng(7)
    made = []
    for source in SOURCES:
        photo = source()[..., ::-1]
        scale = (megapixels * 1e6 / (photo.shape[0] * photo.shape[1])) ** 0.5
        size = round(photo.shape[1] * scale), round(photo.shape[0] * scale)
        large = cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
        grain = cv2.GaussianBlur(random.normal(0, 2 * noise, large.shape).astype(np.float32), (0, 0), 0.6)
        noisy = np.clip(large + grain, 0, 255).astype(np.uint8)
        made.append(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
    return made
