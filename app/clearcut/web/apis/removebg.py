"""The remove.bg dialect, version 1.0: ``POST /v1.0/removebg``, ``GET /v1.0/account``, ``POST /v1.0/improve``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.cutout_types import CutoutOutput, CutoutRequest
from clearcut.errors import InvalidField, MultipleBackgrounds, MultipleImages, NoForeground
from clearcut.imaging.formats.registry import OUTPUT_MEDIA_TYPES, WRITERS
from clearcut.imaging.layout import plan_layout
from clearcut.imaging.options import RemoveOptions
from clearcut.service import Service
from clearcut.web.auth import authenticate
from clearcut.web.context import RequestContext
from clearcut.web.credits import UNLIMITED, check_credits
from clearcut.web.json_schema import INTEGER, TEXT, object_schema
from clearcut.web.openapi import cutout_response, get_operation, json_response, post_operation
from clearcut.web.rate_limits import check_rate
from clearcut.web.request import fields, parsers
from clearcut.web.request.fields import Field, Options, ParsedFields, parse_fields
from clearcut.web.request.header_params import accepts
from clearcut.web.request.unused_fields import fields_without_effect
from clearcut.web.request.upload import Upload, UploadSchema, read_upload
from clearcut.web.request.upload_errors import URLS_DISABLED
from clearcut.web.responses import base64_json, file_response, output_headers, result_headers
from clearcut.web.sync_handler import CutoutRoute, FinishedCutout, SyncOperation, handle_cutout

from .removebg_errors import DIALECT as DIALECT

MEGAPIXEL = 1_000_000
MAX_PIXELS = 50 * MEGAPIXEL
MAX_PNG_PIXELS = 10 * MEGAPIXEL
"""Largest PNG; ``size`` alone limits the other formats."""
SIZES: dict[str, Options] = {
    "preview": {"max_pixels": MEGAPIXEL // 4},
    "small": {"max_pixels": MEGAPIXEL // 4},
    "regular": {"max_pixels": MEGAPIXEL // 4},
    "medium": {"max_pixels": 3 * MEGAPIXEL // 2},
    "hd": {"max_pixels": 4 * MEGAPIXEL},
    "full": {"max_pixels": 25 * MEGAPIXEL},
    "4k": {"max_pixels": 25 * MEGAPIXEL},
    "50mp": {"max_pixels": MAX_PIXELS},
    "auto": {"max_pixels": MAX_PIXELS},
}
DEFAULTS: Options = {"format": "auto", **SIZES["preview"]}
_SHADOW = 0.5
_MARGIN = "one, two or four lengths such as 30px or 10%; at most 500px or 50% of the subject a side"

UPLOAD = UploadSchema(
    file_fields={"image_file": "image", "bg_image_file": "background"},
    base64_fields={"image_file_b64": "image"},
    url_fields={"image_url": "image", "bg_image_url": "background"},
)


def _margin(name: str, value: str) -> Options:
    return {"padding": parsers.padding(name, value, 0.5, 500, _MARGIN)}


def _shadow_opacity(name: str, value: str) -> Options:
    return {"shadow_opacity": parsers.number(name, value, 0, 100) / 100}


FIELDS: dict[str, Field] = {
    "size": fields.choice(
        "Maximum size of the output: 0.25 (preview, small, regular), 1.5, 4, 25 or 50 megapixels; 10 for a PNG. "
        "Never enlarges.", SIZES, default="preview",
    ),
    "type": fields.choice(
        "Kind of subject. Accepted and ignored.",
        ("auto", "person", "product", "car", "animal", "graphic", "graphics", "transportation", "other"),
        default="auto",
    ),
    "type_level": fields.choice(
        "Detail of the response header `X-Type`, which is always `other`; `none` omits it.",
        ("none", "1", "2", "latest"), default="1",
    ),
    "format": fields.choice(
        "`auto`: png for transparent output, jpg otherwise; `zip` contains `color.jpg` and `alpha.png`.",
        ("auto", *WRITERS), "format", "auto",
    ),
    "channels": fields.choice("`alpha`: the matte alone, as a grayscale image.", ("rgba", "alpha"), "channels", "rgba"),
    "roi": fields.region("Region that may contain the subject: left, top, right, bottom."),
    "crop": fields.boolean("Crop to the box of the subject.", "crop", False),
    "crop_margin": fields.text("Margin around the crop.", _margin, ["30px", "10%", "10% 5%"], "0"),
    "scale": fields.scale("Size of the subject as a share of the canvas, 10% to 100%."),
    "position": fields.position("Position of the subject on the canvas."),
    "add_shadow": fields.choice(
        "Add a shadow; `shadow_type` replaces this field.", {"true": {"shadow": _SHADOW}, "false": {}}, default="false"
    ),
    "shadow_type": fields.choice(
        "All values but `none` add the same soft contact shadow.",
        {"none": {"shadow": 0.0}, **{kind: {"shadow": _SHADOW} for kind in ("auto", "drop", "3d", "car")}},
    ),
    "shadow_opacity": fields.text("Opacity of the shadow in percent.", _shadow_opacity, ["50"]),
    "semitransparency": fields.boolean("Accepted and ignored; the model decides which parts are transparent."),
    "bg_color": fields.color("Background color, in all formats."),
}  # fmt: skip
IGNORED = ("type", "semitransparency")
"""Fields that are checked and have no effect; `X-Ignored-Fields` names them."""
IMPROVE_FIELDS: dict[str, Field] = {
    "tag": fields.unused("Accepted and ignored.", "batch-7"),
    "image_filename": fields.unused("Accepted and ignored.", "car.jpg"),
}


def routes(service: Service) -> list[Route]:
    async def respond(cutout: FinishedCutout) -> Response:
        output = cutout.output
        if output.box is None:
            raise NoForeground
        headers = result_headers(cutout.context, cutout.result, cutout.ignored) | {
            "X-Width": str(output.image.width),
            "X-Height": str(output.image.height),
            **_max_size_headers(cutout),
        }
        if cutout.upload.fields.get("type_level", "").lower() != "none":
            headers["X-Type"] = "other"
        if not accepts(cutout.accept, "application/json"):
            return file_response(output, headers)
        headers |= {name: value for name, value in output_headers(output, "", "").items() if name.startswith("X-")}
        body = await service.on_pool(
            lambda: base64_json(output, "result_b64", _box_members(output), b'{"data": ', b"}")
        )
        return Response(body, media_type="application/json", headers=headers)

    operation = SyncOperation(UPLOAD, parse_request, respond)

    async def removebg(request: Request) -> Response:
        return await handle_cutout(service, request, operation)

    async def account(request: Request) -> Response:
        account = await authenticate(service, request)
        if account is None:
            return JSONResponse(account_body(UNLIMITED, "enterprise"))
        usage = await service.accounts.usage(account)
        kind = {"monthly": "subscription", "prepaid": "payg"}.get(usage.account.plan, "enterprise")
        return JSONResponse(account_body(UNLIMITED if usage.left is None else usage.left, kind))

    async def improve(request: Request) -> Response:
        """Accept an image, as remove.bg does, and store nothing."""
        service.lifecycle.admit()
        account = await authenticate(service, request)
        await check_rate(service, request, account)
        await check_credits(service, request, account)
        body = RequestContext.of(request).body
        query = request.scope["query_string"]
        with service.slots.enter(body):
            await read_upload(request.headers, query, body, service.settings.max_bytes, UPLOAD, service.on_pool)
        return JSONResponse({"id": str(uuid.uuid4()), "stored": False, "message": "Nothing was stored"})

    return [
        CutoutRoute("/v1.0/removebg", removebg, methods=["POST"]),
        Route("/v1.0/account", account, methods=["GET"]),
        Route("/v1.0/improve", improve, methods=["POST"]),
    ]


def openapi_paths() -> dict[str, Any]:
    tag, number = "remove.bg", INTEGER
    box = {f"foreground_{side}": number for side in ("top", "left", "width", "height")}
    headers = ("X-Width", "X-Height", "X-Max-Width", "X-Max-Height", "X-Credits-Charged")
    cutout = cutout_response(
        OUTPUT_MEDIA_TYPES,
        {**dict.fromkeys(headers, number), "X-Type": TEXT},
        json=object_schema(data=object_schema(result_b64=TEXT, **box)),
    )
    credits = object_schema(total=number, subscription=number, payg=number, enterprise=number)
    attributes = object_schema(credits=credits, api=object_schema(free_calls=number, sizes=TEXT))
    account = json_response("The account", object_schema(data=object_schema(attributes=attributes)))
    improve = json_response(
        "Accepted; nothing is stored", object_schema(id=TEXT, stored={"const": False}, message=TEXT)
    )
    return {
        "/v1.0/removebg": post_operation(
            "Remove the background, as remove.bg does", tag, DIALECT, UPLOAD, FIELDS, cutout
        ),
        "/v1.0/account": get_operation("Get the caller's account", tag, DIALECT, {"200": account}, keyed=True),
        "/v1.0/improve": post_operation(
            "Accept an image and store nothing", tag, DIALECT, UPLOAD, IMPROVE_FIELDS, improve
        ),
    }


def account_body(left: int, kind: str) -> dict[str, Any]:
    """Return the account with ``left`` credits, all of one kind."""
    credits = {"total": left, "subscription": 0, "payg": 0, "enterprise": 0, kind: left}
    return {"data": {"attributes": {"credits": credits, "api": {"free_calls": 0, "sizes": "all"}}}}


def parse_request(upload: Upload) -> tuple[CutoutRequest, list[str]]:
    """Return (request, fields without an effect).

    Raises:
        InvalidField, MultipleImages, MultipleBackgrounds: the fields are invalid.
    """
    values = upload.fields
    if "image_url" in values:
        raise MultipleImages("image", ("image_file", "image_file_b64", "image_url"))
    background = upload.files.get("background")
    if ("bg_color" in values) + ("bg_image_url" in values) + (background is not None) > 1:
        raise MultipleBackgrounds("Send one of 'bg_color', 'bg_image_file' and 'bg_image_url'")
    if "bg_image_url" in values:
        raise InvalidField("bg_image_url", URLS_DISABLED)
    parsed = parse_fields(values, FIELDS, last=("shadow_type",))
    upload.name_options(parsed.names)
    build = partial(_build, has_background=background is not None)
    ignored = parsed.unknown + [name for name in IGNORED if values.get(name, "auto").lower() != "auto"]
    ignored += fields_without_effect(parsed, build, DEFAULTS)
    if background is not None and build(parsed).effective().backdrop != "image":
        ignored.append("bg_image_file")
    return CutoutRequest(upload.image, (build(parsed),), background), ignored


def _build(parsed: ParsedFields, *, has_background: bool) -> RemoveOptions:
    arguments = {**DEFAULTS, **parsed.options}
    opacity = arguments.pop("shadow_opacity", None)
    if opacity is not None and arguments.get("shadow"):
        arguments["shadow"] = opacity
    if has_background:
        arguments["backdrop"] = "image"
    options = RemoveOptions(**arguments)
    if options.format == "png" or (options.format == "auto" and not _is_opaque(options)):
        options = replace(options, max_pixels=min(MAX_PNG_PIXELS, options.max_pixels or MAX_PNG_PIXELS))
    return options


def _is_opaque(options: RemoveOptions) -> bool:
    """Return whether no pixel can be transparent, so that ``auto`` means jpg."""
    solid = options.background is not None and options.background[3] == 255
    return options.channels != "alpha" and (solid or options.backdrop == "image")


def _max_size_headers(cutout: FinishedCutout) -> Mapping[str, str]:
    """Return the output size with the largest ``size``."""
    options = replace(cutout.request.variants[0], max_pixels=MAX_PIXELS)
    layout = plan_layout(cutout.result.original_width, cutout.result.original_height, cutout.output.box, options)
    return {"X-Max-Width": str(layout.width), "X-Max-Height": str(layout.height)}


def _box_members(output: CutoutOutput) -> dict[str, int]:
    box = output.box
    if box is None:
        return {}
    return {
        "foreground_top": box.top,
        "foreground_left": box.left,
        "foreground_width": box.width,
        "foreground_height": box.height,
    }
