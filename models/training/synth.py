"""Rendered images with exact alpha. Every shape, pattern and light is generated, so there are no third-party
licenses.

    python -m models.training.synth --count 600 --out models/training/runs/synth

Renderer: Mitsuba 3, ``scalar_rgb`` (2.0 s per image of 352 px at 16 samples per pixel on one core). A second pass
with only the object, at depth one, gives the exact alpha. ``llvm_ad_rgb`` would compile again for every scene.

Solids come from ``manifold3d``. Needs the packages in ``requirements-synth.in``. Neither training nor the service
imports this module.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import mitsuba as mi
import numpy as np
from manifold3d import Manifold
from numpy.typing import NDArray

from . import charts, scenes
from .data import PackWriter
from .synth_shapes import Part, Rng, random_object

mi.set_variant("scalar_rgb")
T = mi.ScalarTransform4f
Scene = dict[str, Any]


def printed(rng: Rng, size: int = 256) -> NDArray[np.float32]:
    """Return a label: patterns, color fields and words, f32[S,S,3] in 0..1."""
    art = scenes.texture(size, rng) if rng.random() < 0.5 else scenes.plain(size, rng)
    art = np.ascontiguousarray(np.clip(art, 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(1, 5))):
        a, b = rng.integers(0, size, 2), rng.integers(0, size, 2)
        shade = scenes.random_color(rng).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(art, tuple(a.tolist()), tuple(b.tolist()), shade, -1)
        else:
            cv2.circle(art, tuple(a.tolist()), int(rng.integers(8, size // 3)), shade, -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(1, 6))):
        word = "".join(chr(c) for c in rng.integers(65, 91, int(rng.integers(2, 9))))
        at = (int(rng.integers(0, size // 2)), int(rng.integers(20, size)))
        face, scale = int(rng.integers(0, 5)), rng.uniform(0.5, 2.5)
        cv2.putText(art, word, at, face, scale, scenes.random_color(rng).tolist(), int(rng.integers(1, 5)), cv2.LINE_AA)
    return np.clip(art.astype(np.float32) / 255, 0.02, 0.98)


def bitmap(image: NDArray[np.float32], repeat: float = 1.0) -> Scene:
    """Return an sRGB image f32[H,W,3] in 0..1 as a texture."""
    linear = np.ascontiguousarray(np.clip(image, 0, 1) ** 2.2, np.float32)
    return {
        "type": "bitmap",
        "bitmap": mi.Bitmap(linear),
        "raw": True,
        "wrap_mode": "mirror",
        "to_uv": T().scale([repeat, repeat, 1]),
    }


def stuff(kind: str, rng: Rng) -> Scene:
    """A material."""
    tint = np.clip(scenes.random_color(rng) / 255, 0.02, 0.95) ** 2.2
    tint = tint + (tint.mean() - tint) * rng.uniform(0, 0.9)  # real objects are mostly grayish
    color: Scene = {"type": "rgb", "value": tint.tolist()}
    if kind == "glass":
        if rng.random() < 0.4:
            return {"type": "roughdielectric", "alpha": 0.05}
        return {
            "type": "principled",
            "base_color": color,
            "roughness": 0.08,
            "spec_trans": rng.uniform(0.4, 0.9),
            "eta": 1.4,
        }
    if kind == "metal":
        return {
            "type": "principled",
            "base_color": color,
            "metallic": rng.uniform(0.6, 1),
            "roughness": rng.uniform(0.1, 0.5),
        }
    if kind == "dark":
        return {"type": "principled", "base_color": {"type": "rgb", "value": 0.03}, "roughness": 0.6}
    rough = rng.uniform(0.15, 0.9)
    if kind == "leaf":
        color = {"type": "rgb", "value": [rng.uniform(0.02, 0.2), rng.uniform(0.1, 0.4), rng.uniform(0.01, 0.12)]}
    elif kind == "label":
        color = bitmap(printed(rng), rng.uniform(0.5, 1.2))
    elif kind == "wood":
        grain = cv2.resize(scenes.cloud(128, rng), (128, 1024))[:256]
        warm = np.array([0.75, 0.5, 0.3]) ** rng.uniform(0.3, 1.5)
        color = bitmap(np.clip(warm * (0.5 + 0.6 * grain.mean(-1, keepdims=True) / 255), 0, 1).astype(np.float32), 0.7)
    elif kind == "cloth" or rng.random() < 0.3:
        color = bitmap((scenes.texture(256, rng) / 255).astype(np.float32), rng.uniform(0.5, 3))
        rough = max(rough, 0.5)
    return {
        "type": "principled",
        "base_color": color,
        "roughness": rough,
        "specular": 0.5,
        "clearcoat": 1.0 if rng.random() < 0.2 else 0.0,
    }


def mesh(solid: Manifold, material: Scene, name: str) -> mi.Object:
    """Triangles with split normals (sharp above 50 degrees) and box-projected texture coordinates."""
    made = solid.calculate_normals(0, 50).to_mesh()
    verts = np.asarray(made.vert_properties, np.float32)
    tri = np.asarray(made.tri_verts)
    corner, normal = verts[tri, :3], verts[tri, 3:6]
    flat = np.abs(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]))
    axis = flat.argmax(1)
    keep = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    uv = np.take_along_axis(corner, keep[:, None, :].repeat(3, 1), 2)
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(material)
    out = mi.Mesh(name, len(tri) * 3, len(tri), properties, True, True)
    values = mi.traverse(out)
    values["vertex_positions"] = corner.ravel()
    values["vertex_normals"] = normal.ravel()
    values["vertex_texcoords"] = (uv * 0.5 + 0.5).ravel().astype(np.float32)
    values["faces"] = np.arange(len(tri) * 3, dtype=np.uint32)
    values.update()
    return out


def settle(parts: list[Part], rng: Rng) -> list[Part]:
    """Rotate the object about the vertical axis, sometimes tip it over, and place it on z = 0 with a size near 2."""
    tip = (rng.uniform(-90, 90), rng.uniform(-90, 90)) if rng.random() < 0.12 else (0.0, 0.0)
    turned = [
        Part(p.solid.rotate((tip[0], tip[1], 0)).rotate((0, 0, turn)), p.stuff)
        for turn in [rng.uniform(0, 360)]
        for p in parts
    ]
    boxes = np.array([p.solid.bounding_box() for p in turned])
    low, high = boxes[:, :3].min(0), boxes[:, 3:].max(0)
    scale = 2 / max(float((high - low).max()), 1e-3)
    shift = (-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2])
    return [Part(p.solid.translate(tuple(map(float, shift))).scale((scale,) * 3), p.stuff) for p in turned]


def surroundings(rng: Rng) -> Scene:
    """Floor, wall and lights."""
    scene: Scene = {}
    draw = rng.random()
    floor = scenes.plain(64, rng) if draw < 0.45 else scenes.texture(256, rng)
    floor = floor + (floor.mean(-1, keepdims=True) - floor) * rng.uniform(0, 0.9)
    if draw < 0.25:
        floor = np.full((8, 8, 3), rng.uniform(225, 255), np.float32)
    look = bitmap(np.clip(floor / 255, 0.02, 1).astype(np.float32), rng.uniform(1, 6))
    glossy = rng.random() < 0.2
    skin: Scene = {
        "type": "principled",
        "base_color": look,
        "roughness": rng.uniform(0.15, 0.4) if glossy else 0.9,
        "specular": 0.5 if glossy else 0.1,
    }
    scene["floor"] = {"type": "rectangle", "to_world": T().scale(14), "bsdf": skin}
    wall = (
        skin
        if draw < 0.35
        else {
            "type": "diffuse",
            "reflectance": bitmap(
                np.clip(scenes.texture(256, rng) / 255, 0.02, 1).astype(np.float32), rng.uniform(1, 5)
            ),
        }
    )
    far = rng.uniform(1.4, 6)
    scene["wall"] = {
        "type": "rectangle",
        "to_world": T().translate([0, far, 0]).rotate([1, 0, 0], 90).scale(14),
        "bsdf": wall,
    }
    sky = rng.uniform(0.15, 0.9) * np.exp(rng.normal(0, 0.1, 3))
    scene["sky"] = {
        "type": "constant",
        "radiance": {"type": "rgb", "value": sky.tolist()},
    }
    for i in range(int(rng.integers(1, 4))):
        at = np.array([rng.uniform(-4, 4), rng.uniform(-5, 0.5), rng.uniform(2, 6)])
        size = rng.uniform(0.2, 2)
        power = rng.uniform(3, 14) / size**2 * float(at @ at) / 20 * np.exp(rng.normal(0, 0.12, 3))
        scene[f"light{i}"] = {
            "type": "rectangle",
            "to_world": T().look_at(at.tolist(), [0, 0, 0.5], [0, 0, 1]).scale(size),
            "emitter": {"type": "area", "radiance": {"type": "rgb", "value": power.tolist()}},
        }
    return scene


def camera(rng: Rng, width: int, height: int, samples: int) -> Scene:
    """Return a camera in front of the object, slightly above it."""
    turn, tilt, distance = rng.normal(0, 0.25), rng.uniform(0.03, 0.75), rng.uniform(4.2, 7)
    at = distance * np.array([np.sin(turn) * np.cos(tilt), -np.cos(turn) * np.cos(tilt), np.sin(tilt)]) + (0, 0, 0.5)
    aim = np.array([rng.normal(0, 0.15), 0, rng.uniform(0.5, 1.0)])
    return {
        "type": "perspective",
        "fov": float(np.rad2deg(2 * np.arctan(rng.uniform(0.95, 1.7) / distance))),
        "fov_axis": "smaller",
        "to_world": T().look_at(at.tolist(), aim.tolist(), [0, 0, 1]),
        "film": {
            "type": "hdrfilm",
            "width": width,
            "height": height,
            "pixel_format": "rgba",
            "rfilter": {"type": "gaussian", "stddev": 0.45},
        },
        "sampler": {"type": "independent", "sample_count": samples},
    }


def render(rng: Rng, longest: int = 320, samples: int = 20) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
    """One scene: its family, rgb u8[H,W,3] and the exact alpha u8[H,W]."""
    family, parts = random_object(rng)
    shapes = {f"part{i}": mesh(p.solid, stuff(str(p.stuff), rng), f"part{i}") for i, p in enumerate(settle(parts, rng))}
    aspect = np.exp(rng.uniform(-0.35, 0.35))
    width, height = round(longest * min(1, aspect)), round(longest * min(1, 1 / aspect))
    eye = camera(rng, width, height, samples)
    world = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 5, "hide_emitters": True},
        "eye": eye,
        **surroundings(rng),
        **shapes,
    }
    color = np.array(mi.render(mi.load_dict(world)))[..., :3]
    counted = {**eye, "sampler": {"type": "stratified", "sample_count": 25}}
    alone = {"type": "scene", "integrator": {"type": "depth"}, "eye": counted, **shapes}
    alpha = np.array(mi.render(mi.load_dict(alone)))[..., 3]
    color = np.nan_to_num(color, posinf=10) * (rng.uniform(0.7, 1.05) / max(float(np.percentile(color, 96)), 1e-3))
    rgb = (np.clip(color, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    rgb = cv2.fastNlMeansDenoisingColored(rgb, None, 5, 8, 5, 11).astype(np.uint8)  # path noise
    return family, rgb, np.clip(alpha * 255 + 0.5, 0, 255).astype(np.uint8)


def attempt(seed: int, number: int, samples: int) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Return scene ``number``, or None if the solids fail or the object is out of view or fills the frame."""
    try:
        family, rgb, alpha = render(np.random.default_rng((seed, number)), samples=samples)
    except (RuntimeError, ValueError) as error:
        print(f"{number}: {error}", flush=True)
        return None
    return (family, rgb, alpha) if 0.005 < float((alpha > 127).mean()) < 0.9 else None


def main() -> None:
    """Render a pack and a sheet. Scenes that show nothing or only the object are replaced."""
    parser = argparse.ArgumentParser(description="Render training images with exact alpha.")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("models/training/runs/synth"))
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time")
    parser.add_argument("--samples", type=int, default=20)
    args = parser.parse_args()
    writer, rows, start = PackWriter(args.out), [], time.monotonic()
    try:
        for number in range(args.count):
            if time.monotonic() - start > 60 * args.minutes:
                break
            made = attempt(args.seed, number, args.samples)
            if made is None:
                continue
            family, rgb, alpha = made
            writer.add(rgb, alpha, f"synth_{args.seed}_{number:05d}_{family}", "synth", "render")
            if len(rows) < 48:
                rows.append((rgb, alpha))
            if number % 50 == 0:
                print(f"{number}: {(time.monotonic() - start) / (number + 1):.2f} s an image", flush=True)
    finally:
        writer.close()
    lines = [[p[k] for p in rows[i : i + 12]] for i in range(0, len(rows), 12) for k in (0, 1)]
    charts.sheet(args.out.with_suffix(".png"), lines, 128)


if __name__ == "__main__":
    main()
