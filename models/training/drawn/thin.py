"""Families with holes and thin parts: rings, frames, straps, chains, signatures."""

from __future__ import annotations

import cv2
import numpy as np

from models.training import scenes

from .outlines import OUTLINES, curve, fill, make_outline, placed, stroke
from .pen import Layer, Pen, metal, near_center, shaded


def ring(pen: Pen) -> list[Layer]:
    """An outline with a hole of the same or another outline: rings, bangles, tires, handles, scissors."""
    name = pen.choose("outline", OUTLINES)
    outer = make_outline(name, pen.rng)
    inner = outer if pen.rng.random() < 0.7 else make_outline(pen.choose("outline", OUTLINES), pen.rng)
    layers = []
    for _ in range(1 + int(pen.rng.random() < 0.25)):
        radius = pen.size * pen.rng.uniform(0.16, 0.42)
        center = near_center(pen)
        share = 1 - pen.rng.uniform(0.03, 0.6) ** 1.5
        state = pen.rng.bit_generator.state
        first = placed(outer, center, radius, pen.rng)
        pen.rng.bit_generator.state = state  # the hole keeps the outline's stretch and turn
        second = placed(inner, center, radius * share, pen.rng)
        alpha = np.clip(fill(pen.size, first) - fill(pen.size, second), 0, 1)
        layers.append(shaded(pen, alpha, metal(pen) if pen.rng.random() < 0.5 else None))
    if pen.rng.random() < 0.35:  # a stone, a knob or the body that belongs to a handle
        at = layers[0].alpha
        ys, xs = np.nonzero(at > 0.5)
        if len(ys):
            pick = pen.rng.integers(len(ys))
            body = placed(
                make_outline(pen.choose("outline", OUTLINES), pen.rng),
                np.array([xs[pick], ys[pick]], np.float32),
                pen.size * pen.rng.uniform(0.03, 0.2),
                pen.rng,
            )
            layers.append(shaded(pen, fill(pen.size, body)))
    return layers


def frame(pen: Pen) -> list[Layer]:
    """A rectangular frame whose inside shows the background; sometimes with bars, as windows and shelves have."""
    half = pen.size * pen.rng.uniform(0.18, 0.46, 2)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    center = near_center(pen, 0.05)
    slant = pen.rng.normal(0, 0.04, (4, 2)) * (pen.rng.random() < 0.5)
    outer = (corners + slant) * half + center
    border = pen.size * pen.rng.uniform(0.008, 0.1)
    inner = (corners + slant) * np.maximum(half - border, 2) + center
    alpha = np.clip(fill(pen.size, outer.astype(np.float32)) - fill(pen.size, inner.astype(np.float32)), 0, 1)
    for _ in range(int(pen.rng.integers(0, 4)) if pen.rng.random() < 0.4 else 0):
        share = pen.rng.uniform(0.1, 0.9)
        ends = (inner[[0, 1]], inner[[3, 2]]) if pen.rng.random() < 0.5 else (inner[[0, 3]], inner[[1, 2]])
        points = np.stack(
            [ends[0][0] * share + ends[0][1] * (1 - share), ends[1][0] * share + ends[1][1] * (1 - share)]
        )
        alpha = np.maximum(alpha, stroke(pen.size, points.astype(np.float32), border * pen.rng.uniform(0.3, 1)))
    return [shaded(pen, alpha)]


def strap(pen: Pen) -> list[Layer]:
    """A body with thin straps, handles, cables, cords or strings of 0.8 to 8 pixels at a side of 320."""
    body = placed(
        make_outline(pen.choose("outline", OUTLINES), pen.rng),
        near_center(pen) + np.array((0, pen.size * 0.15), np.float32),
        pen.size * pen.rng.uniform(0.12, 0.3),
        pen.rng,
        turn=0.15,
    )
    alpha = fill(pen.size, body.astype(np.float32))
    thin = np.zeros_like(alpha)
    left, right = body[body[:, 0].argmin()], body[body[:, 0].argmax()]
    for _ in range(int(pen.rng.integers(1, 4))):
        width = pen.size / 320 * np.exp(pen.rng.uniform(np.log(0.8), np.log(8)))
        start = body[pen.rng.integers(len(body))] if pen.rng.random() < 0.4 else left
        end = right if pen.rng.random() < 0.7 else pen.rng.uniform(0, pen.size, 2)
        middle = np.stack([start, end]).mean(0) - (0, pen.size * pen.rng.uniform(0.1, 0.5))
        knots = [
            start,
            *(middle + pen.rng.normal(0, 0.12 * pen.size, 2) for _ in range(int(pen.rng.integers(1, 4)))),
            end,
        ]
        thin = np.maximum(thin, stroke(pen.size, curve(np.asarray(knots, np.float32)), width))
    return [shaded(pen, thin), shaded(pen, alpha)]


