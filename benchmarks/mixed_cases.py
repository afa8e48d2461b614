"""Requests of the mixed load: photos, options and disconnects, and the checks of the responses."""

from __future__ import annotations

import http.client
import io
import math
import random
from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from tests.support import samples
from tests.support.raw_http import multipart, request

HANG_UPS = ("mid-upload", "waiting", "mid-download")
MEGAPIXELS = (0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 4.0, 8.0)
ENCODINGS = ("png", "jpeg", "jpeg-progressive", "webp", "webp-lossless")
TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
OPTIONS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"size": "medium"},
    {"size": "preview", "format": "webp"},
    {"format": "webp"},
    {"format": "jpg", "bg_color": "#2060a0"},
    {"channels": "rgb", "bg_color": "tomato"},
    {"channels": "alpha"},
    {"crop": "true"},
    {"crop": "true", "size": "small"},
    {"width": "400"},
)
BACKGROUNDS = {"#2060a0": (0x20, 0x60, 0xA0), "tomato": (255, 99, 71)}


@dataclass(frozen=True, slots=True)
class Photo:
    name: str
    data: bytes
    pixels: np.ndarray
    lossless: bool

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, slots=True)
class Reference:
    """The photo's response when it was sent alone."""

    rgba: np.ndarray
    box: tuple[int, int, int, int]
    """left, top, right, bottom of the subject."""


@dataclass(frozen=True, slots=True)
class Case:
    number: int
    photo: Photo
    options: dict[str, str]
    raw: bool
    hang_up: str = ""
    patience_s: float = 0.0
    share: float = 0.0
    """Share of the body to send, or of the response to read, before disconnecting."""
    reset: bool = False

    @property
    def id(self) -> str:
        return f"load-{self.number}"

    def connection(self) -> bytes:
        if self.raw:
            return request(self.photo.data, "image/*", f"/v1/remove?{urlencode(self.options)}", X_Request_ID=self.id)
        body, kind = multipart(self.photo.data, self.options, name=("image_file", "file", "image")[self.number % 3])
        return request(body, kind, X_Request_ID=self.id)


def encode(pixels: np.ndarray, encoding: str) -> bytes:
    match encoding:
        case "png":
            return samples.png(pixels)
        case "jpeg":
            return samples.jpeg(pixels, quality=90)
        case "jpeg-progressive":
            return samples.jpeg(pixels, quality=92, progressive=True)
        case "webp":
            return samples.webp(pixels, quality=85)
    return samples.webp(pixels, lossless=True)


def photos(count: int, rng: random.Random) -> list[Photo]:
    """Return ``count`` photos. No two have the same size."""
    made: list[Photo] = []
    for index in range(count):
        name = samples.PHOTOS[index % len(samples.PHOTOS)]
        small = samples.photo(name)
        megapixels = MEGAPIXELS[index % len(MEGAPIXELS)] * rng.uniform(0.9, 1.0)
        ratio = small.shape[1] / small.shape[0]
        width = round(math.sqrt(megapixels * 1e6 * ratio))
        pixels = samples.photo(name, width, round(width / ratio) + index)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        pixels = np.ascontiguousarray(pixels[..., rng.sample(range(3), 3)])
        encoding = ENCODINGS[index % len(ENCODINGS)]
        data = encode(pixels, encoding)
        lossless = encoding in ("png", "webp-lossless")
        if not lossless:
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        made.append(Photo(f"{name} {pixels.shape[1]}x{pixels.shape[0]} {encoding}", data, pixels, lossless))
    assert len({photo.size for photo in made}) == count
    return made


# --- checks of the response ------------------------------------------------------------------------------------------


def decoded(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)))


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean()) if one.size else 0.0


