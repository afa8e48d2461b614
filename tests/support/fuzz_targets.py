"""Fuzz targets. For any bytes, the code under test returns a result within its limits or raises an ``InputError``."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import quote

from clearcut.errors import InputError
from clearcut.imaging.decode import decode
from clearcut.imaging.formats import registry
from clearcut.imaging.formats.heif import heic, hevc_input, images
from clearcut.imaging.formats.heif.hevc_process import protocol
from clearcut.imaging.probe import probe
from clearcut.imaging.types import ProbeLimits
from clearcut.web.apis import photoroom, poof, rembg, removebg
from clearcut.web.request.body import Body
from clearcut.web.request.limits import MAX_FIELD_BYTES
from clearcut.web.request.upload import Upload, UploadSchema, parse_query, read_upload
from tests.support.hostile import corpus, file_mutations, valid_files
from tests.support.hostile.hostile_forms import BOUNDARY, KIND, all_forms

LIMITS = ProbeLimits()
MAX_FILE_BYTES = 64 * 1024
MAX_DECODED_PIXELS = 10_000
"""Largest image that the fuzz targets of formats decode."""
MAX_LEN = 32 * 1024
"""Largest input of the fuzzer, in bytes."""
KINDS = (
    KIND, "image/png", "application/x-www-form-urlencoded", "application/json", "", "multipart/form-data; boundary=b",
    "application/octet-stream", "text/plain",
)  # fmt: skip
UPLOADS: tuple[UploadSchema, ...] = (poof.UPLOAD, removebg.UPLOAD, rembg.UPLOAD, photoroom.UPLOAD)
PARSERS = (
    poof.parse_request,
    removebg.parse_request,
    partial(rembg.parse_request, served=("clearcut-m",)),
    photoroom.parse_request,
)
_LOOP = asyncio.new_event_loop()


def fuzz_probe(data: bytes) -> None:
    try:
        header = probe(data, LIMITS)
    except InputError:
        return
    assert 0 < header.width <= LIMITS.max_side
    assert 0 < header.height <= LIMITS.max_side
    assert header.pixels <= LIMITS.max_pixels
    assert header.orientation in range(1, 9)


def fuzz_format(name: str, data: bytes) -> None:
    """Fuzz one reader: its header, and for small images the decoder and its wrapper."""
    reader = registry.READERS[name]
    if not reader.signature.match(data):
        return
    view = memoryview(data)
    try:
        header = reader.probe(view, LIMITS)
        assert 0 < header.width <= LIMITS.max_side
        assert 0 < header.height <= LIMITS.max_side
        assert header.pixels <= LIMITS.max_pixels
        if header.pixels <= MAX_DECODED_PIXELS:
            image = decode(data, header)
            assert (image.width, image.height) == header.upright_size
    except InputError:
        return


def fuzz_heic(data: bytes) -> None:
    """Fuzz the container and parameter sets of HEIC, and the input of the decoder's process. Nothing is decoded."""
    view = memoryview(data)
    try:
        image = images.read_image(view, LIMITS, heic.CODEC)
        job = hevc_input.prepare(view, image)
    except InputError:
        return
    for each in protocol.unpack_images(memoryview(job.source)):
        assert 0 < each.offset < each.offset + each.size <= len(job.source)
        sizes = protocol.plane_sizes(each.width, each.height, each.chroma)
        for target, (width, height) in zip(each.planes, sizes, strict=False):
            last = target.offset + (height - 1) * target.stride + width * (1 if each.bits == 8 else 2)
            assert protocol.HEADER_BYTES <= target.offset < last <= job.canvases[-1].end <= 1 << 30


def fuzz_upload(data: bytes) -> None:
    """Fuzz upload parsing. The first bytes choose the Content-Type, the dialect and the chunk size."""
    if len(data) < 3:
        return
    kind, schema, step = KINDS[data[0] % len(KINDS)], UPLOADS[data[1] % len(UPLOADS)], 1 + 7 * data[2]
    messages = [{"type": "http.request", "body": b"", "more_body": False}]
    messages += [
        {"type": "http.request", "body": data[at : at + step], "more_body": True} for at in range(3, len(data), step)
    ][::-1]

    async def receive() -> dict[str, object]:
        return messages.pop()

    async def run_inline(work: Callable[[], object]) -> object:
        return work()

    async def read() -> Upload:
        return await read_upload(
            {"content-type": kind}, b"", Body(receive, 60, lambda: 60.0), MAX_FILE_BYTES, schema, run_inline
        )

    try:
        upload = _LOOP.run_until_complete(read())
    except InputError:
        return
    assert upload.image
    assert all(len(file) <= MAX_FILE_BYTES for file in upload.files.values())
    assert all(value and len(value.encode()) <= 4 * MAX_FIELD_BYTES for value in upload.fields.values())


