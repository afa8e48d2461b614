"""The option fields of the Poof dialect, with the service's own extensions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from clearcut.errors import InvalidField
from clearcut.imaging.formats.registry import OUTPUT_FORMATS, WRITERS
from clearcut.imaging.options import WHITE, Fit, InputAlpha, RemoveOptions
from clearcut.imaging.types import Channels
from clearcut.web.request import fields, parsers
from clearcut.web.request.fields import Field, Options, ParsedFields, parse_fields, raise_invalid
from clearcut.web.request.json_body import scalar_text
from clearcut.web.request.unused_fields import fields_without_effect
from clearcut.web.request.upload_errors import URLS_DISABLED

MAX_CANVAS_SIDE = 6000
"""Largest `width` and `height` in pixels, as in Poof."""
MAX_VARIANTS = 16
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PIXELS = re.compile(r"\d{1,5}(px)?( ?[xX×*] ?\d{1,5}(px)?)?")
"""A number of pixels, or a width and a height."""
REQUEST_OPTIONS = ("model", "moderate")
"""Options of the whole request, which are attributes of ``CutoutRequest``."""
URL_FIELDS = ("url", "image_url", "bg_image_url")

SIZES: dict[str, dict[str, int]] = {
    "full": {},
    "preview": {"max_side": 256},
    "small": {"max_side": 512},
    "medium": {"max_side": 1024},
    "large": {"max_side": 2048},
    "hd": {"max_pixels": 4_000_000},
}
"""The limit of each ``size``. ``hd`` limits pixels, as in later Poof clients; the others limit the longest side."""

BACKGROUND_TYPES: dict[str, dict[str, Any]] = {
    "rgba": {},
    "map": {"channels": "alpha"},
    "green": {"background": (120, 255, 155, 255)},
    "white": {"background": WHITE},
    "color": {},
    "blur": {"backdrop": "blur"},
    "overlay": {"backdrop": "overlay"},
    "image": {"backdrop": "image"},
}
"""Options by ``background_type`` (names of 851-labs). All but ``rgba`` and ``map`` make the output opaque."""

FORMATS = tuple(WRITERS)
FORMAT_ALIASES = {each.name: each.extension for each in OUTPUT_FORMATS if each.name != each.extension}
_LOSSY = ", ".join(f"{name} ({writer.default_quality})" for name, writer in WRITERS.items() if writer.default_quality)
MARGIN_EXAMPLES = ("10%", "0.1", "30px", "10% 5%", "1px 2px 3px 4px")


def _crop(name: str, value: str) -> Options:
    crop, ratio = parsers.crop(name, value)
    return {"crop": crop, "crop_ratio": ratio}


def _format(name: str, value: str) -> Options:
    return {"format": parsers.one_of(name, FORMAT_ALIASES.get(value.lower(), value), FORMATS)}


def _shadow(name: str, value: str) -> Options:
    if value.lower() in ("true", "false"):
        return {"shadow": 0.5 if value.lower() == "true" else 0.0}
    try:
        return {"shadow": parsers.number(name, value, 0, 1)}
    except InvalidField:
        raise InvalidField(name, "true, false, or a number from 0 to 1") from None


def _size(name: str, value: str) -> Options:
    try:
        return dict(SIZES[parsers.one_of(name, value, tuple(SIZES))])
    except InvalidField as exc:
        if _PIXELS.fullmatch(value):
            raise InvalidField(name, f"{exc.expected}; for an exact size, use width and height") from None
        raise


def parse_model(name: str, value: str) -> Options:
    """Parse a model's name for the option ``model``.

    Raises:
        InvalidField: the value is not a model's name.
    """
    if not _MODEL_NAME.fullmatch(value):
        raise InvalidField(name, "a model's name")
    return {"model": value}


def _margin(description: str) -> Field:
    return fields.text(description, lambda name, value: {"padding": parsers.padding(name, value)}, MARGIN_EXAMPLES, "0")


FIELDS: dict[str, Field] = {
    "format": fields.text(
        "Output format; `zip` contains `color.jpg` and `alpha.png`.",
        _format, ["webp"], "png", enum=[*FORMATS, *FORMAT_ALIASES],
    ),
    "channels": fields.choice(
        "`rgba`; `rgb`, opaque; `alpha`, the matte alone as a grayscale image.",
        get_args(Channels), "channels", "rgba",
    ),
    "bg_color": fields.color("Background color of opaque output; ignored for transparent output.", "white"),
    "size": fields.choice(
        "Maximum longest side: 256, 512, 1024 or 2048 pixels; `hd` allows 4 megapixels. Never enlarges.",
        SIZES, default="full", parse=_size,
    ),
    "crop": fields.text(
        "Crop to the box of the subject, before resizing; a ratio extends the box to that ratio.", _crop,
        ["true", "false", "1:1", "16:9"], "false",
    ),
    "padding": _margin("Margin around the crop: one, two or four shares of the subject or numbers of pixels."),
    "crop_margin": _margin("The same as `padding`."),
    "width": fields.integer(
        "Exact width; overrides `size`. Without `height`, the height follows.", 1, MAX_CANVAS_SIDE, "width"
    ),
    "height": fields.integer("Exact height; overrides `size`.", 1, MAX_CANVAS_SIDE, "height"),
    "fit": fields.choice("How the image fills `width` x `height`.", get_args(Fit), "fit", "contain"),
    "scale": fields.scale("Size of the subject as a share of the canvas, 10% to 100%."),
    "position": fields.position("Position of the subject on the canvas."),
    "roi": fields.region("Region that may contain the subject: left, top, right, bottom."),
    "threshold": fields.number("Above 0: a hard edge at this opacity.", 0, 1, "threshold", 0),
    "reverse": fields.boolean("Keep the background and remove the subject.", "reverse", False),
    "background_type": fields.choice("Background behind the subject.", BACKGROUND_TYPES, default="rgba"),
    "shadow": fields.text("A soft contact shadow, or its opacity from 0 to 1.", _shadow, ["true", "0.4"], "false"),
    "despill": fields.boolean("Remove the old background's color from soft edges.", "despill", True),
    "input_alpha": fields.choice(
        "Transparency of the input. `auto`: it is the matte if the input is a cut-out already, else it limits the "
        "model's matte. `keep`: it is the matte. `ignore`: the input counts as opaque.",
        get_args(InputAlpha), "input_alpha", "auto",
    ),
    "plain_background": fields.choice(
        "`auto`: use the color of the background for the matte if it is plain; `off`: the model's matte alone.",
        {"auto": {"plain_background": True}, "off": {"plain_background": False}}, default="auto",
    ),
    "model": fields.text(
        "Model that makes the matte. `/v1/info` lists the served models.", parse_model, ["clearcut-m"]
    ),
    "moderation": fields.boolean(
        "Refuse the image with 422 if the moderation classifier does. `X-Moderation` has the result.",
        "moderate", False,
    ),
    "quality": fields.integer(
        f"Quality of lossy formats; defaults: {_LOSSY}.", 1, 100, "quality", "a whole number"
    ),
}  # fmt: skip


MODEL_FIELDS = {"model": FIELDS["model"]}
"""The field of the model, for APIs with further fields of their own."""

REQUEST_FIELDS = ("model", "moderation")
"""Fields that apply to the whole request and not to one output."""

VARIANTS = fields.unused(
    "A JSON list of up to 16 option sets, each merged over the other fields. One output each, as multipart/mixed, "
    "or as a ZIP archive with `Accept: application/zip`.",
    '[{}, {"size": "preview"}]',
)
"""For OpenAPI; ``parse_variants`` parses the field."""


def parse_options(values: Mapping[str, str]) -> tuple[RemoveOptions, ParsedFields]:
    """Parse the option fields. ``bg_color`` is always checked and only applies to opaque output, as in Poof.

    Raises:
        InvalidField: values are outside their grammar or range, or fields exclude each other; names all of them.
    """
    errors = [InvalidField(name, URLS_DISABLED) for name in URL_FIELDS if name in values]
    if "padding" in values and "crop_margin" in values:
        errors.append(InvalidField("crop_margin", "no value together with 'padding', which has the same meaning"))
    if values.get("background_type", "").lower() == "color" and "bg_color" not in values:
        errors.append(InvalidField("bg_color", "a color, because background_type is color"))
    try:
        # background_type overrides the background and channels of other fields.
        parsed = parse_fields(values, FIELDS, last=("background_type",))
    except InvalidField as exc:
        raise_invalid([*exc.each, *errors])
        raise
    raise_invalid(errors)
    return _build(values, parsed), replace(parsed, unknown=[name for name in parsed.unknown if name != "variants"])


def _build(values: Mapping[str, str], parsed: ParsedFields) -> RemoveOptions:
    """Return the options of the parsed fields; ``values`` has the texts of at least these fields."""
    background_type = values["background_type"].lower() if "background_type" in parsed.by_field else "rgba"
    options = RemoveOptions(**{name: parsed.options[name] for name in parsed.options if name not in REQUEST_OPTIONS})
    if background_type in ("rgba", "map") and not options.opaque and options.background is not None:
        return replace(options, background=None)
    return options


def unused_fields(values: Mapping[str, str], parsed: ParsedFields) -> list[str]:
    """Return the fields that the output does not depend on, the unknown ones first."""
    unused = fields_without_effect(parsed, partial(_build, values))
    return parsed.unknown + [name for name in unused if name not in REQUEST_FIELDS]


def request_options(values: Mapping[str, str]) -> Options:
    """Parse the fields that apply to the whole request.

    Returns:
        Arguments of ``CutoutRequest``.

    Raises:
        InvalidField: a value is invalid.
    """
    return parse_fields({name: values[name] for name in REQUEST_FIELDS if name in values}, FIELDS).options


def add_background_type(fields: dict[str, str], *, has_background: bool) -> dict[str, str]:
    """Return the fields; a request with a background image has ``background_type=image`` unless it names another."""
    if has_background and "background_type" not in fields:
        return fields | {"background_type": "image"}
    return fields


def require_background(variants: Iterable[RemoveOptions], *, has_background: bool) -> None:
    """Raise InvalidField if an output needs a background image and the request has none."""
    if not has_background and any(options.backdrop == "image" for options in variants):
        raise InvalidField("bg_image", "an image file, because background_type is image")


def parse_variants(values: Mapping[str, str]) -> tuple[list[RemoveOptions], list[str]]:
    """Parse ``variants``, a JSON list of option sets that are merged over the other fields.

    Returns:
        (options of each variant, fields without an effect on any of them)

    Raises:
        InvalidField: it is not a list of 1 to 16 objects of texts, numbers and booleans, or options are invalid.
    """
    expected = f'a JSON list of 1 to {MAX_VARIANTS} objects of options, such as [{{}}, {{"size": "preview"}}]'
    try:
        listed = json.loads(values["variants"])
    except (ValueError, RecursionError):
        raise InvalidField("variants", expected) from None
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_VARIANTS:
        raise InvalidField("variants", expected)
    common = {name: value for name, value in values.items() if name != "variants"}
    variants: list[RemoveOptions] = []
    errors: list[InvalidField] = []
    unknown: list[str] = []
    present: set[str] = set()
    used: set[str] = set()
    for position, members in enumerate(listed):
        path = f"variants[{position}]"
        if not isinstance(members, dict):
            raise InvalidField(path, 'an object of options, such as {"size": "preview"}')
        if "variants" in members:
            raise InvalidField(f"{path}.variants", "no value; an option set cannot contain option sets")
        texts = _texts(members, path)
        if fixed := [name for name in REQUEST_FIELDS if name in texts]:
            raise InvalidField(f"{path}.{fixed[0]}", f"no value; '{fixed[0]}' applies to all variants of a request")
        try:
            options, parsed = parse_options(common | texts)
        except InvalidField as exc:
            errors += [InvalidField(f"{path}.{each.field}", each.expected) for each in exc.each]
            continue
        if variants and options.input_alpha != variants[0].input_alpha:
            expected = "the same value in all variants, which share one model run"
            errors.append(InvalidField(f"{path}.input_alpha", expected))
            continue
        variants.append(options)
        unused = unused_fields(common | texts, parsed)
        unknown += [name if name in common else f"{path}.{name}" for name in parsed.unknown]
        used |= parsed.by_field.keys() - unused
        present |= parsed.by_field.keys()
    raise_invalid(errors)
    ignored = [*dict.fromkeys(unknown), *sorted(present - used)]
    return variants, ignored


def _texts(members: Mapping[str, Any], path: str) -> dict[str, str]:
    """Return the members of one variant as texts; empty ones are absent."""
    texts = {}
    for name, value in members.items():
        try:
            text = scalar_text(value)
        except ValueError:
            value = text = None
        if value is None:
            raise InvalidField(f"{path}.{name[:40]}", "a text, a number or a boolean")
        if text is not None:
            texts[name] = text
    return texts