def chain(pen: Pen) -> list[Layer]:
    """A necklace or chain: links or beads along a curve, sometimes with a pendant."""
    knots = np.array([[0.2, 0.1], [0.3, 0.6], [0.5, 0.8], [0.7, 0.6], [0.8, 0.1]], np.float32)
    knots = (knots + pen.rng.normal(0, 0.05, knots.shape)) * pen.size
    path = curve(knots.astype(np.float32), 400)
    step = pen.size * pen.rng.uniform(0.012, 0.05)
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    at = np.arange(0, length[-1], step)
    points = np.stack([np.interp(at, length, path[:, i]) for i in (0, 1)], 1)
    zoom = 3
    mask = np.zeros((pen.size * zoom, pen.size * zoom), np.uint8)
    beads, closed = pen.rng.random() < 0.4, pen.rng.random() < 0.5
    for number, point in enumerate(points):
        where = tuple(int(v) for v in np.round(point * zoom * 16))
        radius = int(step * zoom * 16 * 0.55)
        if beads:
            cv2.circle(mask, where, radius, 255, -1, cv2.LINE_AA, 4)
        else:
            axes = (radius, int(radius * (0.7 if number % 2 else 0.35)))
            thickness = max(1, int(step * zoom * 0.22))
            cv2.ellipse(
                mask,
                (where[0] // 16, where[1] // 16),
                (axes[0] // 16, max(1, axes[1] // 16)),
                45,
                0,
                360,
                255,
                thickness,
                cv2.LINE_AA,
            )
    alpha = cv2.resize(mask, (pen.size, pen.size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    layers = [shaded(pen, alpha, metal(pen) if pen.rng.random() < 0.7 else None)]
    if closed:
        pendant = placed(
            make_outline(pen.choose("outline", OUTLINES), pen.rng),
            path[len(path) // 2],
            pen.size * pen.rng.uniform(0.04, 0.12),
            pen.rng,
        )
        layers.append(shaded(pen, fill(pen.size, pendant)))
    return layers


def signature(pen: Pen) -> list[Layer]:
    """Handwriting by a pen: one or two looping strokes, or a line of text, dark on light or light on dark."""
    width = pen.size / 320 * np.exp(pen.rng.uniform(np.log(0.8), np.log(6)))
    alpha = np.zeros((pen.size, pen.size), np.float32)
    for _ in range(int(pen.rng.integers(1, 3))):
        count = int(pen.rng.integers(6, 22))
        x = np.linspace(0.12, 0.88, count) + pen.rng.normal(0, 0.05, count)
        y = (
            0.5
            + pen.rng.normal(0, 0.04)
            + pen.rng.uniform(0.03, 0.16) * np.where(np.arange(count) % 2, 1, -1) * pen.rng.uniform(0.3, 1.6, count)
        )
        alpha = np.maximum(
            alpha, stroke(pen.size, curve(np.stack([x, y], 1).astype(np.float32) * pen.size, 300), width)
        )
    if pen.rng.random() < 0.3:
        y = pen.size * pen.rng.uniform(0.55, 0.75)
        line = np.array([[pen.size * 0.1, y], [pen.size * 0.9, y + pen.rng.normal(0, 6)]], np.float32)
        alpha = np.maximum(alpha, stroke(pen.size, line, width))
    ink = np.broadcast_to(scenes.random_color(pen.rng) * pen.rng.uniform(0, 0.5), (pen.size, pen.size, 3))
    return [Layer(np.clip(ink, 0, 255).astype(np.float32), alpha)]
