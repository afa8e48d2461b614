from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clearcut.errors import InvalidOption
from clearcut.imaging.layout import MAX_CANVAS_PIXELS, Layout, plan_layout
from clearcut.imaging.options import Length, Padding, RemoveOptions
from clearcut.imaging.types import Box

SUBJECT = Box(40, 30, 20, 60)


def padding(value: float, relative: bool = False) -> Padding:
    return Padding(*[Length(value, relative)] * 4)


def laid(size: tuple[int, int] = (200, 100), subject: Box | None = SUBJECT, **options: object) -> Layout:
    return plan_layout(*size, subject, RemoveOptions(**options))  # type: ignore[arg-type]


def test_default_is_the_whole_frame() -> None:
    layout = laid()
    assert layout == Layout(Box(0, 0, 200, 100), Box(0, 0, 200, 100), 200, 100)
    assert not layout.scales
    assert layout.fills


def test_crop_is_the_subject_box() -> None:
    assert laid(crop=True) == Layout(SUBJECT, Box(0, 0, 20, 60), 20, 60)


def test_crop_without_subject_is_full_frame() -> None:
    layout = laid(subject=None, crop=True, padding=padding(10), crop_ratio=(1, 1))
    assert layout.source == Box(0, 0, 200, 100)
    assert (layout.width, layout.height) == (200, 100)


def test_padding_extends_past_the_frame() -> None:
    layout = laid(crop=True, padding=Padding(Length(0), Length(0.5, relative=True), Length(20), Length(50)))
    assert layout.source == Box(0, 30, 70, 70)
    assert layout.target == Box(10, 0, 70, 70)
    assert (layout.width, layout.height) == (50 + 20 + 10, 60 + 20)
    assert not layout.scales


@pytest.mark.parametrize(("ratio", "size"), [((1, 1), (60, 60)), ((16, 9), (107, 60)), ((1, 6), (20, 120))])
def test_crop_ratio_enlarges_around_center(ratio: tuple[int, int], size: tuple[int, int]) -> None:
    layout = laid(crop=True, crop_ratio=ratio)
    assert (layout.width, layout.height) == size
    middle = layout.target.left - layout.source.left + 50, layout.target.top - layout.source.top + 60
    assert abs(middle[0] - size[0] / 2) <= 1
    assert abs(middle[1] - size[1] / 2) <= 1


@pytest.mark.parametrize(
    ("caps", "size"),
    [
        ({"max_side": 1000}, (200, 100)),
        ({"max_side": 50}, (50, 25)),
        ({"max_pixels": 1_000_000}, (200, 100)),
        ({"max_pixels": 5000}, (100, 50)),
        ({"max_pixels": 1}, (1, 1)),
        ({"max_side": 50, "max_pixels": 100_000}, (50, 25)),
    ],
)
def test_size_limits_never_enlarge(caps: dict[str, int], size: tuple[int, int]) -> None:
    layout = laid(**caps)
    assert (layout.width, layout.height) == size


@pytest.mark.parametrize(
    ("options", "canvas", "target"),
    [
        ({"width": 100}, (100, 50), Box(0, 0, 100, 50)),
        ({"height": 300}, (600, 300), Box(0, 0, 600, 300)),
        ({"width": 400, "fit": "scale-down"}, (200, 100), Box(0, 0, 200, 100)),
        ({"width": 50, "fit": "scale-down"}, (50, 25), Box(0, 0, 50, 25)),
        ({"width": 400, "fit": "cover"}, (400, 200), Box(0, 0, 400, 200)),
        ({"width": 100, "height": 100}, (100, 100), Box(0, 25, 100, 50)),
        ({"width": 400, "height": 400}, (400, 400), Box(0, 100, 400, 200)),
        ({"width": 400, "height": 400, "fit": "scale-down"}, (400, 400), Box(100, 150, 200, 100)),
        ({"width": 100, "height": 100, "fit": "scale-down"}, (100, 100), Box(0, 25, 100, 50)),
        ({"width": 100, "height": 100, "max_side": 10}, (100, 100), Box(0, 25, 100, 50)),
    ],
)
def test_exact_sizes(options: dict[str, object], canvas: tuple[int, int], target: Box) -> None:
    layout = laid(**options)
    assert (layout.width, layout.height) == canvas
    assert layout.target == target
    assert layout.source == Box(0, 0, 200, 100)


