"""Every way to send an image: four dialects, forms, raw bodies, JSON, and files of other roles."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.support import samples
from tests.support.hostile.hostile_forms import BOUNDARY, KIND, Part, form
from tests.support.raw_http import request

SMALL = samples.png(samples.photo("coffee", 48, 32))


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    path: str
    field: str
    """Field of the file. Errors should name it."""
    body: Callable[[bytes], tuple[bytes, str]]
    """Function from a file to (body, Content-Type)."""

    def message(self, file: bytes, own: str) -> bytes:
        body, kind = self.body(file)
        return request(body, kind, self.path, X_Request_ID=own)


def _form(name: str, *others: Part) -> Callable[[bytes], tuple[bytes, str]]:
    return lambda file: (form([*others, Part(name, file, "photo")], BOUNDARY), KIND)


def _json(name: str) -> Callable[[bytes], tuple[bytes, str]]:
    return lambda file: (json.dumps({name: base64.b64encode(file).decode()}).encode(), "application/json")


_IMAGE = Part("image_file", SMALL, "photo")
ROUTES: tuple[Route, ...] = (
    Route("poof form", "/v1/remove", "image_file", _form("image_file")),
    Route("poof raw", "/v1/remove?format=webp", "image_file", lambda file: (file, "image/*")),
    Route("remove.bg form", "/v1.0/removebg", "image_file", _form("image_file", Part("size", b"full"))),
    Route("remove.bg json", "/v1.0/removebg", "image_file", _json("image_file_b64")),
    Route("rembg form", "/api/remove", "file", _form("file")),
    Route("photoroom form", "/v1/segment", "image_file", _form("image_file")),
    Route("photoroom json", "/v1/segment", "image_file", _json("image_file_b64")),
    Route("poof mask", "/v1/remove", "mask", _form("mask", _IMAGE)),
    Route("poof backdrop", "/v1/remove?format=jpg", "bg_image", _form("bg_image", _IMAGE)),
    Route("poof alias", "/v1/remove-bg?channels=alpha", "file", _form("file")),
)
"""Routes that respond with images. On the remove.bg route an empty cut-out is an error."""
