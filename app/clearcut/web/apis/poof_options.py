"""The Poof dialect's fields, and ours beyond them, become ``RemoveOptions``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from clearcut.errors import InvalidField
from clearcut.imaging.formats.registry import OUTPUT_FORMATS, WRITERS
from clearcut.imaging.options import WHITE, Fit, RemoveOptions
from clearcut.imaging.types import Channels
from clearcut.web.request import fields, parsers
from clearcut.web.request.fields import Field, Parsed
from clearcut.web.request.upload import NO_ADDRESS

MAX_CANVAS = 6000
"""Pixels; the largest width or height that may be asked for (Poof's own bound)."""
MAX_VARIANTS = 16
ADDRESSES = ("url", "image_url", "bg_image_url")

SIZES: dict[str, dict[str, int]] = {
    "full": {},
    "preview": {"max_side": 256},
    "small": {"max_side": 512},
    "medium": {"max_side": 1024},
    "large": {"max_side": 2048},
    "hd": {"max_pixels": 4_000_000},
}
"""What each ``size`` caps. ``hd`` is the later clients' megapixel cap, the others keep their first meaning."""

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
"""What each ``background_type`` (851-labs' names) means. All but ``rgba`` and ``map`` make the output opaque."""

FORMATS = tuple(WRITERS)
FORMAT_ALIASES = {each.name: each.extension for each in OUTPUT_FORMATS if each.name != each.extension}
_LOSSY = ", ".join(f"{name} ({writer.default_quality})" for name, writer in WRITERS.items() if writer.default_quality)
MARGIN_EXAMPLES = ("10%", "0.1", "30px", "10% 5%", "1px 2px 3px 4px")


def _crop(name: str, value: str) -> Parsed:
    wanted, ratio = parsers.crop(name, value)
    return {"crop": wanted, "crop_ratio": ratio}


def _format(name: str, value: str) -> Parsed:
    return {"format": parsers.one_of(name, FORMAT_ALIASES.get(value.lower(), value), FORMATS)}


def _shadow(name: str, value: str) -> Parsed:
    if value.lower() in ("true", "false"):
        return {"shadow": 0.5 if value.lower() == "true" else 0.0}
    return {"shadow": parsers.number(name, value, 0, 1)}


def _margin(about: str) -> Field:
    return fields.text(about, lambda name, value: {"padding": parsers.padding(name, value)}, MARGIN_EXAMPLES, "0")


FIELDS: dict[str, Field] = {
    "format": fields.text(
        "Of the file; `zip` holds `color.jpg` and `alpha.png`.",
        _format, ["webp"], "png", enum=[*FORMATS, *FORMAT_ALIASES],
    ),
    "channels": fields.choice(
        "`rgba`; `rgb`, opaque; `alpha`, the matte alone as a grey picture.", get_args(Channels), "channels", "rgba"
    ),
    "bg_color": fields.color("Under opaque output; ignored for transparent output.", "white"),
    "size": fields.choice(
        "Longest side at most: 256, 512, 1024, 2048 pixels; `hd` at most 4 megapixels. Never enlarges.",
        SIZES, default="full",
    ),
    "crop": fields.text(
        "To the box of the subject, before resizing; a ratio grows that box to it.", _crop,
        ["true", "false", "1:1", "16:9"], "false",
    ),
    "padding": _margin("Around the crop: shares of the subject or pixels, one, two or four."),
    "crop_margin": _margin("The same as `padding`."),
    "width": fields.integer("Exact canvas; overrides `size`. One alone: the other follows.", 1, MAX_CANVAS, "width"),
    "height": fields.integer("Exact canvas; overrides `size`.", 1, MAX_CANVAS, "height"),
    "fit": fields.choice("How the picture fills `width` x `height`.", get_args(Fit), "fit", "contain"),
    "scale": fields.scale("The subject scaled to fit this share of the canvas, 10% to 100%."),
    "position": fields.position("Where the subject stands on the canvas."),
    "roi": fields.region("Left, top, right, bottom: only there can be a subject."),
    "threshold": fields.number("Above 0 a hard cut at this opacity.", 0, 1, "threshold", 0),
    "reverse": fields.boolean("Keep the background, remove the subject.", "reverse", False),
    "background_type": fields.choice("What stands behind the subject.", BACKGROUND_TYPES, default="rgba"),
    "shadow": fields.text("A soft contact shadow, or its opacity 0 to 1.", _shadow, ["true", "0.4"], "false"),
    "despill": fields.boolean("Take the old background's colour out of the soft edge.", "despill", True),
    "quality": fields.integer(f"Of lossy formats, with defaults: {_LOSSY}.", 1, 100, "quality", "a whole number"),
}  # fmt: skip


VARIANTS = fields.text(
    "A JSON list of up to 16 option sets, laid over the others: one output each, as multipart/mixed, or as a ZIP with "
    "`Accept: application/zip`.",
    lambda name, value: {},
    ['[{}, {"size": "preview"}]'],
)
"""Read by ``variants``, not with the others."""


def remove_options(given: Mapping[str, str]) -> tuple[RemoveOptions, list[str]]:
    """(options, names of the fields that mean nothing here).

    ``bg_color`` is checked always and used for opaque output only, as the contract has it.

    Raises:
        InvalidField: a value is outside its grammar or range, or two fields exclude each other; names the field.
    """
    for name in ADDRESSES:
        if name in given:
            raise InvalidField(name, NO_ADDRESS)
    if "padding" in given and "crop_margin" in given:
        raise InvalidField("crop_margin", "no value together with 'padding', which has the same meaning")
    # background_type comes last: it decides what the other fields' background and channels mean.
    parsed, unknown = fields.read_fields(given, FIELDS, last=("background_type",))
    kind = given.get("background_type", "").lower()
    if kind == "color" and "bg_color" not in given:
        raise InvalidField("bg_color", "a colour, because background_type is color")
    opaque = kind in ("green", "white", "color", "blur", "overlay", "image")
    options = RemoveOptions(**parsed)
    if not (opaque or options.opaque) and options.background is not None:
        options = replace(options, background=None)
    return options, [name for name in unknown if name != "variants"]


def variants(given: Mapping[str, str]) -> tuple[list[RemoveOptions], list[str]]:
    """One set of options for each of ``variants`` (a JSON list of objects), laid over the request's other fields.

    Raises:
        InvalidField: it is no list of 1 to 16 objects of texts, numbers and booleans, or one of them is at fault.
    """
    expected = f'a JSON list of 1 to {MAX_VARIANTS} objects of options, such as [{{}}, {{"size": "preview"}}]'
    try:
        listed = json.loads(given["variants"])
    except (ValueError, RecursionError):
        raise InvalidField("variants", expected) from None
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_VARIANTS:
        raise InvalidField("variants", expected)
    common = {name: value for name, value in given.items() if name != "variants"}
    every: list[RemoveOptions] = []
    ignored: list[str] = []
    for position, own in enumerate(listed):
        if not isinstance(own, dict):
            raise InvalidField(f"variants[{position}]", 'an object of options, such as {"size": "preview"}')
        for name, value in own.items():
            if not isinstance(value, str | int | float):
                raise InvalidField(f"variants[{position}].{name[:40]}", "a text, a number or a boolean")
        texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in own.items()}
        try:
            options, unknown = remove_options(common | {name: text for name, text in texts.items() if text})
        except InvalidField as exc:
            raise InvalidField(f"variants[{position}].{exc.field}", exc.expected) from None
        every.append(options)
        ignored += [name for name in unknown if name not in ignored]
    return every, ignored