def test_cover_fills_canvas_around_subject() -> None:
    assert laid(width=50, height=50, fit="cover") == Layout(Box(0, 0, 100, 100), Box(0, 0, 50, 50), 50, 50)
    right = laid(subject=Box(140, 0, 20, 20), width=50, height=50, fit="cover")
    assert right.source == Box(100, 0, 100, 100)
    assert laid(subject=None, width=50, height=50, fit="cover").source == Box(50, 0, 100, 100)
    wide = laid(width=400, height=100, fit="cover")
    assert wide.source == Box(0, 35, 200, 50)


@pytest.mark.parametrize(
    ("field", "size", "options"),
    [
        ("crop", (16_384, 1), {"crop": True, "crop_ratio": (1, 1)}),
        ("padding", (200, 100), {"crop": True, "padding": padding(1000, relative=True)}),
        ("padding", (200, 100), {"crop": True, "padding": padding(1e9)}),
        ("width", (1, 16_384), {"width": 6000}),
        ("height", (16_384, 1), {"height": 6000}),
    ],
)
def test_canvas_above_limit_is_refused(field: str, size: tuple[int, int], options: dict[str, object]) -> None:
    with pytest.raises(InvalidOption, match="within 50 megapixels") as caught:
        laid(size, subject=Box(0, 0, *size), **options)
    assert caught.value.option == field


def test_huge_window_at_small_size_is_accepted() -> None:
    layout = laid((16_384, 1), subject=Box(0, 0, 16_384, 1), crop=True, crop_ratio=(1, 1), max_side=1024)
    assert (layout.width, layout.height) == (1024, 1024)
    assert layout.target == Box(0, 512, 1024, 1)


def test_image_above_canvas_limit_keeps_its_size() -> None:
    layout = laid((10_000, 10_000))
    assert layout.width * layout.height > MAX_CANVAS_PIXELS


sides = st.integers(1, 400)


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, Box | None, RemoveOptions]:
    width, height = draw(sides), draw(sides)
    subject = None
    if draw(st.booleans()):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        subject = Box(left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)))
    length = st.builds(Length, st.floats(0, 5), st.booleans())
    options = RemoveOptions(
        crop=draw(st.booleans()),
        crop_ratio=draw(st.none() | st.tuples(st.integers(1, 30), st.integers(1, 30))),
        padding=draw(st.none() | st.builds(Padding, length, length, length, length)),
        max_side=draw(st.none() | sides),
        max_pixels=draw(st.none() | st.integers(1, 5000)),
        width=draw(st.none() | sides),
        height=draw(st.none() | sides),
        fit=draw(st.sampled_from(["contain", "cover", "scale-down"])),
    )
    return width, height, subject, options


def plan_or_field(width: int, height: int, subject: Box | None, options: RemoveOptions) -> tuple[Layout | None, str]:
    """The layout, or None and the option that is refused."""
    try:
        return plan_layout(width, height, subject, options), ""
    except InvalidOption as exc:
        return None, str(exc.option)


@given(cases())
@example((368, 1, None, RemoveOptions(height=369)))
@settings(max_examples=600, deadline=None)
def test_layout_stays_within_frame_and_canvas(
    case: tuple[int, int, Box | None, RemoveOptions],
) -> None:
    width, height, subject, options = case
    layout, refused = plan_or_field(width, height, subject, options)
    if layout is None:  # a side of 400 or a crop ratio can be too large for a long image
        assert getattr(options, refused)
        oversized = plan_layout(width, height, subject, options, 10**12)
        assert oversized.width * oversized.height > MAX_CANVAS_PIXELS
        return
    assert layout.source.left >= 0
    assert layout.source.top >= 0
    assert layout.source.right <= width
    assert layout.source.bottom <= height
    assert min(layout.source.width, layout.source.height, layout.target.width, layout.target.height) >= 1
    assert layout.target.left >= 0
    assert layout.target.top >= 0
    assert layout.target.right <= layout.width
    assert layout.target.bottom <= layout.height
    if options.width is not None and options.height is not None:
        assert (layout.width, layout.height) == (options.width, options.height)
    elif options.width is None and options.height is None:
        assert max(layout.width, layout.height) <= (options.max_side or 10**9)
        assert layout.width * layout.height <= (options.max_pixels or 10**9)
    elif options.fit != "scale-down":
        assert layout.width == options.width or layout.height == options.height
