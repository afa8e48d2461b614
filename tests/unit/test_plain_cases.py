"""Subjects on plain backgrounds through the default model: the reported files, and neighbors of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data as photos

from clearcut import Remover

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
Drawing = tuple[np.ndarray, np.ndarray]
"""RGB or RGBA u8[H,W,C], and the mask of the subject, bool[H,W]."""


@pytest.fixture(scope="module")
def remover() -> Iterator[Remover]:
    with Remover(workers=1) as each:
        yield each


def painted(mask: np.ndarray, color: tuple[int, ...], background: tuple[int, ...]) -> Drawing:
    return np.where(mask[..., None] > 0, np.uint8(color), np.uint8(background)), mask > 0


def ring(outer: int, inner: int, background: tuple[int, int, int] = (255, 255, 255)) -> Drawing:
    mask = np.zeros((600, 600), np.uint8)
    cv2.circle(mask, (300, 300), outer, 1, -1)
    cv2.circle(mask, (300, 300), inner, 0, -1)
    return painted(mask, (60, 60, 60), background)


def strap(width: int) -> Drawing:
    mask = np.zeros((700, 640), np.uint8)
    cv2.rectangle(mask, (120, 320), (520, 640), 1, -1)
    cv2.ellipse(mask, (320, 320), (120, 250), 0, 180, 360, 1, width)
    return painted(mask, (60, 50, 120), (240, 240, 240))


def box(margin: int, color: tuple[int, int, int]) -> Drawing:
    mask = np.zeros((500, 500), np.uint8)
    mask[margin : 500 - margin, margin : 500 - margin] = 1
    return painted(mask, color, (226, 226, 222))


def stroke(width: int, color: tuple[int, int, int] = (20, 25, 90)) -> Drawing:
    mask = np.zeros((400, 900), np.uint8)
    x = np.arange(80, 820)
    y = 200 + 80 * np.sin(x / 28) * np.cos(x / 190)
    cv2.polylines(mask, [np.stack([x, y], 1).round().astype(np.int32)], False, 1, width)
    return painted(mask, color, (255, 255, 255))


def logo(words: str, color: tuple[int, int, int]) -> Drawing:
    image = Image.new("L", (800, 300))
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 60, 220, 240), fill=255)
    draw.text((260, 100), words, font=ImageFont.load_default(64), fill=255)
    return painted(np.asarray(image) > 127, color, (255, 255, 255))


def bust(color: tuple[int, int, int], background: tuple[int, int, int]) -> Drawing:
    mask = np.zeros((600, 600), np.uint8)
    cv2.rectangle(mask, (150, 230), (450, 600), 1, -1)
    rgb, _ = painted(mask, color, background)
    rgb = np.ascontiguousarray(rgb)
    for target, value in ((rgb, (221, 171, 143)), (mask, 1)):
        cv2.ellipse(target, (300, 170), (100, 110), 0, 0, 360, value, -1)
    return rgb, mask > 0


def collage(color: tuple[int, int, int]) -> Drawing:
    rgb, mask = logo("NEW", color)
    return np.dstack([rgb, mask * np.uint8(255)]), mask


NEIGHBORS: dict[str, Callable[[], Drawing]] = {
    "ring-thin": lambda: ring(220, 200),
    "ring-wide": lambda: ring(250, 90),
    "ring-on-beige": lambda: ring(230, 140, (222, 205, 180)),
    "strap-3": lambda: strap(3),
    "strap-4": lambda: strap(4),
    "strap-9": lambda: strap(9),
    "box-10": lambda: box(10, (40, 70, 140)),
    "box-30": lambda: box(30, (150, 40, 40)),
    "box-60": lambda: box(60, (30, 110, 60)),
    "signature-4": lambda: stroke(4),
    "signature-8": lambda: stroke(8),
    "signature-red": lambda: stroke(6, (170, 30, 40)),
    "logo-blue": lambda: logo("ACME tools", (0, 110, 205)),
    "logo-black": lambda: logo("Rosa & Oak", (20, 20, 20)),
    "logo-green": lambda: logo("No. 14", (30, 120, 60)),
    "bust-purple": lambda: bust((60, 40, 120), (230, 235, 238)),
    "bust-green": lambda: bust((30, 100, 70), (255, 255, 255)),
    "bust-black": lambda: bust((25, 25, 28), (222, 205, 180)),
    "collage-red": lambda: collage((200, 20, 20)),
    "collage-blue": lambda: collage((20, 20, 200)),
    "collage-gray": lambda: collage((90, 90, 90)),
}


@pytest.mark.parametrize("name", sorted(NEIGHBORS))
def test_drawn_subject_is_whole(name: str, remover: Remover) -> None:
    pixels, mask = NEIGHBORS[name]()
    result = remover.cut(pixels)
    found = result.alpha > 127
    assert (found & mask).sum() / (found | mask).sum() > 0.9
    assert result.alpha[cv2.erode((~mask).astype(np.uint8), np.ones((9, 9))) > 0].mean() < 3


@pytest.mark.parametrize(("photo", "color", "width"), [("coffee", 0, 10), ("coffee", 255, 30), ("astronaut", 255, 12)])
def test_photo_in_a_frame_is_cut_out(photo: str, color: int, width: int, remover: Remover) -> None:
    frame = cv2.copyMakeBorder(getattr(photos, photo)(), *(width,) * 4, cv2.BORDER_CONSTANT, value=(color,) * 3)
    alpha = remover.cut(np.asarray(frame, np.uint8)).alpha
    assert alpha.mean() < 0.65 * 255
    assert alpha[: width + 6, width + 20 : -width - 20].mean() < 100


def alpha_of(name: str, remover: Remover) -> np.ndarray:
    if not CASES.is_dir():
        pytest.skip("the reported files are not in ../shared/cases")
    return remover.cut((CASES / name).read_bytes()).alpha


def test_reported_ring_has_a_hole(remover: Remover) -> None:
    alpha = alpha_of("ring_white.png", remover)
    assert alpha[270:430, 270:430].max() == 0
    assert alpha[330:370, 150:190].min() == 255


def test_reported_strap_is_kept(remover: Remover) -> None:
    alpha = alpha_of("bag_strap_5px.png", remover)
    assert alpha[78:86, 330:370].max(axis=0).min() > 200
    assert alpha[200:300, 300:400].max() == 0


def test_reported_box_is_whole(remover: Remover) -> None:
    alpha = alpha_of("box_blue_m20.jpg", remover)
    assert alpha[24:576, 24:576].mean() > 254
    assert alpha[40:560, 40:560].min() == 255
    assert alpha[:16].max() < 20


def test_reported_cover_is_whole(remover: Remover) -> None:
    alpha = alpha_of("cover_fills.jpg", remover)
    cover = alpha[60:838, 48:652]
    assert cover.mean() > 254
    assert (cover > 127).mean() > 0.998
    assert alpha[:40].max() < 20


def test_reported_signature_is_kept(remover: Remover) -> None:
    alpha = alpha_of("signature_6px.png", remover)
    image = cv2.imread(str(CASES / "signature_6px.png"), cv2.IMREAD_GRAYSCALE)
    assert alpha[image < 60].mean() > 230
    assert alpha[image == 255].mean() < 3


def test_reported_logo_keeps_its_words(remover: Remover) -> None:
    alpha = alpha_of("logo_side.png", remover)
    image = cv2.imread(str(CASES / "logo_side.png"), cv2.IMREAD_GRAYSCALE)
    words = np.zeros_like(image)
    words[:, 250:] = 1
    assert alpha[(image < 60) & (words > 0)].mean() > 230


def test_reported_bust_is_whole(remover: Remover) -> None:
    alpha = alpha_of("flat_bust.png", remover)
    assert alpha[310:598, 160:440].min() > 250
    assert alpha[100:240, 250:350].min() > 250


def test_reported_collage_keeps_its_text(remover: Remover) -> None:
    alpha = alpha_of("transparent_multi.png", remover)
    own = cv2.imread(str(CASES / "transparent_multi.png"), cv2.IMREAD_UNCHANGED)[..., 3]
    assert np.array_equal(alpha, own)
