"""Writer of HEIF files for tests, valid and hostile. Independent of the service's own writer."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from tests.support import hevc_images
from tests.support.hevc_images import CodedImage

ALPHA = b"urn:mpeg:hevc:2015:auxid:1\x00"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, body: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags) + body)


def ispe(width: int, height: int) -> bytes:
    return full(b"ispe", struct.pack(">II", width, height))


@dataclass(slots=True)
class File:
    """A file under construction. Ids of items are 1, 2, 3 and so on."""

    brand: bytes = b"heic"
    items: list[tuple[bytes, bytes, list[bytes]]] = field(default_factory=list)
    """(type, data, properties)."""
    references: list[tuple[bytes, int, list[int]]] = field(default_factory=list)
    primary: int = 1

    def add(self, kind: bytes, data: bytes, *properties: bytes) -> int:
        self.items.append((kind, data, list(properties)))
        return len(self.items)

    def add_image(self, image: CodedImage, *properties: bytes) -> int:
        size = [ispe(image.width, image.height)]
        if (image.visible_width, image.visible_height) != (image.width, image.height):
            size.append(clap(image.visible_width, image.visible_height, image.width, image.height))
        return self.add(b"hvc1", image.data, box(b"hvcC", image.configuration), *size, *properties)

    def refer(self, kind: bytes, source: int, *targets: int) -> None:
        self.references.append((kind, source, list(targets)))

    def build(self) -> bytes:
        stored = list(dict.fromkeys(each for _, _, properties in self.items for each in properties))
        infe, ipma, data = b"", b"", b""
        for number, (kind, _, properties) in enumerate(self.items, 1):
            infe += full(b"infe", struct.pack(">HH4sx", number, 0, kind), 2)
            ipma += struct.pack(">HB", number, len(properties))
            ipma += b"".join(struct.pack(">H", 0x8000 | 1 + stored.index(each)) for each in properties)
        count = len(self.items)
        head = box(b"ftyp", self.brand + bytes(4) + b"mif1" + self.brand)
        parts = full(b"hdlr", struct.pack(">I4s12xx", 0, b"pict")) + full(b"pitm", struct.pack(">H", self.primary))
        parts += full(b"iinf", struct.pack(">H", count) + infe)
        parts += box(b"iprp", box(b"ipco", b"".join(stored)) + full(b"ipma", struct.pack(">I", count) + ipma, flags=1))
        lists = b"".join(
            box(kind, struct.pack(f">HH{len(targets)}H", source, len(targets), *targets))
            for kind, source, targets in self.references
        )
        parts += full(b"iref", lists) if lists else b""
        start = len(head) + 12 + len(parts) + 16 + 14 * count + 8
        iloc = struct.pack(">BBH", 0x44, 0, count)
        for number, (_, body, _) in enumerate(self.items, 1):
            iloc += struct.pack(">HHHII", number, 0, 1, start + len(data), len(body))
            data += body
        return head + full(b"meta", parts + full(b"iloc", iloc)) + box(b"mdat", data)


def clap(width: int, height: int, coded_width: int, coded_height: int) -> bytes:
    """Return a clean aperture at the top left corner."""
    values = (width, 1, height, 1, width - coded_width, 2, height - coded_height, 2)
    return box(b"clap", struct.pack(">8i", *values))


def irot(quarter_turns: int) -> bytes:
    return box(b"irot", bytes((quarter_turns,)))


def imir(mode: int) -> bytes:
    return box(b"imir", bytes((mode,)))


def nclx(primaries: int = 1, transfer: int = 13, matrix: int = 6) -> bytes:
    return box(b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 0x80))


def grid_data(rows: int, columns: int, width: int, height: int) -> bytes:
    return struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)


def heic(rgb: np.ndarray, *properties: bytes, alpha: np.ndarray | None = None, premultiplied: bool = False) -> bytes:
    """Encode u8[H,W,3] without loss but for the conversion to YCbCr 4:2:0."""
    file = File()
    main = file.add_image(hevc_images.encode(hevc_images.from_rgb(rgb)), *(properties or (nclx(),)))
    if alpha is not None:
        extra = file.add_image(hevc_images.encode(_even(alpha)), full(b"auxC", ALPHA))
        file.refer(b"auxl", extra, main)
        if premultiplied:
            file.refer(b"prem", main, extra)
    return file.build()


def heic_grid(rgb: np.ndarray, side: int, *properties: bytes) -> bytes:
    """Encode u8[H,W,3] as square tiles, as phones do."""
    height, width = rgb.shape[:2]
    rows, columns = -(-height // side), -(-width // side)
    padded = np.pad(rgb, ((0, rows * side - height), (0, columns * side - width), (0, 0)), mode="edge")
    file = File()
    main = file.add(b"grid", grid_data(rows, columns, width, height), ispe(width, height), *(properties or (nclx(),)))
    tiles = [
        file.add_image(hevc_images.encode(hevc_images.from_rgb(padded[top : top + side, left : left + side])), nclx())
        for top in range(0, rows * side, side)
        for left in range(0, columns * side, side)
    ]
    file.refer(b"dimg", main, *tiles)
    return file.build()


def _even(alpha: np.ndarray) -> list[np.ndarray]:
    """Return a gray plane with even sides, as the color planes have."""
    return [np.pad(alpha, ((0, alpha.shape[0] % 2), (0, alpha.shape[1] % 2)), mode="edge")]