def fuzz_options(data: bytes) -> None:
    """Fuzz option parsing. The first byte chooses the dialect, the rest is the query string."""
    if not data:
        return
    try:
        fields = parse_query(data[1:])
        request, ignored = PARSERS[data[0] % len(PARSERS)](Upload({"image": bytearray(b"x")}, fields))
    except InputError:
        return
    assert 1 <= len(request.variants) <= 16
    for options in request.variants:
        assert 0 <= options.threshold <= 1
        assert options.width is None or 1 <= options.width <= 6000
    assert all(isinstance(name, str) for name in ignored)


def _probe_seeds() -> Iterator[bytes]:
    for name in valid_files.MAKERS:
        data, kind = valid_files.base(name), valid_files.kind(name)
        if len(data) < MAX_LEN:
            yield data
            yield from (changed for _, changed in file_mutations.rearrangements(kind, data, random.Random(1), 8))


def _format_seeds(name: str) -> Iterator[bytes]:
    for number, (title, make) in enumerate((valid_files.MAKERS | valid_files.MORE_MAKERS).items()):
        if title.split()[0] == name:
            data = make()
            yield data
            rng = random.Random(number)
            for _ in range(8):
                changed = bytearray(data)
                changed[rng.randrange(min(len(data), 400))] = rng.randrange(256)
                yield bytes(changed)


def _upload_seeds() -> Iterator[bytes]:
    for number, form in enumerate(all_forms()):
        if len(form.body) < 20_000:
            yield bytes((0, number % 4, number % 256)) + form.body
    yield b"\x02\x01\x09image_file_b64=aGVsbG8%3D&size=auto"
    yield b'\x03\x01\x09{"image_file_b64": "aGVsbG8=", "size": "auto", "crop": true, "scale": null}'
    yield b"\x01\x00\x63\x89PNG\r\n\x1a\n"
    yield b"\x00\x00\x05--" + BOUNDARY + b"--"


def _option_seeds() -> Iterator[bytes]:
    for number, path in enumerate(("/v1/remove", "/v1.0/removebg", "/api/remove", "/v1/segment")):
        for name, value in itertools.product(corpus.FIELDS[path], corpus.VALUES):
            yield bytes((number,)) + f"{name}={quote(value)}".encode()[:MAX_LEN]
    yield b"\x00format=webp&size=small&crop=4:3&padding=10%25,5px&bg_color=rgb(1,2,3)&width=5&height=6&fit=cover"
    yield b"\x00variants=%5B%7B%7D,%7B%22size%22:%22small%22%7D%5D&shadow=0.4&roi=1%25+2%25+90%25+80px&quality=70"
    yield b"\x00background_type=overlay&scale=50%25&position=10%25+20%25&threshold=.5&reverse=true&despill=false"
    yield b"\x01size=4k&type=car&format=auto&roi=0%25+0%25+100%25+100%25&crop=true&crop_margin=30px&scale=80%25"
    yield b"\x01shadow_type=drop&shadow_opacity=50&semitransparency=true&bg_color=81d4fa77&channels=alpha"
    yield b"\x02model=u2net&a=true&af=240&ab=10&ae=10&om=1&ppm=yes&bgc=255,255,255,255&extras=%7B%7D"
    yield b"\x03format=jpg&channels=rgba&bg_color=%23fff&size=hd&crop=true&despill=false"


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]] = {
    "probe": (fuzz_probe, _probe_seeds),
    **{
        name: (functools.partial(fuzz_format, name), functools.partial(_format_seeds, name))
        for name in ("jpeg", "png", "webp", "avif", "gif", "bmp", "tiff")
    },
    "heic": (fuzz_heic, functools.partial(_format_seeds, "heic")),
    "upload": (fuzz_upload, _upload_seeds),
    "options": (fuzz_options, _option_seeds),
}
"""Targets by name: (function of the bytes, function that yields the seed inputs)."""
