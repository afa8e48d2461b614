"""A drawn scene with a known matte, for tests of options."""

import numpy as np

from clearcut.imaging.compose import compose
from clearcut.imaging.edit import edit
from clearcut.imaging.matting.refine import subject_box
from clearcut.imaging.options import RemoveOptions
from clearcut.imaging.types import DecodedImage, Matte

BLUE, RED = (20, 40, 220), (230, 30, 10)


def red_disc(width: int = 120, height: int = 80, soft: float = 4) -> tuple[DecodedImage, Matte]:
    """A red disc with a soft edge on blue, with its exact matte and foreground."""
    y, x = np.mgrid[:height, :width]
    radius = min(width, height) / 3
    distance = radius - np.hypot(x - width / 2, y - height / 2)
    cover = np.clip(distance / max(soft, 1e-6) + 0.5, 0, 1)[..., None]
    rgb = (np.array(RED) * cover + np.array(BLUE) * (1 - cover) + 0.5).astype(np.uint8)
    alpha = (cover[..., 0] * 255 + 0.5).astype(np.uint8)
    foreground = np.where(alpha[..., None] > 0, np.uint8(RED), rgb).astype(np.uint8)
    foreground[alpha == 255] = rgb[alpha == 255]
    return DecodedImage(rgb), Matte(alpha, foreground, subject_box(alpha), 0.9, 0.1)


def composed(
    options: RemoveOptions, backdrop: np.ndarray | None = None, width: int = 120, height: int = 80
) -> np.ndarray:
    """The output pixels of the scene with these options."""
    image, matte = red_disc(width, height)
    return compose(image, edit(matte, image, options), options, backdrop).pixels
