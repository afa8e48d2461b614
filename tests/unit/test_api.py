"""The Python API: forms of input and output, options, threads, event loops and fork."""

import asyncio
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import clearcut
from clearcut import Remover, local_pipeline
from clearcut.errors import InputError, RemoverClosed, StartupError
from clearcut.imaging.formats.heif import hevc_library
from tests.support.heif_files import heic_grid
from tests.support.live_server import environment
from tests.support.samples import icc_cmyk, jpeg, jpeg_cmyk, photo, png, saved

PHOTO = photo("astronaut", 320, 320)


@pytest.fixture(scope="module")
def remover():
    with Remover(model="clearcut-s") as remover:
        yield remover


@pytest.fixture(scope="module")
def expected(remover):
    """The cut-out of the photo, u8[H,W,4], made from a PNG file."""
    return opened(remover.remove(png(PHOTO)))


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_bytes_give_a_png(remover, expected):
    assert expected.shape == (320, 320, 4)
    assert 0 < expected[:, :, 3].mean() < 255


@pytest.mark.parametrize("fmt", ["BMP", "TIFF"])
def test_lossless_formats_equal_png(remover, expected, fmt):
    np.testing.assert_array_equal(opened(remover.remove(saved(Image.fromarray(PHOTO), fmt))), expected)


@pytest.mark.parametrize("fmt", ["AVIF", "GIF"])
def test_other_formats_as_bytes_path_and_pillow_image(remover, fmt, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(saved(Image.fromarray(PHOTO), fmt))
    first = opened(remover.remove(path.read_bytes()))
    np.testing.assert_array_equal(np.asarray(remover.remove(path)), first)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(remover.remove(image)), first)


@pytest.mark.skipif(hevc_library.find_library() is None, reason="this system has no HEIC decoder")
def test_heic_as_bytes_and_path(remover, expected, tmp_path):
    path = tmp_path / "photo.heic"
    path.write_bytes(heic_grid(PHOTO, 64))
    first = opened(remover.remove(path.read_bytes()))
    np.testing.assert_array_equal(np.asarray(remover.remove(path)), first)
    assert first.shape == expected.shape
    assert np.abs(first[:, :, 3].astype(int) - expected[:, :, 3]).mean() < 8


def test_bytes_give_the_requested_format(remover):
    image = Image.open(io.BytesIO(remover.remove(png(PHOTO), format="webp", size="preview")))
    assert (image.format, image.size) == ("WEBP", (256, 256))


@pytest.mark.parametrize("as_input", [str, lambda path: path, Image.open], ids=["str", "Path", "Pillow"])
def test_path_and_pillow_image_give_a_pillow_image(remover, expected, tmp_path, as_input):
    path = tmp_path / "photo.png"
    path.write_bytes(png(PHOTO))
    image = remover.remove(as_input(path))
    assert isinstance(image, Image.Image)
    assert image.mode == "RGBA"
    assert np.array_equal(np.asarray(image), expected)


@pytest.mark.parametrize(
    ("options", "channels"),
    [({}, 4), ({"channels": "rgb"}, 3), ({"channels": "alpha"}, 1), ({"format": "jpg"}, 3)],
)
def test_array_gives_an_array(remover, expected, options, channels):
    result = remover.remove(PHOTO, **options)
    assert (result.shape, result.dtype) == ((320, 320, channels), np.uint8)
    if channels == 4:
        assert np.array_equal(result, expected)


def test_array_with_alpha_equals_file_with_alpha(remover):
    pixels = np.dstack([PHOTO, np.full((320, 320), 255, np.uint8)])
    pixels[:100, :, 3] = 0
    assert np.array_equal(remover.remove(pixels), opened(remover.remove(png(pixels))))


def test_array_of_caller_is_not_changed(remover):
    pixels = PHOTO.copy()
    remover.remove(pixels)[:] = 0
    assert np.array_equal(pixels, PHOTO)


def test_pillow_image_keeps_orientation_of_its_file(remover):
    file = io.BytesIO(jpeg(photo("astronaut", 320, 200), orientation=6))
    assert remover.remove(Image.open(file)).size == (200, 320)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16", "F", "RGBa"])
