"""Plain backgrounds: colors complete the network's matte where they are sure, and nothing else changes."""

import cv2
import numpy as np
import pytest
from skimage import data as photos

from clearcut.imaging.matting.plain.matte import plain_matte
from clearcut.imaging.matting.refine import refine
from clearcut.imaging.types import DecodedImage, Matte, MatteOptions, RawMatte

SIDE = 480
OFF = MatteOptions(despill=True, plain_background=False)


def canvas(color: tuple[int, int, int] = (255, 255, 255), side: int = SIDE) -> np.ndarray:
    return np.full((side, side, 3), color, np.uint8)


def noisy(rgb: np.ndarray, deviation: float = 1.5) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def network(mask: np.ndarray, side: int = 320) -> np.ndarray:
    """The matte that a network of ``side`` values would return for a mask of 0 and 1."""
    small = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return np.clip(cv2.GaussianBlur(small, (0, 0), 1.2), 0, 1).astype(np.float32)


def disc(radius: int, side: int = SIDE) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.hypot(x - side / 2, y - side / 2) < radius


def run(values: np.ndarray, rgb: np.ndarray, options: MatteOptions | None = None) -> Matte:
    image = DecodedImage(rgb)
    return refine(RawMatte(values), image) if options is None else refine(RawMatte(values), image, None, options)


def iou(alpha: np.ndarray, mask: np.ndarray) -> float:
    found = alpha > 127
    return float((found & mask).sum() / (found | mask).sum())


@pytest.mark.parametrize("background", [(255, 255, 255), (222, 205, 180), (40, 40, 44), (70, 110, 180)])
def test_filled_hole_becomes_transparent(background: tuple[int, int, int]) -> None:
    ring = disc(160) & ~disc(90)
    rgb = noisy(np.where(ring[..., None], np.uint8((170, 60, 50)), canvas(background)))
    matte = run(network(disc(160)), rgb)
    assert matte.plain_background
    assert iou(matte.alpha, ring) > 0.98
    assert matte.alpha[disc(80)].max() == 0


def test_missing_strap_is_restored() -> None:
    body = np.zeros((SIDE, SIDE), np.uint8)
    cv2.rectangle(body, (120, 260), (360, 430), 1, -1)
    bag = body.copy()
    cv2.ellipse(bag, (240, 260), (80, 200), 0, 180, 360, 1, 4)
    rgb = np.where(bag[..., None] > 0, np.uint8((50, 40, 120)), canvas((239, 239, 239)))
    strap = (bag > 0) & (body == 0)
    assert run(network(body), rgb, OFF).alpha[strap].mean() < 40
    assert run(network(body), rgb).alpha[strap].mean() > 215


@pytest.mark.parametrize("found", [True, False])
def test_subject_is_found_by_color(found: bool) -> None:
    square = np.zeros((SIDE, SIDE), np.bool_)
    square[100:380, 90:400] = True
    rgb = noisy(np.where(square[..., None], np.uint8((30, 70, 140)), canvas((225, 225, 222))))
    matte = run(network(square) if found else np.zeros((320, 320), np.float32), rgb)
    assert iou(matte.alpha, square) > 0.98


