"""The page at ``/`` for browsers, with its script, stylesheet and example image. Settings can turn it off."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clearcut import __version__
from clearcut.errors import RouteNotFound
from clearcut.imaging.formats.registry import INPUT_EXTENSIONS, INPUT_FORMATS, OUTPUT_FORMATS
from clearcut.service import Service
from clearcut.settings import Settings
from clearcut.web.apis.poof import DIALECT
from clearcut.web.context import route_hint
from clearcut.web.json_schema import TEXT
from clearcut.web.openapi import error_response, get_operation
from clearcut.web.request.header_params import accepts

_FOLDER = Path(__file__).parent
_ASSETS = {"main.js": "text/javascript", "style.css": "text/css", "example.jpg": "image/jpeg"}
PATHS = ("/", *(f"/playground/{name}" for name in _ASSETS))

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    headers: dict[str, str]

    def respond(self, request: Request) -> Response:
        """Return the file, or 304 if the client has it."""
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if self.headers["ETag"] in known:
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers)


def routes(service: Service) -> list[Route]:
    """Return the routes of the page; none with ``CLEARCUT_PLAYGROUND=off``."""
    if not service.settings.playground:
        return []
    page = _page(service.settings)

    async def index(request: Request) -> Response:
        if not accepts(request.headers.get("accept", ""), "text/html"):
            raise RouteNotFound(route_hint(playground=True))
        return page.respond(request)

    return [Route("/", index, methods=["GET"]), *(_asset_route(name, kind) for name, kind in _ASSETS.items())]


def openapi_paths() -> dict[str, Any]:
    """Return the routes for the OpenAPI document."""
    unchanged = {"304": {"description": "Not modified"}}
    page = {"description": "The page", "content": {"text/html": {"schema": TEXT}}}
    missing = error_response("The client does not accept text/html", DIALECT)
    described = {
        "/": get_operation(
            "Page for browsers", "Service", DIALECT, {"200": page, "404": missing, **unchanged}, keyed=False
        )
    }
    for name, kind in _ASSETS.items():
        file = {"description": "The file", "content": {kind: {"schema": TEXT}}}
        described[f"/playground/{name}"] = get_operation(
            "Part of the page", "Service", DIALECT, {"200": file, **unchanged}, keyed=False
        )
    return described


def _page(settings: Settings) -> _File:
    accounts = "off" if not settings.database_url else "optional" if settings.allow_anonymous else "required"
    titles = [each.title for each in INPUT_FORMATS]
    values = {
        "accept": ",".join(["image/*", *(f".{extension}" for extension in INPUT_EXTENSIONS)]),
        "accounts": accounts,
        "formats": f"{', '.join(titles[:-1])} or {titles[-1]}",
        "max_bytes": str(settings.max_bytes),
        "version": __version__,
    }
    text = (_FOLDER / "index.html").read_text(encoding="utf-8")
    text = text.replace("{{output_formats}}", _format_choices())
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", escape(value))
    return _file(text.encode(), "text/html; charset=utf-8")


def _format_choices() -> str:
    """Return one radio button for each output format that is a single image, with the limits of its encoder.

    The first one is selected.
    """
    choices: list[str] = []
    for each in OUTPUT_FORMATS:
        if each.writer and each.writer.is_image:
            label = each.title if each.title.lower() == each.extension else each.extension.upper()
            checked = "" if choices else " checked"
            limits = f' data-max-side="{each.writer.max_side}"'
            if each.writer.max_pixels is not None:
                limits += f' data-max-pixels="{each.writer.max_pixels}"'
            field = f'<input type="radio" name="format" value="{each.extension}"{limits}{checked}>'
            choices.append(f"<label>{field}<span>{label}</span></label>")
    return "\n            ".join(choices)


def _asset_route(name: str, kind: str) -> Route:
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    file = _file((_FOLDER / name).read_bytes(), kind + charset)

    async def asset(request: Request) -> Response:
        return file.respond(request)

    return Route(f"/playground/{name}", asset, methods=["GET"])


def _file(content: bytes, content_type: str) -> _File:
    headers = {
        "Content-Type": content_type,
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:24]}"',
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    if content_type.startswith("text/html"):
        headers["Vary"] = "Accept"
    return _File(content, headers)
