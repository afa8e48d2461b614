"""The base classes of all errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NO_NAMES: Mapping[str, str] = MappingProxyType({})


class StartupError(Exception):
    """A setting, a model file or an execution provider prevents the service from starting."""


def missing_extra(extra: str) -> str:
    """Return the end of an error text for a setting that needs an optional package."""
    return (
        f"the '{extra}' extra is not installed; run `make serve EXTRAS={extra}`, "
        f"or install the wheel with it: pip install 'FILE.whl[{extra}]'"
    )


class RemoverClosed(RuntimeError):
    """``clearcut.Remover`` was closed before the call ended."""


class ClearcutError(Exception):
    """Base class; ``text`` is the public details, of the class or of the instance."""

    status, code, reason, message = 500, "internal_server_error", "internal", "Internal server error"
    text: str | None = None
    retry_after: int | None = None
    """Seconds for the Retry-After header; set on 409, 429 and 503."""
    headers: Mapping[str, str] = NO_NAMES
    """Further response headers of the error."""
    names: Mapping[str, str] = NO_NAMES
    """The caller's field names by role or option, for ``details``."""

    def __init__(
        self, text: str | None = None, *, role: str | None = None, option: str | None = None,
        retry_after: int | None = None, headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.text = self.text if text is None else text
        self.role, self.option = role, option
        self.retry_after = retry_after if retry_after is not None else self.retry_after
        self.headers = headers if headers is not None else self.headers

    def describe(self, names: Mapping[str, str]) -> str | None:
        """Return the public details; ``names`` has the caller's field names by role or option."""
        return self.text

    def field_name(self, names: Mapping[str, str]) -> str | None:
        """Return the caller's name of the invalid input or option; None if the error concerns neither."""
        key = self.role or self.option
        return names.get(key, key) if key is not None else None

    @property
    def details(self) -> str | None:
        """Public details, with the caller's names where ``names`` has them and the engine's terms otherwise."""
        return self.describe(self.names)

    def __str__(self) -> str:
        return self.details or self.message


class InternalError(ClearcutError):
    """An unexpected failure. The cause is logged with the request id and is not public."""