def test_pillow_modes(remover, mode):
    source = Image.fromarray(PHOTO)
    image = source.convert("RGBA").convert(mode) if mode == "RGBa" else source.convert("L").convert(mode)
    assert remover.remove(image).size == (320, 320)


def test_options_are_those_of_the_service(remover):
    result = remover.remove(PHOTO, crop="1:1", bg_color="#f00", format="jpg", padding=0.1, width=100, height=100)
    assert result.shape == (100, 100, 3)
    assert result[0, 0].tolist() == [255, 0, 0]


def test_mask_and_background_in_any_form(remover, tmp_path):
    mask = np.zeros((320, 320, 3), np.uint8)
    mask[:160] = 255
    background = tmp_path / "blue.png"
    background.write_bytes(png(np.full((8, 8, 3), (0, 0, 255), np.uint8)))
    result = remover.remove(PHOTO, mask=mask, bg_image=background)
    assert np.array_equal(result[:150, :, :3], PHOTO[:150])
    assert result[-1, 0, :3].tolist() == [0, 0, 255]


@pytest.mark.parametrize("shape", [(320, 320), (320, 320, 1)])
def test_matte_array_is_a_mask(remover, expected, shape):
    matte = expected[:, :, 3].reshape(shape)
    assert np.array_equal(remover.remove(PHOTO, mask=matte), expected)


def test_numpy_numbers_are_option_values(remover):
    options = {"width": np.int64(100), "height": np.uint8(80), "threshold": np.float32(0.5), "reverse": np.bool_(True)}
    plain = {name: value.item() for name, value in options.items()}
    assert np.array_equal(remover.remove(PHOTO, **options), remover.remove(PHOTO, **plain))


def test_cut_returns_the_properties(remover, expected):
    result = remover.cut(PHOTO)
    assert np.array_equal(result.image, expected)
    assert np.array_equal(result.alpha, expected[:, :, 3])
    assert result.box is not None
    assert result.box.width > 50
    assert 0.5 < result.confidence <= 1
    assert {"inference", "refine", "total"} <= set(result.timings)


def test_cut_reports_that_moderation_was_not_run(remover):
    assert remover.cut(PHOTO).moderation is None
    assert remover.cut(PHOTO, moderation=True).moderation == "not run"
    assert remover.cut(PHOTO, moderation=False).moderation is None


@pytest.mark.parametrize(
    ("value", "options", "error", "text"),
    [
        (b"no image", {}, InputError, "Unsupported image type"),
        (PHOTO, {"size": "huge"}, InputError, "'size'"),
        (PHOTO, {"format": "zip"}, InputError, "'format'"),
        (PHOTO, {"background_type": "image"}, InputError, "'bg_image'"),
        (PHOTO, {"colour": "red"}, TypeError, "unknown option 'colour'"),
        (PHOTO, {"crop": [1]}, TypeError, "'crop'"),
        (PHOTO[:, :, 0], {}, TypeError, "u8"),
        (PHOTO[:0], {}, InputError, "size"),
        (Image.new("RGB", (0, 5)), {}, InputError, "size of 0 x 5"),
        (PHOTO, {"mask": Image.new("L", (0, 0))}, InputError, "in 'mask': it has a size of 0 x 0"),
        (PHOTO, {"mask": PHOTO[:0, :, 0]}, InputError, "in 'mask': it has a size of 320 x 0"),
        (PHOTO, {"mask": PHOTO[:, :, 0].astype(float)}, TypeError, "float64"),
        (b"", {}, InputError, "empty"),
        (PHOTO, {"bg_image": b"no image"}, InputError, "in 'bg_image'"),
        (PHOTO, {"bg_image": b""}, InputError, "in 'bg_image'"),
        (PHOTO, {"roi": "0px 0px 9999px 9px"}, InputError, "'roi'"),
        (PHOTO, {"size": "huge", "crop": "maybe"}, InputError, "'size'.*'crop'"),
        (PHOTO.astype(float), {}, TypeError, "float64"),
        (7, {}, TypeError, "got int"),
        ("missing.png", {}, FileNotFoundError, "missing.png"),
    ],
)
def test_invalid_calls(remover, value, options, error, text):
    with pytest.raises(error, match=text):
        remover.remove(value, **options)


def test_threads_share_a_remover(remover, expected):
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: remover.remove(PHOTO), range(12)))
    assert all(np.array_equal(each, expected) for each in results)


