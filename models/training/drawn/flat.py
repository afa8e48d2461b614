"""Flat families: boxes and covers, word marks, flat art, sprites."""

from __future__ import annotations

import cv2
import numpy as np

from models.training import scenes
from models.training.augment import F32, Rng

from .lettering import text_coverage, with_print
from .outlines import OUTLINES, fill, make_outline, placed, polygon, stroke
from .pen import HELD_OUT, Layer, Pen, near_center

FIGURES = ("bottle", "cup", "tree", "house", "face", "car", "rocket", *HELD_OUT["figure"])


def box(pen: Pen) -> list[Layer]:
    """A carton, book or card: one to three flat faces with print, sometimes up to the border."""
    reach = pen.rng.uniform(0.2, 0.5)
    half = pen.size * reach * np.exp(pen.rng.normal(0, 0.2, 2))
    half = np.minimum(half, pen.size * 0.5)
    center = near_center(pen, 0.5 - reach if reach < 0.45 else 0.03)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    front = placed(corners, center, 1.0, pen.rng, aspect=0.01, turn=0.1 if pen.rng.random() < 0.6 else 0.4)
    front = (front - center) * half + center + pen.rng.normal(0, 0.02 * pen.size, (4, 2)) * (pen.rng.random() < 0.5)
    base = np.broadcast_to(scenes.random_color(pen.rng), (pen.size, pen.size, 3)).astype(np.float32)
    if pen.rng.random() < 0.4:
        base = pen.stuff()
    layers = []
    if pen.rng.random() < 0.6:
        depth = pen.rng.normal(0, 0.14, 2) * pen.size
        back = front + depth
        for number, (i, j) in enumerate(((0, 1), (1, 2), (2, 3), (3, 0))):
            side = np.stack([front[i], front[j], back[j], back[i]]).astype(np.float32)
            layers.append(
                Layer(
                    np.clip(base * pen.rng.uniform(0.5, 0.9) + number, 0, 255).astype(np.float32), fill(pen.size, side)
                )
            )
    face = with_print(pen, base) if pen.rng.random() < 0.75 else base
    layers.append(Layer(np.clip(face, 0, 255).astype(np.float32), fill(pen.size, front.astype(np.float32))))
    return layers


def wordmark(pen: Pen) -> list[Layer]:
    """A logo: one or two lines of text, often with a mark above or beside it."""
    height = pen.size * pen.rng.uniform(0.07, 0.24)
    center = near_center(pen, 0.06)
    flat = pen.rng.random() < 0.8
    ink = (
        np.broadcast_to(scenes.random_color(pen.rng), (pen.size, pen.size, 3)).astype(np.float32)
        if flat
        else pen.stuff()
    )
    alpha = text_coverage(pen, height, center)
    if pen.rng.random() < 0.4:
        alpha = np.maximum(
            alpha,
            text_coverage(pen, height * pen.rng.uniform(0.3, 0.8), center + np.array((0, height * 1.2), np.float32)),
        )
    layers = [Layer(ink, alpha)]
    if pen.rng.random() < 0.6:
        offset = (0, -height * 1.6) if pen.rng.random() < 0.5 else (-pen.size * 0.35, 0)
        outline = placed(
            make_outline(pen.choose("outline", OUTLINES), pen.rng),
            center + np.asarray(offset, np.float32),
            height * pen.rng.uniform(0.5, 1),
            pen.rng,
        )
        mark = fill(pen.size, outline.astype(np.float32))
        if pen.rng.random() < 0.4:
            middle = outline.mean(0)
            mark = np.clip(
                mark - fill(pen.size, ((outline - middle) * pen.rng.uniform(0.4, 0.8) + middle).astype(np.float32)),
                0,
                1,
            )
        layers.append(
            Layer(np.broadcast_to(scenes.random_color(pen.rng), (pen.size, pen.size, 3)).astype(np.float32), mark)
        )
    return layers


