"""Guided upsampling: the edge follows the image, and certain areas do not change."""

import itertools

import cv2
import numpy as np
import pytest

from clearcut.imaging.matting.edge_band import undecided
from clearcut.imaging.matting.grid import grid_step, sample_at_cells, to_cells
from clearcut.imaging.matting.guided_filter import REACH, clamp_haze, fit_coefficients, upsample


def scene(height: int, width: int, noise: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """A light ellipse on a dark background, and its exact alpha."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    reach = np.hypot((x - width * 0.52) / (width * 0.3), (y - height * 0.49) / (height * 0.31))
    alpha = np.clip((1 - reach) * min(height, width) * 0.3 + 0.5, 0, 1)[..., None]
    color = alpha * np.float32([210, 180, 90]) + (1 - alpha) * np.float32([40, 60, 90])
    noisy = color + np.random.default_rng(0).normal(0, noise, color.shape).astype(np.float32)
    return np.clip(noisy, 0, 255).astype(np.uint8), (alpha[..., 0] * 255).astype(np.uint8)


def soft_answer(alpha: np.ndarray, side: int = 320, blur: float = 2.5) -> np.ndarray:
    small = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return np.clip(cv2.GaussianBlur(small, (0, 0), blur), 0, 1)


STRAP_COLORS = np.full((1, 256, 3), (200, 190, 60), np.uint8)
"""Colors by alpha: the background where it is 0."""
STRAP_COLORS[0, 0] = 50, 70, 110


def sad(one: np.ndarray, other: np.ndarray) -> float:
    return float(cv2.absdiff(one, other).sum())


@pytest.mark.parametrize(("height", "width"), [(320, 320), (480, 640), (601, 997), (1500, 1111), (2400, 3200)])
def test_edge_follows_the_image(height: int, width: int) -> None:
    rgb, alpha = scene(height, width)
    raw = soft_answer(alpha)
    plain = np.clip(cv2.resize(raw, (width, height)) * 255 + 0.5, 0, 255).astype(np.uint8)
    assert sad(upsample(raw, rgb), alpha) < 0.5 * sad(plain, alpha)


@pytest.mark.parametrize(("height", "width"), [(320, 320), (601, 997), (2400, 3200)])
def test_certain_areas_are_exactly_0_and_255(height: int, width: int) -> None:
    rgb, alpha = scene(height, width, noise=30)
    found = upsample(soft_answer(alpha), rgb)
    far = 2 * (max(height, width) // 30) + 1
    window = np.ones((far, far), np.uint8)
    assert (found[cv2.erode(alpha, window) == 255] == 255).all()
    assert (found[cv2.dilate(alpha, window) == 0] == 0).all()


def test_haze_and_pinholes_are_removed() -> None:
    rgb, alpha = scene(600, 800, noise=30)
    raw = 0.03 + 0.94 * soft_answer(alpha)
    found = upsample(raw.astype(np.float32), rgb)
    assert (found == 0).mean() > 0.6
    assert (found == 255).mean() > 0.2


def test_thin_strap_is_kept() -> None:
    alpha = np.zeros((900, 1200), np.uint8)
    cv2.circle(alpha, (600, 600), 200, 255, -1, cv2.LINE_AA)
    cv2.line(alpha, (600, 400), (640, 20), 255, 9, cv2.LINE_AA)
    share = (alpha / 255.0)[..., None]
    rgb = (share * np.array([200, 190, 60]) + (1 - share) * np.array([50, 70, 110])).astype(np.uint8)
    found = upsample(soft_answer(alpha, blur=1.0), rgb)
    strap = np.zeros_like(alpha)
    cv2.line(strap, (604, 360), (638, 40), 255, 3)
    assert (found[strap > 0] > 128).mean() > 0.95


def test_flat_image_gives_upsampled_matte() -> None:
    raw = soft_answer(scene(320, 320)[1])
    found = upsample(raw, np.full((320, 320, 3), 127, np.uint8))
    assert abs(float(found.mean()) / 255 - float(raw.mean())) < 0.01


@pytest.mark.parametrize("side", [1, 2, 5, 320, 700])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (3, 3), (400, 7), (333, 517)])
def test_odd_sizes(side: int, height: int, width: int) -> None:
    values = np.random.default_rng(side).random((side, side), np.float32)
    rgb = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = upsample(values, rgb)
    assert found.shape == (height, width)
    assert found.dtype == np.uint8


def test_upsampling_is_symmetric() -> None:
    """Whole cells, so that the mirrored grid equals the grid."""
    rgb, alpha = scene(576, 576)
    raw = soft_answer(alpha)
    straight = upsample(raw, rgb)
    turned = upsample(np.ascontiguousarray(raw[:, ::-1]), np.ascontiguousarray(rgb[:, ::-1]))[:, ::-1]
    assert int(cv2.absdiff(straight, np.ascontiguousarray(turned)).max()) <= 2


class Pushing:
    """An edge model that records its inputs and adds ``by`` in a checkered pattern."""

    def __init__(self, by: float) -> None:
        self.by = by
        self.seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def __call__(self, guide: np.ndarray, values: np.ndarray, fitted: np.ndarray) -> np.ndarray:
        self.seen.append((guide, values, fitted))
        return (self.by * (np.indices(values.shape).sum(0) // 3 % 2)).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(1, 50), (50, 1), (3, 3), (320, 320), (601, 997), (1500, 1111)])
def test_edge_model_changes_only_the_edge(height: int, width: int) -> None:
    rgb, alpha = scene(height, width, noise=30)
    raw = soft_answer(alpha)
    model = Pushing(0.8)
    plain, pushed = upsample(raw, rgb), upsample(raw, rgb, model)
    ((guide, values, fitted),) = model.seen
    assert guide.shape == (*values.shape, 3)
    assert values.shape == fitted.shape
    assert (guide.dtype, values.dtype, fitted.dtype) == (np.uint8, np.float32, np.float32)
    far = 2 * (max(height, width) // 30) + 1
    window = np.ones((far, far), np.uint8)
    assert (pushed[cv2.erode(alpha, window, borderValue=255) == 255] == 255).all()
    assert (pushed[cv2.dilate(alpha, window) == 0] == 0).all()
    if min(height, width) > 3:
        assert (pushed != plain).any()


def test_constant_edge_correction_changes_little() -> None:
    """Only local differences are used: a model cannot enlarge the subject."""
    rgb, alpha = scene(600, 800)
    raw = soft_answer(alpha)
    plain = upsample(raw, rgb)
    lifted = upsample(raw, rgb, lambda guide, values, fitted: np.full_like(values, 0.5))
    assert abs(float(lifted.mean()) - float(plain.mean())) < 0.01 * float(plain.mean())


def test_zero_edge_correction_changes_nothing() -> None:
    rgb, alpha = scene(601, 997)
    raw = soft_answer(alpha)
    silent = upsample(raw, rgb, lambda guide, values, fitted: np.zeros_like(values))
    np.testing.assert_array_equal(silent, upsample(raw, rgb))


def in_doubles(guide: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The coefficients of ``fit_coefficients``, solved in double precision; even sides only."""
    height, width = target.shape
    color, values = guide / 255.0, target.astype(np.float64)

    def mean(plane: np.ndarray) -> np.ndarray:
        blocks = plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        return cv2.blur(blocks, (5, 5), borderType=cv2.BORDER_REFLECT)

    means = np.stack([mean(color[..., i]) for i in range(3)], -1)
    covariance = np.empty((*means.shape, 3))
    for i, j in itertools.product(range(3), repeat=2):
        covariance[..., i, j] = mean(color[..., i] * color[..., j]) - means[..., i] * means[..., j]
    covariance += 1e-4 * np.eye(3)
    together = np.stack([mean(values * color[..., i]) - mean(values) * means[..., i] for i in range(3)], -1)
    slope = 1.3 * np.linalg.solve(covariance, together[..., None])[..., 0]
    offset = 1.3 * mean(values) - (slope * means).sum(-1) - 0.15
    four = cv2.blur(np.dstack([slope, 255 * offset]), (5, 5), borderType=cv2.BORDER_REFLECT)
    four = cv2.resize(four, (width, height), interpolation=cv2.INTER_LINEAR)
    return (four[..., :3] * guide).sum(-1) + four[..., 3]


@pytest.mark.parametrize(
    ("background", "subject"),
    [((0, 0, 0), (255, 255, 255)), ((0, 0, 0), (255, 229, 178)), ((0, 0, 255), (255, 255, 0))],
    ids=["gray", "tinted", "opposite hues"],
)
def test_fit_is_exact_for_collinear_colors(background: tuple[int, ...], subject: tuple[int, ...]) -> None:
    y, x = np.mgrid[:160, :192]
    disc = 255.0 * (np.hypot(y - 80, x - 96) < 50)
    guide = np.where(disc[..., None] > 0, subject, background).astype(np.uint8)
    target = cv2.GaussianBlur(disc.astype(np.float32) / np.float32(255), (0, 0), 2)
    slope, offset, _ = fit_coefficients(guide, target)
    assert np.abs((slope * guide).sum(-1) + offset - in_doubles(guide, target)).max() < 0.05


@pytest.mark.parametrize(("top", "left"), [(24, 40), (0, 36)])
def test_fit_is_local(top: int, left: int) -> None:
    rng = np.random.default_rng(11)
    guide = rng.integers(0, 256, (120, 140, 3), dtype=np.uint8)
    target = rng.random((120, 140), np.float32)
    whole, part = fit_coefficients(guide, target), fit_coefficients(guide[top:, left:], target[top:, left:])
    halo = 12
    inner = slice(halo if top else 0, None), slice(halo, None)
    for one, other in zip(whole[:2], part[:2], strict=True):
        np.testing.assert_allclose(one[top:, left:][inner], other[inner], atol=2e-3)
    inner = slice(halo // 2 if top else 0, None), slice(halo // 2, None)
    np.testing.assert_allclose(whole.r_squared[top // 2 :, left // 2 :][inner], part.r_squared[inner], atol=2e-3)


@pytest.mark.parametrize("shape", [(80, 90), (81, 91)])
def test_r_squared_of_known_cases(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    half = np.zeros(shape, np.float32)
    half[:, shape[1] // 2 :] = 1
    two = np.where(half[..., None] > 0, np.uint8(200), np.uint8(40)).repeat(3, axis=2)
    explained, guessed, flat = (
        fit_coefficients(guide, half).r_squared for guide in (two, noise, np.full_like(two, 128))
    )
    assert explained.shape == guessed.shape == ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
    edge = np.s_[:, shape[1] // 4 - 1 : shape[1] // 4 + 1]
    assert explained[edge].min() > 0.97
    assert guessed[edge].mean() < 0.4
    assert np.abs(flat).max() < 1e-3


def everywhere(raw: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """The result of ``upsample``, computed for the whole frame at once."""
    height, width = rgb.shape[:2]
    step = grid_step(height, width)
    small = clamp_haze(sample_at_cells(raw, step, height, width))
    edge = undecided(small > 0, small >= 1, REACH)[..., None]
    slope, offset, _ = fit_coefficients(to_cells(rgb, step), small)
    planes = np.dstack([slope * edge, np.where(edge[..., 0], offset, np.float32(255) * (small >= 1))]).astype(
        np.float32
    )
    size = small.shape[1] * step, small.shape[0] * step
    full = cv2.resize(planes, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    return np.clip((full[..., :3] * rgb).sum(axis=2) + full[..., 3] + 0.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(300, 280), (37, 900), (600, 811), (1201, 907), (1, 400), (2600, 700)])
@pytest.mark.parametrize("kind", ["specks", "blots", "steps", "lines"])
def test_strips_match_whole_frame(shape: tuple[int, int], kind: str) -> None:
    """Strips and spans cover every undecided pixel."""
    rng = np.random.default_rng(len(kind) + shape[0])
    rgb = cv2.resize(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8), shape[::-1], interpolation=cv2.INTER_CUBIC)
    raw = np.zeros((320, 320), np.float32)
    if kind == "specks":
        raw[rng.random(raw.shape) < 0.001] = 1
    elif kind == "blots":
        raw = cv2.resize(rng.random((9, 9), np.float32), (320, 320), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    elif kind == "steps":
        raw[100:, 37:] = 1
        raw[200:, 160:240] = 0.5
    else:
        raw[::64] = 1
        raw[:, 5::50] = 0.7
    gap = cv2.absdiff(upsample(raw, rgb), everywhere(raw, rgb))
    assert int(gap.max()) <= 1, np.argwhere(gap > 1)[:5]


@pytest.mark.parametrize("kind", ["noise", "stripes", "checks"])
def test_fine_contrast_changes_few_pixels(kind: str) -> None:
    """Inside cells that the fit classifies as certain."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:700, :661]
    lines = {"noise": rng.integers(0, 256, y.shape), "stripes": x % 2 * 255, "checks": (x + y) // 2 % 2 * 255}[kind]
    rgb = np.repeat(lines.astype(np.uint8)[..., None], 3, axis=2)
    raw = cv2.resize(rng.random((9, 9), np.float32), (320, 320), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    gap = cv2.absdiff(upsample(raw, rgb), everywhere(raw, rgb))
    assert int((gap > 1).sum()) < 1e-4 * gap.size
    assert int(gap.max()) < 40


@pytest.mark.parametrize(("height", "width", "strap"), [(900, 1200, 5), (3000, 4000, 9), (3000, 4000, 15)])
def test_parts_thinner_than_a_cell_are_kept(height: int, width: int, strap: int) -> None:
    """Sharp straps, of half a cell and less at twelve megapixels, over a disc."""
    alpha = np.zeros((height, width), np.uint8)
    cv2.circle(alpha, (width // 2, height * 2 // 3), height * 2 // 9, 255, -1, cv2.LINE_AA)
    straps = np.zeros_like(alpha)
    for place in np.linspace(0.25, 0.75, 6):
        cv2.line(straps, (width // 2, height // 2), (int(width * place), height // 33), 255, strap, cv2.LINE_AA)
    alpha = np.maximum(alpha, straps)
    share = (alpha / np.float32(255))[..., None]
    front, back = np.float32([200, 190, 60]), np.float32([50, 70, 110])
    rgb = (share * front + (1 - share) * back + np.float32(0.5)).astype(np.uint8)
    raw = cv2.resize(alpha, (320, 320), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    found = upsample(np.clip(cv2.GaussianBlur(raw, (0, 0), 1.0) * 1.5, 0, 1), rgb)
    core = straps[: height * 9 // 20] > 200
    assert found[: height * 9 // 20][core].mean() / 255 > 0.8


def test_large_network_keeps_detail() -> None:
    """Lines of three pixels; a network of 320 x 320 would get cells of nine pixels."""
    alpha = np.zeros((1500, 2000), np.uint8)
    for x in range(300, 1700, 40):
        cv2.line(alpha, (x, 200), (x + 90, 1300), 255, 3, cv2.LINE_AA)
    rgb = cv2.cvtColor(255 - alpha // 2, cv2.COLOR_GRAY2RGB)
    raw = cv2.resize(alpha, (1024, 1024), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    off = cv2.absdiff(upsample(raw, rgb), alpha).sum()
    assert off < 0.3 * cv2.absdiff(cv2.resize((raw * 255).astype(np.uint8), alpha.shape[::-1]), alpha).sum()


@pytest.mark.parametrize(("height", "width", "strap", "opacity"), [(1200, 1600, 3, 0.4), (3000, 4000, 5, 0.35)])
@pytest.mark.parametrize("turned", [False, True], ids=["upright", "lying"])
def test_thin_strap_at_the_frame_is_kept(height: int, width: int, strap: int, opacity: float, turned: bool) -> None:
    """All cells are sampled at the same places."""
    step = grid_step(height, width)
    for place in range(0, step, 3):
        alpha = np.zeros((height, width), np.uint8)
        cv2.circle(alpha, (width // 2, height * 2 // 3), height * 2 // 9, 255, -1, cv2.LINE_AA)
        left = width // 2 // step * step + place
        alpha[height // 33 : height // 2, left : left + strap] = 255
        core = np.zeros_like(alpha)
        core[height // 10 : height * 3 // 8, left : left + strap] = 1
        if turned:
            alpha, core = alpha.T.copy(), core.T.copy()
        rgb = cv2.LUT(cv2.merge([alpha, alpha, alpha]), STRAP_COLORS)
        raw = cv2.resize(alpha, (320, 320), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        found = upsample(np.clip(cv2.GaussianBlur(raw, (0, 0), 1.0) * 1.5, 0, 1), rgb)
        assert found[core > 0].mean() / 255 > opacity


@pytest.mark.parametrize(("height", "width"), [(64, 8000), (8000, 64), (200, 9000), (100, 3000)])
def test_long_image_keeps_its_shape(height: int, width: int) -> None:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot((y - height / 2) / height, (x - width / 2) / width)
    alpha = np.clip((0.32 - distance) * min(height, width) / 1.5 + 0.5, 0, 1)
    rgb = (alpha[..., None] * [220, 60, 40] + (1 - alpha[..., None]) * [60, 90, 120]).astype(np.uint8)
    raw = cv2.GaussianBlur(cv2.resize(alpha, (320, 320), interpolation=cv2.INTER_AREA), (0, 0), 1)
    found = upsample(raw, rgb) / np.float32(255)
    assert np.abs(found - alpha).mean() < 0.005
