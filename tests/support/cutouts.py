"""Images of known subjects for the fake model, and requests that cut them out."""

from __future__ import annotations

import io

import httpx
import numpy as np
from PIL import Image

from tests.support.fakes import on_stage

SUBJECT = (240, 160, 90)
"""Color of the subject in ``sample_image()``."""


def sample_image(
    width: int = 80, height: int = 60, background: tuple[int, int, int] = (0, 0, 0), fmt: str = "PNG"
) -> bytes:
    """Return an image file: a bright rectangle on a dark background. The fake model finds exactly the rectangle."""
    pixels = np.full((height, width, 3), background, np.uint8)
    pixels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = SUBJECT
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, fmt)
    return out.getvalue()


def decoded(response: httpx.Response) -> np.ndarray:
    """Return the pixels of the response's image."""
    return np.asarray(Image.open(io.BytesIO(response.content)))


def send(image: bytes | None = None, **kwargs):
    """Send one request to ``/v1/remove`` of a new service with the fake model, and return the response."""

    async def scenario(on):
        kwargs.setdefault("files", {"image_file": ("secret-name.png", image or sample_image(), "image/png")})
        return await on.client.post("/v1/remove", **kwargs)

    return on_stage(scenario)