@pytest.mark.parametrize("found", [True, False])
def test_chain_with_jpeg_artifacts_has_open_links(found: bool) -> None:
    chain = np.zeros((SIDE, SIDE), np.uint8)
    for x in range(40, SIDE - 40, 22):
        cv2.ellipse(chain, (x, SIDE // 2), (13, 9), 0, 0, 360, 1, 4)
    filled = np.zeros((SIDE, SIDE), np.uint8)
    cv2.drawContours(filled, cv2.findContours(chain, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], -1, 1, -1)
    rgb = np.where(chain[..., None] > 0, np.uint8((240, 220, 130)), canvas((70, 80, 120)))
    rgb = cv2.imdecode(cv2.imencode(".jpg", noisy(rgb), [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_COLOR)
    values = network(filled > 0) if found else np.zeros((320, 320), np.float32)
    alpha = run(values, np.ascontiguousarray(rgb)).alpha
    links = (filled > 0) & (cv2.dilate(chain, np.ones((3, 3), np.uint8)) == 0)
    assert (alpha[links] < 128).mean() > 0.9
    assert (alpha[chain > 0] > 127).mean() > 0.8


def test_soft_shadow_is_background() -> None:
    subject = disc(120)
    cast = cv2.GaussianBlur(np.roll(subject, (30, 40), (0, 1)).astype(np.float32), (0, 0), 14)
    scene = canvas((235, 235, 235)) * (1 - 0.35 * cast[..., None])
    rgb = noisy(np.where(subject[..., None], np.uint8((190, 40, 40)), scene.astype(np.uint8)))
    assert iou(run(network(subject), rgb).alpha, subject) > 0.97


def test_tinted_shadow_is_left_to_the_network() -> None:
    subject = disc(90)
    cast = cv2.GaussianBlur(np.roll(disc(120), 110, 1).astype(np.float32), (0, 0), 6)
    scene = canvas((225, 228, 232)) - np.float32((40, 75, 110)) * cast[..., None]
    rgb = noisy(np.where(subject[..., None], np.uint8((235, 90, 10)), scene.astype(np.uint8)))
    assert iou(run(network(subject), rgb).alpha, subject) > 0.95


def test_found_gray_subject_of_low_contrast_is_unchanged() -> None:
    y = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j][0]
    subject = disc(150)
    shade = 238 + 17 * (np.abs(y) < 0.35)  # a band of the background's color crosses the subject
    rgb = noisy(np.where(subject[..., None], np.repeat(shade[..., None], 3, 2), 255), 0.5)
    values = network(subject)
    assert np.array_equal(run(values, rgb).alpha, run(values, rgb, OFF).alpha)


def test_missed_cover_keeps_gray_areas() -> None:
    cover = np.zeros((SIDE, SIDE), np.bool_)
    cover[40:440, 60:420] = True
    rgb = canvas((236, 236, 236))
    rgb[cover] = (30, 45, 110)
    rgb[120:380, 62:418] = 212  # the hue of a shadow, with an edge that JPEG artifacts open
    rgb[150:380, 150:330] = (200, 90, 40)
    rgb = cv2.imdecode(cv2.imencode(".jpg", noisy(rgb))[1], cv2.IMREAD_COLOR)
    person = np.zeros((SIDE, SIDE), np.bool_)
    person[150:380, 150:330] = True
    assert iou(run(network(person), np.ascontiguousarray(rgb)).alpha, cover) > 0.95


def test_hole_in_solid_matte_opens_on_black() -> None:
    ring = disc(150) & ~disc(60)
    rgb = canvas((0, 0, 0))
    rgb[ring] = (60, 140, 230)
    values = np.where(network(disc(150)) > 0.5, 1, 0).astype(np.float32)
    alpha = run(values, rgb).alpha
    assert alpha[disc(50)].max() < 20
    assert iou(alpha, ring) > 0.95


def test_sure_network_decides_on_open_parts_of_low_contrast() -> None:
    subject = disc(150)
    rgb = canvas((8, 8, 8))
    rgb[subject] = (52, 20, 22)
    dark = subject & (np.mgrid[:SIDE, :SIDE][1] > 290)
    rgb[dark] = (8, 8, 8)
    alpha = run(network(subject), noisy(rgb, 0.5)).alpha
    assert alpha[dark].mean() > 200


def test_certain_network_keeps_open_part_of_equal_color() -> None:
    subject = disc(150)
    rgb = canvas((120, 120, 120))
    rgb[subject] = (230, 60, 40)
    equal = subject & (np.mgrid[:SIDE, :SIDE][1] > 320)
    rgb[equal] = (120, 120, 120)
    values = np.where(network(subject) > 0.5, 1, 0).astype(np.float32)
    assert run(values, noisy(rgb, 0.5)).alpha[cv2.erode(equal.view(np.uint8), np.ones((9, 9))) > 0].mean() > 200


def test_network_decides_on_a_hole_of_another_color() -> None:
    ring = disc(160) & ~disc(90)
    rgb = np.where(ring[..., None], np.uint8((170, 60, 50)), canvas())
    rgb[disc(89)] = 247
    values = network(ring) + 0.3 * network(disc(90))
    with_colors, without = run(values, noisy(rgb, 0.5)), run(values, noisy(rgb, 0.5), OFF)
    assert with_colors.plain_background
    assert abs(with_colors.alpha[disc(70)].mean() - without.alpha[disc(70)].mean()) < 3
    assert with_colors.alpha[disc(70)].mean() > 40


def framed(photo: np.ndarray, color: int, width: int) -> np.ndarray:
    frame = cv2.copyMakeBorder(photo, *(width,) * 4, cv2.BORDER_CONSTANT, value=(color,) * 3)
    return np.ascontiguousarray(cv2.imdecode(cv2.imencode(".jpg", frame)[1], cv2.IMREAD_COLOR))


@pytest.mark.parametrize(
    ("photo", "color", "width"), [("astronaut", 0, 8), ("chelsea", 255, 30), ("coffee", 0, 45), ("coffee", 255, 12)]
)
def test_frame_is_no_background_of_its_photo(photo: str, color: int, width: int) -> None:
    rgb = framed(getattr(photos, photo)(), color, width)
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.ellipse(mask, (mask.shape[1] // 2, mask.shape[0] // 2), (130, 110), 0, 0, 360, 1, -1)
    values = network(mask)
    matte = run(values, rgb)
    assert not matte.plain_background
    assert np.array_equal(matte.alpha, run(values, rgb, OFF).alpha)


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_photo_without_smaller_subject_is_whole(found: float) -> None:
    rgb = framed(photos.coffee(), 255, 12)
    values = np.full((320, 320), found, np.float32)
    assert run(values, rgb).alpha[20:-20, 20:-20].min() == 255


WALNUT, BLACK, GOLD, IVORY = (60, 40, 25), (8, 8, 8), (180, 140, 70), (240, 238, 232)


@pytest.mark.parametrize("margin", [0.04, 0.06, 0.08, 0.1, 0.12])
@pytest.mark.parametrize(
    ("background", "frame"),
    [
        ((255, 255, 255), WALNUT),
        ((255, 255, 255), BLACK),
        ((228, 226, 220), WALNUT),
        ((228, 226, 220), BLACK),
        ((118, 118, 120), BLACK),
        ((118, 118, 120), IVORY),
        ((120, 84, 38), IVORY),
        ((38, 38, 42), GOLD),
    ],
)
def test_framed_print_keeps_its_frame(
    background: tuple[int, int, int], margin: float, frame: tuple[int, int, int]
) -> None:
    outer, width = round(margin * SIDE), round(0.05 * SIDE)
    inner = outer + width
    whole, picture = np.zeros((2, SIDE, SIDE), np.bool_)
    whole[outer:-outer, outer:-outer] = True
    picture[inner:-inner, inner:-inner] = True
    rgb = canvas(background)
    rgb[whole] = frame
    patches = np.random.default_rng(0).integers(40, 200, (20, 20, 3), dtype=np.uint8)
    rgb[picture] = cv2.resize(patches, (SIDE - 2 * inner,) * 2, interpolation=cv2.INTER_CUBIC).reshape(-1, 3)
    rgb = cv2.imdecode(cv2.imencode(".jpg", noisy(rgb, 1), [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)
    matte = run(network(cv2.erode(picture.view(np.uint8), np.ones((25, 25), np.uint8))), np.ascontiguousarray(rgb))
    assert matte.plain_background
    assert (matte.alpha[whole & ~picture] > 127).mean() > 0.98
    assert iou(matte.alpha, whole) > 0.98


def test_plain_area_around_subject_is_no_frame() -> None:
    rgb = canvas((0, 0, 0))
    rgb[20:-20, 20:-20] = 120
    subject = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(subject, (SIDE // 2,) * 2, (SIDE // 2 - 50, SIDE // 2 - 60), 0, 0, 360, 1, -1)
    rgb[subject > 0] = (180, 40, 30)
    rgb, values = noisy(rgb, 1), network(subject)
    assert np.array_equal(run(values, rgb).alpha, run(values, rgb, OFF).alpha)


@pytest.mark.parametrize("share", [0.4, 0.6])
@pytest.mark.parametrize("is_tall", [False, True])
def test_rug_that_touches_two_borders_is_whole(share: float, is_tall: bool) -> None:
    rug, found = np.zeros((2, SIDE, SIDE), np.bool_)
    margin = round((1 - share) / 2 * SIDE)
    rug[margin:-margin] = True
    found[margin:-margin, SIDE // 5 : -SIDE // 5] = True
    rgb = canvas()
    rgb[rug] = cv2.resize(photos.coffee()[100:300, 100:500], (SIDE, SIDE - 2 * margin)).reshape(-1, 3)
    if is_tall:
        rgb, rug, found = (np.ascontiguousarray(each.swapaxes(0, 1)) for each in (rgb, rug, found))
    assert iou(run(network(found), rgb).alpha, rug) > 0.95


@pytest.mark.parametrize("width", [20, 60])
def test_letterbox_bars_are_no_background(width: int) -> None:
    rgb = cv2.copyMakeBorder(photos.astronaut(), width, width, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    mask = np.zeros(rgb.shape[:2], np.uint8)
    cv2.ellipse(mask, (256, 256 + width), (130, 110), 0, 0, 360, 1, -1)
    values = network(mask)
    assert np.array_equal(run(values, rgb).alpha, run(values, rgb, OFF).alpha)


def test_dark_part_of_few_cells_is_no_photo() -> None:
    rgb = canvas(side=661)[:, :25].copy()
    rgb[:, 6:18] = np.random.default_rng(0).integers(0, 90, (661, 12, 3))
    values = np.zeros((64, 64), np.float32)
    values[20:40, 24:40] = 1
    assert run(values, rgb).plain_background


def test_printed_cover_with_shadow_is_whole() -> None:
    cover = np.zeros((SIDE, SIDE), np.bool_)
    cover[24:450, 20:440] = True
    cast = cv2.GaussianBlur(np.roll(cover, (10, 12), (0, 1)).astype(np.float32), (0, 0), 8)
    rgb = (canvas((236, 236, 236)) * (1 - 0.5 * cast[..., None])).astype(np.uint8)
    rgb[cover] = cv2.resize(photos.coffee(), (420, 426)).reshape(-1, 3)
    alpha = run(network(disc(110)), noisy(rgb)).alpha
    assert (alpha[cover] > 127).mean() > 0.99


def test_white_subject_on_white_stays_whole() -> None:
    subject = disc(150)
    shade = 246 + 4 * np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j][1]
    rgb = noisy(np.where(subject[..., None], np.repeat(shade[..., None], 3, 2), 255), 0.5)
    assert iou(run(network(subject), rgb).alpha, subject) > 0.97


def test_print_in_similar_color_stays() -> None:
    subject = disc(170)
    rgb = np.where(subject[..., None], np.uint8((40, 60, 130)), canvas())
    rgb[200:280, 200:280] = 244  # a white print is never exactly as bright as a white background
    matte = run(network(subject), noisy(rgb))
    assert matte.alpha[210:270, 210:270].min() == 255


@pytest.mark.parametrize("kind", ["light", "gradient", "empty"])
def test_wall_without_subject_stays_empty(kind: str) -> None:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    field = {"light": np.exp(-(x**2 + y**2) * 4), "gradient": 0.5 * x, "empty": 0 * x}[kind]
    rgb = noisy(np.clip(180 + 60 * field[..., None] + np.zeros(3), 0, 255))
    assert run(np.zeros((320, 320), np.float32), rgb).box is None


@pytest.mark.parametrize("kind", ["noise", "stripes", "two halves"])
def test_matte_is_unchanged_without_plain_background(kind: str) -> None:
    rgb = canvas((150, 150, 150))
    if kind == "noise":
        rgb = np.random.default_rng(1).integers(0, 256, rgb.shape, dtype=np.uint8)
    elif kind == "stripes":
        rgb[:, (np.arange(SIDE) // 20) % 2 == 0] = 90
    else:
        rgb[SIDE // 2 :] = 40
    rgb[disc(100)] = (200, 60, 40)
    values = network(disc(100))
    with_colors, without = run(values, rgb), run(values, rgb, OFF)
    assert not with_colors.plain_background
    assert np.array_equal(with_colors.alpha, without.alpha)
    assert np.array_equal(with_colors.foreground, without.foreground)


def bottle(side: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dark bottle with a pale label, its mask, and that of its label: ``size`` pixels high in a square image."""
    mask, label = np.zeros((side, side), np.bool_), np.zeros((side, side), np.bool_)
    places = (mask, (0.3, 1), (0, 0.4)), (mask, (0, 0.3), (0.13, 0.27)), (label, (0.45, 0.85), (0.03, 0.37))
    for plane, rows, columns in places:
        top, bottom = (round(0.6 * side + each * size) for each in rows)
        left, right = (round(0.25 * side + each * size) for each in columns)
        plane[top:bottom, left:right] = True
    rgb = np.where(mask[..., None], np.uint8((60, 80, 60)), canvas((240, 240, 238), side))
    rgb[label] = (226, 222, 212)
    return noisy(rgb, 1.0), mask, label


@pytest.mark.parametrize(("side", "size"), [(960, 300), (1000, 90), (2000, 160)])
def test_pale_label_stays_opaque_at_any_size(side: int, size: int) -> None:
    rgb, mask, label = bottle(side, size)
    matte = run(network(mask, 1000), rgb)
    assert matte.plain_background
    assert np.percentile(matte.alpha[label], 5) > 200
    assert iou(matte.alpha, mask) > 0.98


def test_far_parts_prevent_finer_cells() -> None:
    rgb, mask, _ = bottle(1000, 90)
    mask[40:60, 900:960] = True
    rgb[40:60, 900:960] = (60, 80, 60)
    assert run(network(mask), rgb).alpha[45:55, 905:955].min() > 240


def test_speck_far_away_does_not_make_label_transparent() -> None:
    rgb, mask, label = bottle(1000, 90)
    rgb[40:42, 950:952] = 20
    alpha = run(network(mask, 1000), rgb).alpha
    assert np.percentile(alpha[label], 5) > 200


@pytest.mark.parametrize("found", [True, False])
def test_small_chain_has_open_links(found: bool) -> None:
    chain = np.zeros((900, 1200), np.uint8)
    for x in range(500, 650, 22):
        cv2.ellipse(chain, (x, 400), (13, 9), 0, 0, 360, 1, 3)
    rgb = np.where(chain[..., None] > 0, np.uint8((60, 60, 66)), np.uint8((252, 252, 252)))
    rgb = cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 88])[1], cv2.IMREAD_COLOR)
    filled = cv2.morphologyEx(chain, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
    values = network(filled, 1000) if found else np.zeros((384, 384), np.float32)
    alpha = run(values, np.asarray(rgb, np.uint8)).alpha
    links = cv2.erode((filled > chain).view(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (alpha[links] < 128).mean() > 0.8
    assert (alpha[chain > 0] > 128).mean() > 0.9


@pytest.mark.parametrize("size", [18, 30, 48])
def test_small_subject_in_corner_is_found_by_color(size: int) -> None:
    mask = np.zeros((900, 1200), np.bool_)
    mask[:size, :size] = True
    rgb = noisy(np.where(mask[..., None], np.uint8((170, 40, 30)), np.uint8((245, 245, 245))), 1.0)
    assert iou(run(np.zeros((384, 384), np.float32), rgb).alpha, mask) > 0.9


def test_gaps_in_a_row_of_long_image_are_transparent() -> None:
    row = np.zeros((24, 3000), np.uint8)
    for x in range(30, 2990, 40):
        cv2.circle(row, (x, 12), 8, 1, -1)
    rgb = np.where(row[..., None] > 0, np.uint8((60, 40, 120)), np.uint8((245, 245, 245)))
    assert iou(run(network(row, 384), rgb).alpha, row > 0) > 0.9


@pytest.mark.parametrize("margin", [12, 18])
@pytest.mark.parametrize("border", ["left", "right", "top", "bottom"])
def test_narrow_margin_at_border_is_transparent(border: str, margin: int) -> None:
    height, width = 3000, 4000
    top, bottom, left, right = 400, 2600, 600, 3400
    if border in ("left", "right"):
        left, right = (margin, 2000) if border == "left" else (2000, width - margin)
    else:
        top, bottom = (margin, 1500) if border == "top" else (1500, height - margin)
    mask = np.zeros((height, width), np.bool_)
    mask[top:bottom, left:right] = True
    rgb = np.where(mask[..., None], np.uint8((60, 90, 160)), np.uint8((235, 235, 235)))
    alpha = run(network(mask), rgb).alpha
    middle = slice(top + 100, bottom - 100), slice(left + 100, right - 100)
    line = alpha[middle[0]].mean(axis=0) if border in ("left", "right") else alpha[:, middle[1]].mean(axis=1)
    if border in ("right", "bottom"):
        line = line[::-1]
    assert line[: margin - 4].max() < 128
    assert line[margin + 30 : margin + 1000].min() > 240


@pytest.mark.parametrize(("short", "long"), [(24, 480), (30, 900), (30, 3000), (75, 7500), (300, 6000)])
def test_background_of_long_image_is_transparent(short: int, long: int) -> None:
    mask = np.zeros((short, long), np.bool_)
    mask[short // 4 : -(short // 4), long // 4 : -(long // 4)] = True
    rgb = np.where(mask[..., None], np.uint8((200, 30, 30)), np.uint8((255, 255, 255)))
    for turned, shape in ((rgb, mask), (np.ascontiguousarray(rgb.swapaxes(0, 1)), np.ascontiguousarray(mask.T))):
        assert iou(run(network(shape), turned).alpha, shape) > 0.98


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (24, 24), (25, 2000), (2000, 25)])
def test_any_size(shape: tuple[int, int]) -> None:
    rgb = np.full((*shape, 3), 255, np.uint8)
    rgb[shape[0] // 3 : 2 * shape[0] // 3 + 1, shape[1] // 3 : 2 * shape[1] // 3 + 1] = (20, 90, 20)
    alpha = plain_matte(np.ones((32, 32), np.float32), rgb)
    assert alpha is None or (alpha.shape == shape and alpha.dtype == np.uint8 and alpha.flags.c_contiguous)


@pytest.mark.parametrize("shape", [(24, 5200), (24, 5300), (30, 16384), (73, 16384), (75, 16384)])
@pytest.mark.parametrize("is_tall", [False, True])
def test_long_thin_image_has_a_matte(shape: tuple[int, int], is_tall: bool) -> None:
    rgb = np.full((*shape, 3), 255, np.uint8)
    rgb[shape[0] // 3 : -shape[0] // 3, shape[1] // 3 : shape[1] // 2] = 30
    values = np.zeros((320, 320), np.float32)
    values[:, 107:160] = 1
    if is_tall:
        rgb, values = np.ascontiguousarray(rgb.swapaxes(0, 1)), np.ascontiguousarray(values.T)
    alpha = run(values, rgb).alpha
    assert alpha.shape == rgb.shape[:2]
    center = alpha[shape[1] * 5 // 12, shape[0] // 2] if is_tall else alpha[shape[0] // 2, shape[1] * 5 // 12]
    assert center > 200
    assert alpha[:2, :2].max() < 20


def test_opaque_parts_on_transparent_input_are_subject() -> None:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    alpha[100:200, 60:160] = 255
    alpha[300:340, 250:420] = 180
    matte = refine(RawMatte(np.zeros((320, 320), np.float32)), DecodedImage(canvas((10, 10, 10)), alpha))
    assert matte.plain_background
    assert np.array_equal(matte.alpha, alpha)