def own_colors(photo: Photo, rgba: np.ndarray) -> str:
    """Return an error if a full-size cut-out does not show its photo's colors inside the subject and zero outside."""
    inside, outside = rgba[..., 3] == 255, rgba[..., 3] == 0
    if rgba[outside].any():
        return "color under alpha 0"
    if not inside.any():
        return ""
    off = np.abs(rgba[..., :3][inside].astype(np.int16) - photo.pixels[inside])
    if photo.lossless and off.any():
        return f"not bit-equal inside: up to {off.max()}"
    if off.mean() > 1.0:
        return f"color inside differs by {off.mean():.1f}"
    return ""


def wrong(case: Case, reference: Reference, headers: http.client.HTTPMessage, body: bytes) -> str:
    """Return why this response does not belong to this request, or an empty string."""
    photo, options = case.photo, case.options
    if headers["x-request-id"] != case.id:
        return f"request id {headers['x-request-id']}"
    if (int(headers["x-original-width"]), int(headers["x-original-height"])) != photo.size:
        return f"original size {headers['x-original-width']}x{headers['x-original-height']}"
    if headers["content-type"] != TYPES[options.get("format", "png")]:
        return f"content type {headers['content-type']}"
    image = decoded(body)
    height, width = image.shape[:2]
    if (int(headers["x-image-width"]), int(headers["x-image-height"])) != (width, height):
        return f"{width}x{height} is not what its headers say"
    expected = Image.fromarray(reference.rgba)
    if options.get("crop"):
        expected = expected.crop(reference.box)
    target = expected.size
    limit = {"preview": 256, "small": 512, "medium": 1024}.get(options.get("size", ""), max(target))
    scale = int(options["width"]) / target[0] if "width" in options else min(1.0, limit / max(target))
    target = round(target[0] * scale), round(target[1] * scale)
    if max(abs(width - target[0]), abs(height - target[1])) > (2 if options.get("crop") else 1):
        return f"{width}x{height} instead of {target[0]}x{target[1]}"
    if expected.size != (width, height):
        expected = expected.convert("RGBa").resize((width, height), Image.Resampling.BOX).convert("RGBA")
    return unlike(image, np.asarray(expected), options) or (
        own_colors(photo, image) if options in ({}, {"format": "png"}) else ""
    )


def unlike(image: np.ndarray, expected: np.ndarray, options: dict[str, str]) -> str:
    """Return how ``picture`` differs from the reference in the same form beyond rounding, or an empty string."""
    alpha = expected[..., 3]
    if options.get("channels") == "alpha":
        off = mean_difference(image, alpha)
        return f"matte differs by {off:.2f}" if image.ndim != 2 or off > 2 else ""
    if background := options.get("bg_color"):
        share = alpha[..., None] / np.float32(255)
        expected = expected[..., :3] * share + np.array(BACKGROUNDS[background], np.float32) * (1 - share)
        off = mean_difference(image, expected) if image.shape == expected.shape else 255
        return f"picture differs by {off:.2f}" if off > 4 else ""
    if image.shape != expected.shape:
        return f"shape {image.shape} instead of {expected.shape}"
    if (off := mean_difference(image[..., 3], alpha)) > 2:
        return f"matte differs by {off:.2f}"
    both = (image[..., 3] == 255) & (alpha == 255)
    off = mean_difference(image[both][:, :3], expected[both][:, :3])
    return f"color differs by {off:.2f}" if off > 6 else ""


# --- the load --------------------------------------------------------------------------------------------------------


def cases(count: int, catalogue: list[Photo], rng: random.Random, first: int = 0) -> list[Case]:
    """Return the requests. Small photos are more frequent than large ones, and every tenth request disconnects."""
    weights = [1 / math.sqrt(photo.pixels.size) for photo in catalogue]
    made = []
    for number in range(first, first + count):
        photo, options = rng.choices(catalogue, weights)[0], rng.choice(OPTIONS)
        hang_up = rng.choice(HANG_UPS) if number % 10 == 5 else ""
        made.append(
            Case(
                number, photo, options, rng.random() < 0.4, hang_up, rng.uniform(0, 0.5), rng.random(),
                rng.random() < 0.5,
            )
        )  # fmt: skip
    return made
