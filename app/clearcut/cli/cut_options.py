"""The flags of ``clearcut cut`` for the options of ``POST /v1/remove``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from clearcut.errors import ClearcutError, InvalidField
from clearcut.imaging.options import RemoveOptions
from clearcut.web.apis.poof_options import (
    FIELDS,
    MAX_VARIANTS,
    add_background_type,
    parse_options,
    parse_variants,
    require_background,
    unused_fields,
)
from clearcut.web.request.parsers import RATIO_LIKE, ratio_advice

from .cut_files import OUTPUT_EXTENSIONS, STANDARD_STREAM, OutputNames, UsageError, format_for_output
from .terminal import print_message

_PREFIX = "option_"
"""Of the attributes of the option flags."""
_FLAGS = {
    "--" + name.replace("_", "-"): name
    for name, field in FIELDS.items()
    if "true" in (*field.schema.get("enum", ()), *field.schema.get("examples", ()))
}
"""Flags that mean ``true`` without a value, with their option."""
OPTION_FIELDS = {name: field for name, field in FIELDS.items() if name != "model"}
"""Options with a flag of the same name. ``--model`` selects the model that is loaded, or one of the server's."""
_NUMBER = re.compile(r"\d+(\.\d*)?%?")
_SWITCHES = ("-h", "--help", "--overwrite")
"""Flags without a value."""


def add_option_flags(options: argparse._ArgumentGroup) -> None:
    """Add a flag for each option with a text as value."""
    for name, field in OPTION_FIELDS.items():
        flag = "--" + name.replace("_", "-")
        values = field.schema.get("enum")
        metavar = "{" + ",".join(values) + "}" if values else "VALUE"
        metavar = f"[{metavar}]" if flag in _FLAGS else metavar
        text = f"{field.description} (default: {field.schema['default']})" if "default" in field.schema else (
            field.description
        )  # fmt: skip
        options.add_argument(flag, dest=_PREFIX + name, metavar=metavar, help=text.replace("%", "%%"))
    options.add_argument(
        "--variants",
        metavar="JSON",
        help=f"JSON list of up to {MAX_VARIANTS} option sets, each merged over the other options. Each set gives one "
        "file, with -1, -2 and so on at the end of its name",
    )
    options.add_argument("--crop-ratio", metavar="W:H", help="the same as --crop W:H")


def normalize_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments after the command in a form that argparse reads in any order: options first, with ``=``.

    A flag that may stand alone gets its value: ``--crop in.jpg`` becomes ``--crop=true in.jpg``. The argument after it
    is its value if it is valid for the option: ``--crop 1:1``. A ratio in another form, or an opacity above 1, is its
    value too, for the error.
    """
    options: list[str] = []
    positionals: list[str] = []
    incomplete: list[str] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument == "--":
            return [*options, "--", *positionals, *remaining]
        if not argument.startswith("-") or argument == STANDARD_STREAM:
            positionals.append(argument)
        elif argument in _FLAGS:
            has_value = bool(remaining) and _is_value(_FLAGS[argument], remaining[0])
            options.append(f"{argument}={remaining.pop(0) if has_value else 'true'}")
        elif argument in _SWITCHES or "=" in argument:
            options.append(argument)
        elif not remaining or remaining[0].startswith("--"):
            incomplete.append(argument)  # last, so that no positional argument becomes its value
        else:
            options.append(f"{argument}={remaining.pop(0)}")
    return [*options, *positionals, *incomplete]


def option_fields(arguments: argparse.Namespace) -> tuple[dict[str, str], OutputNames]:
    """Return (option fields, names of the outputs).

    Raises:
        UsageError: options are invalid; names all of them.
    """
    flags = vars(arguments)
    fields = {name: flags[_PREFIX + name] for name in OPTION_FIELDS if flags[_PREFIX + name] is not None}
    if arguments.crop_ratio is not None:
        if fields.get("crop", "true") != "true":
            raise UsageError("--crop-ratio: not together with a value of --crop")
        if ":" not in arguments.crop_ratio:
            advice = ratio_advice(arguments.crop_ratio)
            raise UsageError(f"--crop-ratio: expected a ratio such as 1:1, 4:3, 16:9{advice}")
        fields["crop"] = arguments.crop_ratio
    requested = format_for_output(arguments.out, fields.get("format"))
    if requested is not None:
        fields["format"] = requested
    if arguments.variants is not None:
        fields["variants"] = arguments.variants
    renamed = {"crop": "--crop-ratio"} if arguments.crop_ratio else {}
    try:
        outputs, unused = _parse(fields, has_background=arguments.bg_image is not None)
    except InvalidField as exc:
        texts = [f"{renamed.get(each.field) or _flag(each.field)}: expected {each.expected}" for each in exc.each]
        raise UsageError("; ".join(texts)) from None
    except ClearcutError as exc:
        raise UsageError(str(exc)) from None
    if unknown := [name for name in unused if name not in OPTION_FIELDS]:
        raise UsageError(f"--{unknown[0]}: unknown option")
    for name in unused:
        if name in fields:
            flag = renamed.get(name) or _flag(name)
            print_message(f"clearcut: warning: {flag} has no effect with the other options and this format")
    extensions = tuple(OUTPUT_EXTENSIONS[each.format] for each in outputs)
    variants = extensions if "variants" in fields else ()
    return fields, OutputNames(extensions[0], arguments.suffix, variants)


def _parse(fields: dict[str, str], *, has_background: bool) -> tuple[list[RemoveOptions], list[str]]:
    """Return (options of each output, fields without an effect, the unknown ones too).

    Raises:
        InvalidField: options are invalid; names all of them.
    """
    values = add_background_type(fields, has_background=has_background)
    if "variants" in values:
        outputs, unused = parse_variants(values)
    else:
        options, parsed = parse_options(values)
        outputs, unused = [options], unused_fields(values, parsed)
    require_background(outputs, has_background=has_background)
    return outputs, unused


def _flag(field: str) -> str:
    """Return the flag of an option, or of an option within ``variants``, such as ``--variants[0].size``."""
    name, bracket, rest = field.partition("[")
    return "--" + name.replace("_", "-") + bracket + rest


def _is_value(name: str, text: str) -> bool:
    """Return whether the argument after a flag that may stand alone is its value, and not an input or OUT."""
    try:
        FIELDS[name].parse(name, text)
    except InvalidField:
        wrong = {"crop": RATIO_LIKE, "shadow": _NUMBER}.get(name)
        return wrong is not None and wrong.fullmatch(text) is not None and not Path(text).exists()
    return True
