"""The remove.bg dialect, version 1.0: ``POST /v1.0/removebg``, ``GET /v1.0/account``, ``POST /v1.0/improve``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from clearcut.errors import InvalidOption, MultipleBackgrounds, MultipleImages, NoForeground
from clearcut.imaging.layout import plan_layout
from clearcut.imaging.options import RemoveOptions
from clearcut.pipeline import CutoutOutput, CutoutRequest
from clearcut.service import Service
from clearcut.web.auth import UNLIMITED, admit, identify
from clearcut.web.context import RequestContext
from clearcut.web.json_schema import INTEGER, TEXT, object_schema
from clearcut.web.openapi import IMAGES, cutout_response, get_operation, json_response, post_operation
from clearcut.web.request import fields, parsers
from clearcut.web.request.fields import Field, Parsed
from clearcut.web.request.upload import NO_ADDRESS, Upload, UploadSchema, read_upload
from clearcut.web.responses import base64_json, file_response, output_headers, result_headers
from clearcut.web.sync_handler import FinishedCutout, SyncOperation, handle_cutout

from .removebg_errors import DIALECT

MEGAPIXEL = 1_000_000
MOST_PIXELS = 50 * MEGAPIXEL
PNG_PIXELS = 10 * MEGAPIXEL
"""What a PNG may have; the other formats go up to what ``size`` says."""
SIZES: dict[str, Parsed] = {
    "preview": {"max_pixels": MEGAPIXEL // 4},
    "small": {"max_pixels": MEGAPIXEL // 4},
    "regular": {"max_pixels": MEGAPIXEL // 4},
    "medium": {"max_pixels": 3 * MEGAPIXEL // 2},
    "hd": {"max_pixels": 4 * MEGAPIXEL},
    "full": {"max_pixels": 25 * MEGAPIXEL},
    "4k": {"max_pixels": 25 * MEGAPIXEL},
    "50mp": {"max_pixels": MOST_PIXELS},
    "auto": {"max_pixels": MOST_PIXELS},
}
_SHADOW = 0.5
_MARGIN = "one, two or four lengths such as 30px or 10%; at most 500px or 50% of the subject a side"

INTAKE = UploadSchema(
    roles={"image_file": "image", "bg_image_file": "bg_image"},
    encoded={"image_file_b64": "image"},
    addresses={"image_url": "image", "bg_image_url": "bg_image"},
)


def _margin(name: str, value: str) -> Parsed:
    return {"padding": parsers.padding(name, value, 0.5, 500, _MARGIN)}


def _shadow_opacity(name: str, value: str) -> Parsed:
    return {"shadow_opacity": parsers.number(name, value, 0, 100) / 100}


FIELDS: dict[str, Field] = {
    "size": fields.choice(
        "Pixels of the output at most: 0.25 (preview, small, regular), 1.5, 4, 25 or 50 megapixels; a PNG has 10 at "
        "most. Never enlarges.", SIZES, default="preview",
    ),
    "type": fields.choice(
        "What is in the picture; the model needs no hint.",
        ("auto", "person", "product", "car", "animal", "graphic", "graphics", "transportation", "other"),
        default="auto",
    ),
    "type_level": fields.choice(
        "How finely `X-Type` tells; `none` leaves it out. The model cannot tell: it is `other`.",
        ("none", "1", "2", "latest"), default="1",
    ),
    "format": fields.choice(
        "`auto` is png if anything is transparent, else jpg; `zip` holds `color.jpg` and `alpha.png`.",
        ("auto", "png", "jpg", "webp", "zip"), "format", "auto",
    ),
    "channels": fields.choice("`alpha`: the matte alone, grey.", ("rgba", "alpha"), "channels", "rgba"),
    "roi": fields.region("Left, top, right, bottom: only there can be a subject."),
    "crop": fields.boolean("To the box of the subject.", "crop", False),
    "crop_margin": fields.text("Around the crop.", _margin, ["30px", "10%", "10% 5%"], "0"),
    "scale": fields.scale("The subject scaled to fit this share of the canvas, 10% to 100%."),
    "position": fields.position("Where the subject stands on the canvas."),
    "add_shadow": fields.choice(
        "The older way to ask for a shadow.", {"true": {"shadow": _SHADOW}, "false": {}}, default="false"
    ),
    "shadow_type": fields.choice(
        "Every kind is a soft contact shadow.",
        {"none": {"shadow": 0.0}, **{kind: {"shadow": _SHADOW} for kind in ("auto", "drop", "3d", "car")}},
    ),
    "shadow_opacity": fields.text("Percent, with a shadow.", _shadow_opacity, ["50"]),
    "semitransparency": fields.boolean("Accepted; edges and glass are soft wherever the model finds them so."),
    "bg_color": fields.color("Behind the subject, in every format."),
}  # fmt: skip
IMPROVE_FIELDS: dict[str, Field] = {
    "tag": fields.text("Accepted.", lambda name, value: {}, ["batch-7"]),
    "image_filename": fields.text("Accepted.", lambda name, value: {}, ["car.jpg"]),
}


def routes(service: Service) -> list[Route]:
    async def respond(done: FinishedCutout) -> Response:
        answer = done.answer
        if answer.box is None:
            raise NoForeground
        headers = result_headers(done.exchange, done.result, done.ignored) | {
            "X-Width": str(answer.image.width),
            "X-Height": str(answer.image.height),
            **_most(done),
        }
        if done.upload.fields.get("type_level", "").lower() != "none":
            headers["X-Type"] = "other"
        if "application/json" not in done.accept:
            return file_response(answer, headers)
        headers |= {name: value for name, value in output_headers(answer, "", "").items() if name.startswith("X-")}
        body = await service.on_pool(lambda: base64_json(answer, "result_b64", _box(answer), (b'{"data": ', b"}")))
        return Response(body, media_type="application/json", headers=headers)

    operation = SyncOperation(INTAKE, read_job, respond)

    async def removebg(request: Request) -> Response:
        return await handle_cutout(service, request, operation)

    async def account(request: Request) -> Response:
        own = await identify(service, request)
        if own is None:
            return JSONResponse(account_body(UNLIMITED, "enterprise"))
        usage = await service.accounts.usage(own)
        kind = {"monthly": "subscription", "prepaid": "payg"}.get(usage.account.plan, "enterprise")
        return JSONResponse(account_body(UNLIMITED if usage.left is None else usage.left, kind))

    async def improve(request: Request) -> Response:
        """Takes a picture as the original does, so that its callers go on working, and keeps nothing of it."""
        service.lifecycle.admit()
        await admit(service, request)
        body = RequestContext.of(request).body
        query = request.scope["query_string"]
        with service.slots.enter(body):
            await read_upload(request.headers, query, body, service.settings.max_bytes, INTAKE, service.on_pool)
        return JSONResponse({"id": str(uuid.uuid4()), "stored": False, "message": "Nothing was stored"})

    return [
        Route("/v1.0/removebg", removebg, methods=["POST"]),
        Route("/v1.0/account", account, methods=["GET"]),
        Route("/v1.0/improve", improve, methods=["POST"]),
    ]


def paths() -> dict[str, Any]:
    """For the OpenAPI document."""
    tag, number = "remove.bg", INTEGER
    box = {f"foreground_{side}": number for side in ("top", "left", "width", "height")}
    headers = ("X-Width", "X-Height", "X-Max-Width", "X-Max-Height", "X-Credits-Charged")
    answer = cutout_response(
        [*IMAGES, "application/zip"],
        {**dict.fromkeys(headers, number), "X-Type": TEXT},
        json=object_schema(data=object_schema(result_b64=TEXT, **box)),
    )
    credits = object_schema(total=number, subscription=number, payg=number, enterprise=number)
    attributes = object_schema(credits=credits, api=object_schema(free_calls=number, sizes=TEXT))
    account = json_response("The account", object_schema(data=object_schema(attributes=attributes)))
    improved = json_response("Taken and forgotten", object_schema(id=TEXT, stored={"const": False}, message=TEXT))
    return {
        "/v1.0/removebg": post_operation(
            "Remove the background, as remove.bg does", tag, DIALECT, INTAKE, FIELDS, answer
        ),
        "/v1.0/account": get_operation("The caller's account", tag, DIALECT, {"200": account}, keyed=True),
        "/v1.0/improve": post_operation(
            "Takes a picture and stores nothing", tag, DIALECT, INTAKE, IMPROVE_FIELDS, improved
        ),
    }


def account_body(left: int, kind: str) -> dict[str, Any]:
    """``left`` credits, all of them of one kind."""
    credits = {"total": left, "subscription": 0, "payg": 0, "enterprise": 0, kind: left}
    return {"data": {"attributes": {"credits": credits, "api": {"free_calls": 0, "sizes": "all"}}}}


def read_job(upload: Upload) -> tuple[CutoutRequest, list[str]]:
    """(what is asked for, names of the fields that mean nothing here).

    Raises:
        InvalidOption, MultipleImages, MultipleBackgrounds: the request is at fault.
    """
    given = upload.fields
    if "image_url" in given:
        raise MultipleImages("image", ("image_file", "image_file_b64", "image_url"))
    backdrop = upload.files.get("bg_image")
    if ("bg_color" in given) + ("bg_image_url" in given) + (backdrop is not None) > 1:
        raise MultipleBackgrounds("Send one of 'bg_color', 'bg_image_file' and 'bg_image_url'")
    if "bg_image_url" in given:
        raise InvalidOption("bg_image_url", NO_ADDRESS)
    parsed, unknown = fields.read_fields({"size": "preview", "format": "auto"} | given, FIELDS, ("shadow_type",))
    opacity = parsed.pop("shadow_opacity", None)
    if opacity is not None and parsed.get("shadow"):
        parsed["shadow"] = opacity
    if backdrop is not None:
        parsed["backdrop"] = "image"
    options = RemoveOptions(**parsed)
    if options.format == "png" or (options.format == "auto" and not _covers(options)):
        options = replace(options, max_pixels=min(PNG_PIXELS, options.max_pixels or PNG_PIXELS))
    return CutoutRequest(upload.image, (options,), backdrop), unknown


def _covers(options: RemoveOptions) -> bool:
    """Whether nothing can be transparent, so that ``auto`` means jpg."""
    solid = options.background is not None and options.background[3] == 255
    return options.channels != "alpha" and (solid or options.backdrop == "image")


def _most(done: FinishedCutout) -> Mapping[str, str]:
    """The size that the largest ``size`` would give."""
    options = replace(done.job.variants[0], max_pixels=MOST_PIXELS)
    layout = plan_layout(done.result.original_width, done.result.original_height, done.answer.box, options)
    return {"X-Max-Width": str(layout.width), "X-Max-Height": str(layout.height)}


def _box(answer: CutoutOutput) -> dict[str, int]:
    box = answer.box
    if box is None:
        return {}
    return {
        "foreground_top": box.top,
        "foreground_left": box.left,
        "foreground_width": box.width,
        "foreground_height": box.height,
    }
