"""Real photos and every kind of file through the real server and model. Checks use decoded pixels."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from tests.support import samples
from tests.support.live_server import http_client
from tests.support.metrics import metric

pytestmark = pytest.mark.live

SIDE = 192


def cut_out(client, data, **options):
    response = client.post("/v1/remove", content=data, params=options, headers={"content-type": "image/*"})
    assert response.status_code == 200, response.text
    return response


def pixels(response):
    return np.asarray(Image.open(io.BytesIO(response.content)))


def of_its_own_photo(rgba, photo):
    """Check the colors at full size: the photo's own inside, zero outside."""
    assert rgba.shape == (*photo.shape[:2], 4)
    assert np.array_equal(rgba[rgba[..., 3] == 255][:, :3], photo[rgba[..., 3] == 255])
    assert not rgba[rgba[..., 3] == 0].any()


@pytest.mark.parametrize(
    ("name", "subject", "background"),
    [
        # rows and columns of a patch that is surely subject or background
        ("astronaut", np.s_[60:150, 190:250], np.s_[40:120, 330:500]),
        ("chelsea", np.s_[60:200, 120:300], np.s_[30:110, 430:450]),
        ("coffee", np.s_[120:280, 220:400], np.s_[300:395, 5:60]),
    ],
)
def test_real_photo_gives_its_subject(client, name, subject, background):
    photo = samples.photo(name)
    response = cut_out(client, samples.png(photo))
    rgba = pixels(response)
    of_its_own_photo(rgba, photo)
    assert rgba[subject][..., 3].mean() > 240
    assert rgba[background][..., 3].mean() < 20
    assert response.headers["x-foreground-found"] == "true"


@pytest.mark.parametrize("name", ["coffee", "rocket"])
def test_background_corners_are_transparent(client, name):
    rgba = pixels(cut_out(client, samples.png(samples.photo(name))))
    assert rgba[0, 0, 3] == rgba[0, -1, 3] == 0


def test_webp_and_jpg_outputs_match_png(client):
    photo = samples.photo("coffee")
    png = pixels(cut_out(client, samples.png(photo))).astype(int)
    webp = pixels(cut_out(client, samples.png(photo), format="webp")).astype(int)
    assert np.array_equal(webp[..., 3], png[..., 3])
    inside = png[..., 3] == 255
    assert np.abs(webp - png)[inside].mean() < 4
    jpg = pixels(cut_out(client, samples.png(photo), format="jpg", bg_color="#00ff00")).astype(int)
    assert jpg.shape == (*photo.shape[:2], 3)
    assert np.abs(jpg - png[..., :3])[inside].mean() < 4
    assert np.abs(jpg[png[..., 3] == 0] - (0, 255, 0)).mean() < 4


# --- every kind of input ---------------------------------------------------------------------------------------------


def gray(rgb):
    return np.asarray(Image.fromarray(rgb).convert("L"))


def palette(rgb, **options):
    out = io.BytesIO()
    quantized = Image.fromarray(rgb).quantize(64)
    quantized.save(out, "PNG", **options)
    return out.getvalue(), np.asarray(quantized.convert("RGB"))


