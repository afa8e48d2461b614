"""Outlines, lines and their anti-aliased coverage."""

from __future__ import annotations

import cv2
import numpy as np

from models.training.augment import F32, Rng

from .pen import HELD_OUT

OUTLINES = ("circle", "ellipse", "square", "rounded", "triangle", "blob", "drop", *HELD_OUT["outline"])


def make_outline(name: str, rng: Rng) -> F32:
    """A closed outline around the origin with a radius of about 1: f32[N,2]."""
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    if name == "ellipse":
        circle *= (1, rng.uniform(0.4, 0.9))
    elif name == "square":
        circle /= np.abs(circle).max(axis=1, keepdims=True)
    elif name == "rounded":
        power = rng.uniform(3, 8)
        circle /= ((np.abs(circle) ** power).sum(1) ** (1 / power))[:, None]
    elif name == "triangle":
        circle = polygon(3)
    elif name == "hexagon":
        circle = polygon(6)
    elif name == "blob":
        waves = sum(rng.uniform(-0.2, 0.2) * np.cos(k * turn + rng.uniform(0, 6)) for k in (1, 2, 3, 4))
        circle *= (1 + np.asarray(waves))[:, None]
    elif name == "drop":
        circle[:, 0] *= np.sin(turn / 2) ** rng.uniform(0.6, 1.6)
    elif name == "heart":
        x, y = (
            16 * np.sin(turn) ** 3,
            -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)),
        )
        circle = np.stack([x, y], 1) / 16
    elif name == "star":
        points = int(rng.integers(5, 9))
        circle = polygon(2 * points) * np.where(np.arange(2 * points) % 2, rng.uniform(0.4, 0.7), 1)[:, None]
    return np.asarray(circle, np.float32)


def polygon(corners: int) -> F32:
    turn = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    return np.stack([np.cos(turn), np.sin(turn)], 1).astype(np.float32)


def placed(points: F32, center: F32, radius: float, rng: Rng, *, aspect: float = 0.25, turn: float = 0.4) -> F32:
    angle = rng.normal(0, turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    stretch = np.exp(rng.normal(0, aspect, 2) / 2)
    return (points * stretch * radius) @ rotation.T + center


def fill(size: int, *outlines: F32) -> F32:
    """Anti-aliased coverage of closed outlines in pixels (holes by the even-odd rule): f32[S,S]."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32) for points in outlines], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def stroke(size: int, points: F32, width: float, *, closed: bool = False) -> F32:
    """Anti-aliased line of a width in pixels, fractions included: f32[S,S]."""
    zoom = 4 if width < 3 else 2
    mask = np.zeros((size * zoom, size * zoom), np.uint8)
    thickness = max(1, round(width * zoom))
    cv2.polylines(mask, [np.round(points * zoom * 16).astype(np.int32)], closed, 255, thickness, cv2.LINE_AA, 4)
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def curve(knots: F32, count: int = 160) -> F32:
    """A smooth curve through points (Catmull-Rom): f32[M,2] -> f32[count,2]."""
    padded = np.concatenate([knots[:1], knots, knots[-1:]])
    out = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        t = np.linspace(0, 1, max(2, count // (len(knots) - 1)), endpoint=False)[:, None]
        out.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
        )
    return np.concatenate([*out, knots[-1:]]).astype(np.float32)
