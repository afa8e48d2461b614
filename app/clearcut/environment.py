"""Read ``Settings`` from ``CLEARCUT_*`` environment variables.

The environment is read when a function is called, never at import.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping

from pydantic import ValidationError

from .errors import StartupError
from .settings import PREFIX, Settings

CLIENT_KEY = "CLEARCUT_API_KEY"
"""Variable with the API key of a client: of ``clearcut cut --server`` and of commands copied from the page."""

_EXPECTED = {
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "bool_parsing": "expected true or false",
}
"""Error texts by type of the validation error; other types keep the text of the validation."""


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment.

    Args:
        environ: variables by name; None reads the process environment. Empty values count as unset.

    Raises:
        StartupError: a variable is malformed, out of range or unknown. The text lists all errors with their variables.
    """
    settings, errors = read_settings(environ)
    if errors:
        raise StartupError("; ".join(errors))
    return settings


def read_settings(environ: Mapping[str, str] | None = None) -> tuple[Settings, list[str]]:
    """Return the settings of an environment and the errors in it.

    Args:
        environ: as for ``load_settings``.

    Returns:
        The settings, with the default in place of each invalid value; the errors, each with the name of its variable.
    """
    env = os.environ if environ is None else environ
    values = {
        name[len(PREFIX) :].lower(): value
        for name, value in env.items()
        if name.upper().startswith(PREFIX) and value != "" and name != CLIENT_KEY
    }
    errors = [
        f"{PREFIX}{name.upper()}: unknown setting{_suggestion(name)}"
        for name in values
        if name not in Settings.model_fields
    ]
    known = {name: value for name, value in values.items() if name in Settings.model_fields}
    try:
        return Settings.model_validate(known), errors
    except ValidationError as exc:
        details = [
            (str(error["loc"][0]), _EXPECTED.get(error["type"], error["msg"]), error["input"]) for error in exc.errors()
        ]
    errors += [f"{PREFIX}{name.upper()}: {message}{_shown_value(name, value)}" for name, message, value in details]
    invalid = {name for name, _, _ in details}
    return Settings.model_validate({name: value for name, value in known.items() if name not in invalid}), errors


def _shown_value(name: str, value: object) -> str:
    """Return the invalid value for an error text, or nothing if it is a secret or may contain a password."""
    return "" if "secret" in name or name.endswith(("_url", "_endpoint")) else f" (got {value!r})"


def _suggestion(name: str) -> str:
    longer = [field for field in Settings.model_fields if field.startswith(f"{name}_")]
    close = longer or difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {PREFIX}{close[0].upper()}?" if close else ""