def kinds():
    """name -> (file, upright image, tolerated mean difference inside the subject)."""
    rgb = samples.photo("astronaut", SIDE, SIDE - 32)
    shade = gray(rgb)
    shades = np.dstack([shade] * 3)
    alpha = np.full(shade.shape, 255, np.uint8)
    alpha[:, :20] = 0
    rgba = np.dstack([rgb, alpha])
    inks = np.dstack([255 - rgb, np.zeros_like(shade)])
    wide = rgb.astype(np.uint16) * 257
    indexed, indexed_rgb = palette(rgb)
    veiled, veiled_rgb = palette(rgb, transparency=0)
    return {
        "jpeg": (samples.jpeg(rgb), rgb, 4),
        "jpeg progressive": (samples.jpeg(rgb, progressive=True), rgb, 4),
        "jpeg subsampled": (samples.jpeg(rgb, subsampling=2), rgb, 5),
        "jpeg gray": (samples.jpeg(shade), shades, 4),
        "jpeg CMYK": (samples.jpeg_cmyk(inks), rgb, 6),
        "jpeg YCCK": (samples.jpeg_ycck(inks), rgb, 6),
        "jpeg sRGB profile": (samples.jpeg(rgb, icc_profile=samples.icc_rgb(samples.SRGB_PRIMARIES)), rgb, 5),
        "png rgb": (samples.png(rgb), rgb, 0),
        "png rgba": (samples.png(rgba), rgb, 0),
        "png gray": (samples.png(shade), shades, 0),
        "png gray alpha": (samples.png_raw(np.dstack([shade, alpha]), 8, 4), shades, 0),
        "png palette": (indexed, indexed_rgb, 0),
        "png palette transparency": (veiled, veiled_rgb, 0),
        "png 16 bit": (samples.png_raw(wide, 16, 2), rgb, 0),
        "png 16 bit rgba": (samples.png_raw(np.dstack([wide, alpha.astype(np.uint16) * 257]), 16, 6), rgb, 0),
        "png 16 bit gray": (samples.png_raw(shade.astype(np.uint16)[..., None] * 257, 16, 0), shades, 0),
        "png 4 bit gray": (samples.png_raw((shade // 16)[..., None], 4, 0), shades // 16 * 17, 0),
        "png interlaced": (samples.png_raw(rgb, 8, 2, interlaced=True), rgb, 0),
        "webp": (samples.webp(rgb, quality=95), rgb, 6),
        "webp lossless": (samples.webp(rgb, lossless=True), rgb, 0),
        "webp alpha": (samples.webp(rgba, lossless=True, exact=True), rgb, 0),
        "webp animated": (samples.animated([rgb, rgb[::-1]], "WEBP", lossless=True), rgb, 0),
        "png animated": (samples.animated([rgb, rgb[::-1].copy()], "PNG"), rgb, 0),
    }


KINDS = kinds()


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_format_gives_correct_pixels(client, kind):
    data, image, tolerance = KINDS[kind]
    rgba = pixels(cut_out(client, data))
    assert rgba.shape == (*image.shape[:2], 4)
    assert not rgba[rgba[..., 3] == 0].any()
    inside = rgba[..., 3] == 255
    assert inside.mean() > 0.1
    assert np.abs(rgba[inside][:, :3].astype(int) - image[inside]).mean() <= tolerance
    if "alpha" in kind or "rgba" in kind:
        assert not rgba[:, :20, 3].any(), "the input's own transparency is kept"


@pytest.mark.parametrize("fmt", ["jpeg", "png", "webp"])
def test_rotated_photo_comes_out_upright(client, fmt):
    upright = samples.photo("astronaut", SIDE, SIDE - 32)
    stored = samples.as_stored(upright, 6)
    options = {"lossless": True} if fmt == "webp" else {}
    response = cut_out(client, getattr(samples, fmt)(stored, orientation=6, **options))
    rgba = pixels(response)
    assert rgba.shape == (SIDE - 32, SIDE, 4)
    assert (response.headers["x-original-width"], response.headers["x-original-height"]) == (str(SIDE), str(SIDE - 32))
    inside = rgba[..., 3] == 255
    assert np.abs(rgba[inside][:, :3].astype(int) - upright[inside]).mean() < 4


# --- no metadata of the input in the output --------------------------------------------------------------------------

SECRET = "taken-at-home"
XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note>{SECRET}</note></x:xmpmeta>'.encode()


def with_everything(fmt):
    """Return a photo with metadata about place, author and camera, in every form of its format."""
    tags = Image.Exif()
    tags[ExifTags.Base.Artist] = SECRET
    tags[ExifTags.Base.Orientation] = 1
    tags[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (52.0, 31.0, 12.0),
        ExifTags.GPS.GPSAreaInformation: SECRET.encode(),
    }
    out = io.BytesIO()
    image = Image.fromarray(samples.photo("coffee", SIDE, SIDE))
    options = {"exif": tags.tobytes(), "icc_profile": samples.icc_rgb(samples.SRGB_PRIMARIES)}
    if fmt == "PNG":
        options["pnginfo"] = info = PngImagePlugin.PngInfo()
        info.add_text("Comment", SECRET)
        info.add_text("Author", SECRET, zip=True)
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    else:
        options["xmp"] = XMP
        if fmt == "JPEG":
            options["comment"] = SECRET
    image.save(out, fmt, **options)
    data = out.getvalue()
    assert SECRET.encode() in data
    return data


def blocks(data):
    """Return the names of a file's parts that could hold more than pixels."""
    if data.startswith(b"\x89PNG"):
        at, found = 8, []
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            found.append(data[at + 4 : at + 8].decode())
            at += 12 + length
        return set(found)
    if data.startswith(b"RIFF"):
        at, found = 12, []
        while at < len(data):
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            found.append(data[at : at + 4].decode().strip())
            at += 8 + length + length % 2
        return set(found)
    at, found = 2, []
    while data[at + 1] != 0xDA:
        found.append(f"{data[at + 1]:02X}")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return set(found)


ALLOWED = {
    "png": {"IHDR", "sRGB", "IDAT", "IEND"},  # sRGB: one byte that names the color space
    "webp": {"VP8X", "VP8", "VP8L", "ALPH"},
    "jpg": {"E0", "DB", "C0", "C2", "C4", "DD"},  # JFIF, tables, frame
}


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("output_format", ["png", "webp", "jpg"])
def test_output_has_no_input_metadata(client, fmt, output_format):
    response = cut_out(client, with_everything(fmt), format=output_format).content
    assert blocks(response) <= ALLOWED[output_format]
    assert SECRET.encode() not in response


# --- many at once ----------------------------------------------------------------------------------------------------


def test_sixteen_clients_get_their_own_images(tight):
    """The images share batches. Every other one is mirrored and each has its own size, so a mix-up is detected."""
    photos = [
        np.ascontiguousarray(samples.photo(samples.PHOTOS[n % 4], 240 + 8 * n, 200 + n)[:, :: 1 - 2 * (n // 4 % 2)])
        for n in range(16)
    ]
    runs, images = (metric(tight, f"clearcut_batch_size_{part}") for part in ("count", "sum"))
    with http_client(tight) as client, ThreadPoolExecutor(16) as clients:
        responses = list(clients.map(lambda photo: cut_out(client, samples.png(photo)), photos))
    for photo, response in zip(photos, responses, strict=True):
        of_its_own_photo(pixels(response), photo)
    runs = metric(tight, "clearcut_batch_size_count") - runs
    images = metric(tight, "clearcut_batch_size_sum") - images
    assert 16 <= images <= 32  # a small subject takes two runs
    assert runs < images, "not one run of the network had two images"


def test_result_does_not_depend_on_batch(tight):
    data = samples.jpeg(samples.photo("chelsea"))
    with http_client(tight) as client, ThreadPoolExecutor(8) as clients:
        alone = pixels(cut_out(client, data)).astype(int)
        together = list(clients.map(lambda _: pixels(cut_out(client, data)).astype(int), range(8)))
    for response in together:
        assert np.abs(response[..., 3] - alone[..., 3]).max() <= 2  # floating-point sums in another order


def test_keep_alive_connection_serves_many_images(server):
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    with httpx.Client(base_url=server.base_url, timeout=60, trust_env=False, limits=limits) as client:
        sizes = [(64 + n, 48) for n in range(5)]
        for width, height in sizes:
            response = cut_out(client, samples.png(samples.photo("coffee", width, height)))
            assert pixels(response).shape == (height, width, 4)
