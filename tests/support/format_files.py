"""One small photo in every input format that JPEG, PNG and WebP do not cover."""

from PIL import Image

from clearcut.imaging.formats.registry import INPUT_FORMATS
from tests.support import heif_files, samples

PHOTO = samples.photo("coffee", 64, 48)
FILES = {
    name: samples.saved(Image.fromarray(PHOTO), name, **({"speed": 10} if name == "AVIF" else {}))
    for name in ("AVIF", "BMP", "GIF", "TIFF")
}
if any(each.name == "heic" for each in INPUT_FORMATS):
    FILES["HEIC"] = heif_files.heic(PHOTO)