def test_call_inside_a_running_event_loop(remover, expected):
    """Jupyter runs cells inside an event loop."""

    async def cell():
        return remover.remove(PHOTO)

    assert np.array_equal(asyncio.run(cell()), expected)


def test_closed_remover_loads_again(remover):
    other = Remover(model="clearcut-s")
    other.remove(PHOTO)
    other.close()
    assert other.remove(PHOTO).shape == (320, 320, 4)
    other.close()


@pytest.mark.parametrize(("arguments", "text"), [({"model": "none"}, "none"), ({"device": "abacus"}, "device")])
def test_remover_that_cannot_run(arguments, text):
    with pytest.raises(StartupError, match=text):
        Remover(**arguments).load()


def test_unknown_attribute_of_the_package():
    with pytest.raises(AttributeError, match="nothing"):
        _ = clearcut.nothing


def python(code, tmp_path):
    """Run code in a new process, with the photo as photo.png, and return its output."""
    (tmp_path / "photo.png").write_bytes(png(PHOTO))
    result = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return result.stdout.strip()


def test_import_is_cheap(tmp_path):
    code = "import sys, clearcut; print(clearcut.__version__, 'numpy' in sys.modules)"
    assert python(code, tmp_path) == f"{clearcut.__version__} False"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="the platform has no fork")
def test_default_remover_works_after_fork(tmp_path):
    code = """
import os
from clearcut import remove
before = remove("photo.png")
child = os.fork()
if child == 0:
    os._exit(0 if remove("photo.png").tobytes() == before.tobytes() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), before.mode)
"""
    assert python(code, tmp_path) == "0 RGBA"


def test_first_call_does_not_load_the_service(tmp_path):
    code = """
import sys
from clearcut import remove
remove("photo.png")
print([name for name in ("sqlalchemy", "starlette", "uvicorn", "limits") if name in sys.modules])
"""
    assert python(code, tmp_path) == "[]"


def test_close_ends_calls_in_progress():
    remover = Remover(model="clearcut-s")
    remover.load()
    large = photo("astronaut", 3000, 3000)
    local = remover._get_pipeline()
    with ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(remover.remove, large) for _ in range(12)]
        while not local._pipeline.active_requests.count:
            pass
        local.close()
        errors = [call.exception(timeout=60) for call in calls]
    assert {type(error) for error in errors} <= {RemoverClosed, type(None)}
    assert any("closed" in str(error) for error in errors)
    remover.close()


def test_pillow_image_of_a_cmyk_file_equals_its_path(remover, tmp_path):
    path = tmp_path / "inks.jpg"
    inks = np.dstack([255 - PHOTO, np.zeros((320, 320), np.uint8)])
    path.write_bytes(jpeg_cmyk(inks, icc_profile=icc_cmyk()))
    assert np.array_equal(np.asarray(remover.remove(Image.open(path))), np.asarray(remover.remove(path)))


def test_input_alpha_keep_returns_the_inputs_alpha(remover):
    pixels = np.dstack([PHOTO[:60, :80], np.tile(np.linspace(0, 255, 80, dtype=np.uint8), (60, 1))])
    cutout = remover.remove(pixels, input_alpha="keep")
    np.testing.assert_array_equal(cutout[..., 3], pixels[..., 3])
    with pytest.raises(InputError, match="input_alpha"):
        remover.remove(pixels, input_alpha="no")


def test_option_chooses_a_model_that_is_loaded_once(remover, monkeypatch):
    loaded = []
    original = local_pipeline.load_untuned
    monkeypatch.setattr(
        local_pipeline, "load_untuned", lambda settings: loaded.append(settings.model) or original(settings)
    )
    default = remover.cut(PHOTO)
    chosen = [remover.cut(PHOTO, model="clearcut-m") for _ in range(2)]
    assert default.model == "clearcut-s"
    assert [each.model for each in chosen] == ["clearcut-m"] * 2
    assert loaded == ["clearcut-m"]
    assert (chosen[0].alpha == chosen[1].alpha).all()
    assert np.abs(default.alpha.astype(int) - chosen[0].alpha).mean() > 0.5
    with pytest.raises(InputError, match=r"'model'.*clearcut-m, clearcut-s"):
        remover.remove(PHOTO, model="u3net")
