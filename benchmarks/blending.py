"""Comparison of blending backgrounds in linear light and in sRGB as stored.

The reference simulates a camera: a scene with hard edges is rendered eight times larger and averaged in linear light,
once on the photo's background and once on the new background. The matte is either the true coverage or the share that
explains the stored sRGB values, which networks and guided filters aim for. The known foreground is blended onto the
new background both ways. The error is measured against the reference over 0 < alpha < 1, in levels of 255.

Run: ``python -m benchmarks.blending``; writes results/blending.json.
"""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks import report

SCALE, SIDE = 8, 192
BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "red": (220, 30, 30), "gray": (128, 128, 128)}


def to_linear(level: np.ndarray) -> np.ndarray:
    """Convert sRGB 0..255 to linear light 0..1 (IEC 61966-2-1)."""
    value = np.asarray(level, np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.clip(light, 0, None) ** (1 / 2.4) - 0.055)


def down(plane: np.ndarray) -> np.ndarray:
    size = plane.shape[1] // SCALE, plane.shape[0] // SCALE
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return foreground and background colors 0..255 and the hard coverage of a blob with hairs, eight times
    enlarged.
    """
    random = np.random.default_rng(seed)
    side = SIDE * SCALE
    cover = np.zeros((side, side), np.uint8)
    cv2.ellipse(cover, (side // 2, side // 2), (side // 4, side // 3), 20, 0, 360, 255, -1)
    for _ in range(60):
        angle, length = random.uniform(0, 2 * np.pi), random.uniform(0.3, 0.48) * side
        end = (int(side / 2 + length * np.cos(angle)), int(side / 2 + length * np.sin(angle)))
        cv2.line(cover, (side // 2, side // 2), end, 255, int(random.integers(3, 12)))
    colors = random.integers(0, 256, (2, 3))
    textures = [cv2.GaussianBlur(random.normal(0, 60, (side, side, 3)), (0, 0), 6 * SCALE) for _ in range(2)]
    front, back = (np.clip(color + 12 * texture, 0, 255) for color, texture in zip(colors, textures, strict=True))
    return front, back, (cover > 0).astype(np.float64)


def main() -> int:
    machine = report.machine()
    errors: dict[str, dict[str, list[float]]] = {}
    for seed in range(8):
        front, back, cover = scene(seed)
        hard = cover[..., None]
        alpha = down(cover)
        color = to_srgb(down(to_linear(front)))
        behind = to_srgb(down(to_linear(back)))
        photo = np.round(to_srgb(down(to_linear(front) * hard + to_linear(back) * (1 - hard))))
        reach = ((color - behind) ** 2).sum(-1, keepdims=True)
        stored = np.clip(((photo - behind) * (color - behind)).sum(-1, keepdims=True) / np.maximum(reach, 1e-6), 0, 1)
        edge = ((alpha > 0.02) & (alpha < 0.98))[..., 0]
        for name, background in BACKGROUNDS.items():
            new = np.broadcast_to(np.array(background, np.float64), color.shape)
            truth = to_srgb(down(to_linear(front) * hard + to_linear(np.array(background)) * (1 - hard)))
            for matte_name, matte in (("true coverage", alpha), ("as stored values show it", stored)):
                made = {
                    "in sRGB": color * matte + new * (1 - matte),
                    "in linear light": to_srgb(to_linear(color) * matte + to_linear(new) * (1 - matte)),
                }
                for how, image in made.items():
                    row = errors.setdefault(f"{matte_name}, {how}", {})
                    row.setdefault(name, []).append(float(np.abs(image - truth)[edge].mean()))
    figures = {
        how: {name: round(float(np.mean(each)), 2) for name, each in row.items()}
        | {"mean": round(float(np.mean([np.mean(each) for each in row.values()])), 2)}
        for how, row in errors.items()
    }
    report.write(
        "blending",
        "mean error in the edge on a new background, levels of 255, linear light against stored sRGB",
        "python -m benchmarks.blending",
        machine,
        figures,
    )
    for how, row in figures.items():
        print(f"{how:<46}{row}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
