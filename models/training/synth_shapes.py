"""Solids for ``synth``: lathed, extruded, carved, thin, soft, with legs.

An object is a list of ``Part``: a solid of the boundary-exact ``manifold3d`` kernel and its material. Objects are
centered at the origin, within a radius of about one, with z upwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from manifold3d import CrossSection, Manifold, OpType

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Part:
    """One solid and its material: any, metal, glass, label, wood, cloth or leaf."""

    solid: Manifold
    stuff: str = "any"


def _box(x: float, y: float, z: float, at: tuple[float, float, float]) -> Manifold:
    return Manifold.cube((x, y, z), True).translate(at)


def rod(a: np.ndarray, b: np.ndarray, radius: float, sides: int = 20) -> Manifold:
    """Return a round bar from ``a`` to ``b``."""
    balls = [Manifold.sphere(radius, sides).translate(tuple(map(float, p))) for p in (a, b)]
    return Manifold.batch_hull(balls)


def rounded_box(size: np.ndarray, radius: float) -> Manifold:
    """A box with rounded edges: the hull of eight balls."""
    inner = np.maximum(size / 2 - radius, 0.01)
    ball = Manifold.sphere(radius, 24)
    corners = [
        ball.translate(tuple(float(s * i) for s, i in zip(signs, inner, strict=True)))
        for signs in np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).T.reshape(-1, 3)
    ]
    return Manifold.batch_hull(corners)


def lathed(rng: Rng) -> list[Part]:
    """Bottles, vases, bowls, cups, lamps: a profile turned about the axis, perhaps hollow."""
    count = int(rng.integers(3, 8))
    heights = np.sort(np.concatenate([[0, 1], rng.uniform(0, 1, count)])) * rng.uniform(0.6, 2)
    radii = rng.uniform(0.12, 0.8) * np.exp(rng.normal(0, 0.35, len(heights)))
    fine = np.linspace(0, heights[-1], 40)
    smooth = np.interp(fine, heights, radii)
    if rng.random() < 0.7:
        smooth = np.convolve(np.pad(smooth, 4, "edge"), np.ones(9) / 9, "valid")
    outer = np.column_stack([np.maximum(smooth, 0.03), fine])
    ring = np.vstack([[0, 0], outer, [0, fine[-1]]])
    body = CrossSection([ring.tolist()]).revolve(64)
    parts = []
    if rng.random() < 0.45:
        wall = rng.uniform(0.02, 0.08)
        inner = np.column_stack([np.maximum(outer[3:, 0] - wall, 0.005), outer[3:, 1]])
        hollow = np.vstack([[0, inner[0, 1]], inner, [0, fine[-1] + 0.1]])
        hollow[-2, 1] += 0.1
        body = body - CrossSection([hollow.tolist()]).revolve(64)
    elif rng.random() < 0.5:
        cap = Manifold.cylinder(0.15, float(outer[-1, 0]) * 1.05, float(outer[-1, 0]) * 0.95, 48)
        parts.append(Part(cap.translate((0, 0, float(fine[-1]))), "any"))
    if rng.random() < 0.35:  # a handle
        thick = rng.uniform(0.03, 0.07)
        size = float(fine[-1]) * rng.uniform(0.2, 0.35)
        loop = CrossSection.circle(thick, 16).translate((size, 0)).revolve(40).rotate((90, 0, 0))
        at = float(np.interp(fine[-1] / 2, fine, outer[:, 0]))
        core = Manifold.cylinder(float(fine[-1]), at * 0.9, at * 0.9, 32)
        parts.append(Part(loop.translate((at, 0, float(fine[-1]) / 2)) - core))
    return [Part(body, rng.choice(["any", "glass", "label", "metal", "any"])), *parts]


def extruded(rng: Rng) -> list[Part]:
    """Stars, gears, blobs and brackets pushed along an axis, perhaps twisted or tapered."""
    count = int(rng.integers(3, 14))
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    angle = angle + rng.uniform(-0.3, 0.3, count) / count
    radius = (
        rng.uniform(0.35, 0.9, count)
        if rng.random() < 0.6
        else np.where(np.arange(count) % 2, rng.uniform(0.3, 0.6), 0.85)
    )
    outline = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None]
    section = CrossSection([outline.tolist()])
    if rng.random() < 0.5:
        section = section.offset(rng.uniform(0.03, 0.15), circular_segments=24)
    if rng.random() < 0.4:
        section = section - CrossSection.circle(rng.uniform(0.08, 0.25), 40)
    taper = rng.uniform(0.3, 1.2) if rng.random() < 0.4 else 1.0
    twist = rng.normal(0, 60) if rng.random() < 0.3 else 0.0
    solid = section.extrude(rng.uniform(0.15, 1.5), 24, twist, (taper, taper))
    if rng.random() < 0.5:
        solid = solid.rotate((90, 0, rng.uniform(0, 360)))
    return [Part(solid, rng.choice(["any", "metal", "wood", "label"]))]


def carved(rng: Rng) -> list[Part]:
    """Blocks joined with and cut by cylinders, balls and boxes: tools, machine parts, toys."""

    def piece(scale: float) -> Manifold:
        size = rng.uniform(0.3, 1.0, 3) * scale
        kind = rng.integers(3)
        solid = (
            rounded_box(size * 1.6, min(size) * 0.15)
            if kind == 0
            else (
                Manifold.cylinder(size[2] * 2, size[0], size[0] * rng.uniform(0.5, 1), 48, True)
                if kind == 1
                else Manifold.sphere(size[0], 48)
            )
        )
        return solid.rotate(tuple(rng.choice([0, 90, rng.uniform(0, 90)], 3).tolist()))

    body = piece(1.0)
    for _ in range(int(rng.integers(1, 4))):
        body = body + piece(0.7).translate(tuple(rng.normal(0, 0.4, 3).tolist()))
    for _ in range(int(rng.integers(0, 4))):
        body = body - piece(0.45).translate(tuple(rng.normal(0, 0.5, 3).tolist()))
    return [Part(body, rng.choice(["any", "metal", "label"]))]


def product_box(rng: Rng) -> list[Part]:
    """Cartons, books, phones, tins: a printed box, sometimes with a second one or a lid."""
    size = rng.uniform(0.2, 1.6, 3)
    parts = [Part(rounded_box(size, min(size) * rng.uniform(0.02, 0.3)), "label")]
    if rng.random() < 0.3:
        lid = rounded_box(size * (1.05, 1.05, 0.15), min(size) * 0.04)
        parts.append(Part(lid.translate((0, 0, float(size[2]) / 2))))
    return parts


def furniture(rng: Rng) -> list[Part]:
    """Tables, stools, chairs, armchairs, shelves, chests and lamps."""
    kind = rng.choice(["table", "chair", "sofa", "shelf", "chest", "lamp"])
    w, d, h = rng.uniform(0.5, 1.6), rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.1)
    main, other = rng.choice(["wood", "any", "cloth", "metal"], 2)
    t = rng.uniform(0.03, 0.1)
    if kind == "lamp":
        pole = Manifold.cylinder(1.4, 0.03, 0.03, 24)
        foot = Manifold.cylinder(0.06, rng.uniform(0.2, 0.4), 0.2, 48)
        shade = Manifold.cylinder(0.5, rng.uniform(0.3, 0.5), rng.uniform(0.12, 0.4), 48)
        shade = shade.translate((0, 0, 1.2))
        return [Part(pole + foot, "metal"), Part(shade, "cloth")]
    if kind == "sofa":
        soft = 0.07
        seat = rounded_box(np.array([w * 1.3, d, 0.4]), soft).translate((0, 0, 0.3))
        back = rounded_box(np.array([w * 1.3, 0.25, 0.7]), soft).translate((0, d / 2, 0.6))
        arms = [rounded_box(np.array([0.2, d, 0.55]), soft).translate((s * w * 0.68, 0, 0.42)) for s in (-1, 1)]
        parts = [Part(seat + back + arms[0] + arms[1], "cloth")]
        if rng.random() < 0.5:
            cushion = rounded_box(np.array([0.45, 0.15, 0.4]), 0.07).rotate((-15, 0, 10))
            parts.append(Part(cushion.translate((0.2, d / 2 - 0.25, 0.72)), "cloth"))
        return parts
    if kind in ("shelf", "chest"):
        body = _box(w, d * 0.6, h * 1.4, (0, 0, h * 0.7))
        rows = int(rng.integers(2, 5))
        gap = h * 1.4 / rows
        parts = []
        for row in range(rows):
            z = gap * (row + 0.5)
            if kind == "shelf":
                body = body - _box(w - 2 * t, d, gap - t, (0, -t, z))
            else:
                front = _box(w - 2 * t, 0.04, gap - t, (0, -d * 0.3, z))
                knob = Manifold.sphere(0.04, 20).translate((0, -d * 0.3 - 0.05, z))
                parts += [Part(front, other), Part(knob, "metal")]
        return [Part(body, main), *parts]
    legs = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            top = np.array([sx * (w / 2 - t), sy * (d / 2 - t), h])
            spread = rng.uniform(0, 0.12)
            legs.append(rod(top, top * (1 + spread, 1 + spread, 0), t * rng.uniform(0.3, 0.8)))
    board = rounded_box(np.array([w, d, t * 1.5]), t * 0.4).translate((0, 0, h))
    if kind == "table" and rng.random() < 0.4:
        board = Manifold.cylinder(t, max(w, d) / 2, max(w, d) / 2, 64).translate((0, 0, h))
    parts = [Part(board, main), Part(Manifold.batch_boolean(legs, _ADD), other)]
    if kind == "chair":
        bars = []
        for side in (-1, 1):
            foot, head = np.array([side * (w / 2 - t), d / 2, h]), np.array([side * (w / 2 - t), d * 0.6, h * 2.1])
            bars.append(rod(foot, head, t * 0.5))
        rails = np.linspace(h * 1.3, h * 2.05, int(rng.integers(1, 5)))
        bars += [_box(w - t, 0.05, rng.uniform(0.06, 0.25), (0, d * 0.56, float(z))) for z in rails]
        parts.append(Part(Manifold.batch_boolean(bars, _ADD), main))
    return parts


def vehicle(rng: Rng) -> list[Part]:
    """Cars, vans and carts: a hulled body, a glass cabin and wheels."""
    length, width, height = rng.uniform(1.2, 2.0), rng.uniform(0.6, 0.8), rng.uniform(0.25, 0.5)
    body = rounded_box(np.array([length, width, height]), 0.1).translate((0, 0, 0.35))
    cab_low = rounded_box(np.array([length * rng.uniform(0.4, 0.8), width * 0.95, 0.1]), 0.03)
    cab_high = rounded_box(np.array([length * rng.uniform(0.25, 0.7), width * 0.8, 0.1]), 0.03)
    shift = rng.normal(0, 0.1)
    top = 0.35 + height / 2
    cabin = Manifold.batch_hull(
        [cab_low.translate((shift, 0, top)), cab_high.translate((shift, 0, top + rng.uniform(0.2, 0.45)))]
    )
    r = rng.uniform(0.14, 0.24)
    wheel = Manifold.cylinder(0.14, r, r, 40, True).rotate((90, 0, 0))
    places = [(sx * length * 0.32, sy * width / 2, r) for sx in (-1, 1) for sy in (-1, 1)]
    wheels = [wheel.translate(place) for place in places]
    return [
        Part(body, "any"),
        Part(cabin, rng.choice(["glass", "any"])),
        Part(Manifold.batch_boolean(wheels, _ADD), "dark"),
    ]


def thin(rng: Rng) -> list[Part]:
    """Build wire objects: frames, racks, simple bicycles, from rings and rods."""
    radius = rng.uniform(0.012, 0.04)
    knots = rng.uniform(-0.8, 0.8, (int(rng.integers(4, 8)), 3)) * (1, 0.5, 1)
    solids = [rod(knots[i], knots[j], radius, 12) for i in range(len(knots)) for j in range(i) if rng.random() < 0.5]
    for _ in range(int(rng.integers(1, 4))):
        ring = CrossSection.circle(radius * 1.5, 12).translate((rng.uniform(0.25, 0.6), 0)).revolve(56)
        at = knots[rng.integers(len(knots))]
        solids.append(ring.rotate((90 + rng.normal(0, 8), 0, rng.normal(0, 20))).translate(tuple(at.tolist())))
    return [Part(Manifold.batch_boolean(solids, _ADD), rng.choice(["metal", "any", "wood"]))]


def soft(rng: Rng) -> list[Part]:
    """Cushions, bags, loaves, fruit, stuffed animals: lumpy balls with folds."""

    def lump(size: np.ndarray) -> Manifold:
        waves = rng.normal(0, 1, (6, 3)) * rng.uniform(2, 7)
        phases, depth = rng.uniform(0, 6.28, 6), rng.uniform(0.005, 0.05)
        power = rng.uniform(0.5, 1.0)

        def bend(points: np.ndarray) -> np.ndarray:
            folds = 1 + depth * np.sin(points @ waves.T + phases).sum(1, keepdims=True)
            return np.sign(points) * np.abs(points) ** power * folds * size

        return Manifold.sphere(1.0, 96).warp_batch(bend)

    body = lump(rng.uniform(0.35, 0.9, 3))
    for _ in range(int(rng.choice([0, 0, 1, 3, 5]))):
        at = rng.normal(0, 1, 3)
        body = body + lump(rng.uniform(0.12, 0.4, 3)).translate(tuple((at / np.linalg.norm(at) * 0.6).tolist()))
    return [Part(body, rng.choice(["cloth", "any", "label"]))]


def plant(rng: Rng) -> list[Part]:
    """A pot with bent leaves on thin stems."""
    pot = Manifold.cylinder(0.5, rng.uniform(0.2, 0.35), rng.uniform(0.3, 0.45), 48)
    leaves = []
    for _ in range(int(rng.integers(6, 22))):
        turn, lean, long = rng.uniform(0, 360), rng.uniform(5, 75), rng.uniform(0.4, 1.1)
        stem = rod(np.zeros(3), np.array([0, 0, long]), 0.012, 8)
        blade = Manifold.sphere(1, 28).scale((rng.uniform(0.06, 0.16), 0.012, rng.uniform(0.15, 0.35)))
        blade = blade.rotate((rng.normal(0, 25), 0, 0)).translate((0, 0, long))
        leaves.append((stem + blade).rotate((0, lean, turn)).translate((0, 0, 0.4)))
    return [Part(pot, "any"), Part(Manifold.batch_boolean(leaves, _ADD), "leaf")]


_ADD = OpType.Add
FAMILIES: dict[str, Callable[[Rng], list[Part]]] = {
    "lathed": lathed,
    "extruded": extruded,
    "carved": carved,
    "product_box": product_box,
    "furniture": furniture,
    "vehicle": vehicle,
    "thin": thin,
    "soft": soft,
    "plant": plant,
}
SHARES = {
    "lathed": 0.16,
    "extruded": 0.08,
    "carved": 0.1,
    "product_box": 0.12,
    "furniture": 0.24,
    "vehicle": 0.08,
    "thin": 0.06,
    "soft": 0.1,
    "plant": 0.06,
}


def random_object(rng: Rng) -> tuple[str, list[Part]]:
    """Return a random object: the name of its family, and its parts."""
    names = list(SHARES)
    family = str(rng.choice(names, p=np.array(list(SHARES.values())) / sum(SHARES.values())))
    return family, FAMILIES[family](rng)