def _figure(name: str, rng: Rng) -> list[F32]:
    """Outlines of a simple figure in -1..1, from back to front."""
    circle, square = make_outline("circle", rng), make_outline("square", rng)
    if name == "bust":
        return [
            make_outline("rounded", rng) * (0.8, 0.55) + (0, 0.7),
            square * (0.16, 0.3) + (0, 0.15),
            circle * 0.38 + (0, -0.25),
        ]
    if name == "fish":
        return [polygon(3) * (0.35, 0.4) + (0.75, 0), circle * (0.7, 0.4), circle * 0.06 + (-0.4, -0.1)]
    if name == "bottle":
        return [
            make_outline("rounded", rng) * (0.35, 0.6) + (0, 0.3),
            square * (0.12, 0.35) + (0, -0.5),
            square * (0.16, 0.08) + (0, -0.85),
            square * (0.35, 0.2) + (0, 0.35),
        ]
    if name == "cup":
        return [
            circle * (0.35, 0.3) + (0.6, 0),
            make_outline("rounded", rng) * (0.6, 0.6),
            circle * (0.6, 0.15) + (0, -0.55),
        ]
    if name == "tree":
        return [
            square * (0.1, 0.4) + (0, 0.6),
            circle * 0.5 + (0, -0.2),
            circle * 0.35 + (-0.35, 0.05),
            circle * 0.35 + (0.35, 0.05),
        ]
    if name == "house":
        return [
            square * (0.6, 0.5) + (0, 0.4),
            polygon(3) * (0.9, 0.6) + (0, -0.25),
            square * (0.13, 0.25) + (0, 0.65),
        ]
    if name == "face":
        return [
            circle * (0.7, 0.8),
            circle * 0.1 + (-0.25, -0.2),
            circle * 0.1 + (0.25, -0.2),
            circle * (0.3, 0.08) + (0, 0.35),
        ]
    if name == "car":
        return [
            make_outline("rounded", rng) * (0.55, 0.35) + (0, -0.2),
            make_outline("rounded", rng) * (0.95, 0.3) + (0, 0.15),
            circle * 0.2 + (-0.5, 0.42),
            circle * 0.2 + (0.5, 0.42),
        ]
    return [
        polygon(3) * (0.35, 0.3) + (0, -0.75),
        square * (0.25, 0.6),
        polygon(3) * (0.6, 0.3) + (0, 0.55),
        circle * 0.12 + (0, -0.2),
    ]


def flat_art(pen: Pen) -> list[Layer]:
    """Draw a figure of flat colors with or without a contour: avatars, icons, stickers, drawings."""
    parts = _figure(pen.choose("figure", FIGURES), pen.rng)
    center, scale = near_center(pen, 0.08), pen.size * pen.rng.uniform(0.22, 0.46)
    contour = pen.size / 320 * pen.rng.uniform(0.8, 4) if pen.rng.random() < 0.5 else 0.0
    ink = np.broadcast_to(scenes.random_color(pen.rng) * 0.3, (pen.size, pen.size, 3)).astype(np.float32)
    layers = []
    for part in parts:
        points = (part * scale + center).astype(np.float32)
        color = np.broadcast_to(scenes.random_color(pen.rng), (pen.size, pen.size, 3)).astype(np.float32)
        layers.append(Layer(color, fill(pen.size, points)))
        if contour:
            layers.append(Layer(ink, stroke(pen.size, points, contour, closed=True)))
    return layers


def sprite(pen: Pen) -> list[Layer]:
    """A symmetric pixel-art figure."""
    cells = int(pen.rng.integers(8, 25))
    half = (cells + 1) // 2
    noise = [cv2.GaussianBlur(pen.rng.random((cells, half), dtype=np.float32), (0, 0), cells / 12) for _ in range(2)]
    x, y = np.meshgrid(np.linspace(1, 0, half), np.linspace(-1, 1, cells))
    body = noise[0] + 0.25 * (0.7 - np.hypot(x, y)) > np.median(noise[0])
    grid = np.concatenate([body, body[:, ::-1][:, cells % 2 :]], 1).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(grid, connectivity=8)
    if len(stats) > 1:
        grid = (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    palette = np.stack([scenes.random_color(pen.rng) for _ in range(4)])
    rank = (np.argsort(np.argsort(noise[1].ravel())) * 4 // noise[1].size).reshape(noise[1].shape)
    picked = np.concatenate([rank, rank[:, ::-1][:, cells % 2 :]], 1)
    side = int(pen.size * pen.rng.uniform(0.4, 0.9)) // cells * cells
    corner = ((pen.size - side) * pen.rng.uniform(0.2, 0.8, 2)).astype(int)
    alpha = np.zeros((pen.size, pen.size), np.float32)
    color = np.zeros((pen.size, pen.size, 3), np.float32)
    area = np.s_[corner[1] : corner[1] + side, corner[0] : corner[0] + side]
    alpha[area] = cv2.resize(grid, (side, side), interpolation=cv2.INTER_NEAREST)
    color[area] = cv2.resize(palette[picked].astype(np.float32), (side, side), interpolation=cv2.INTER_NEAREST)
    return [Layer(color, alpha)]
