"""The interface of a dialect: an HTTP API with its own paths, fields, statuses and error bodies.

A dialect is one module (``DialectModule``) with ``DIALECT``, ``routes`` and ``openapi_paths``, and one line in
``clearcut.web.app.DIALECT_MODULES``. A synchronous operation is a ``SyncOperation`` for ``handle_cutout``, an
asynchronous one a ``JobOperation`` for ``accept_job``. A table of ``Field`` describes the option fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from starlette.routing import Route

from clearcut.errors import NO_NAMES, ClearcutError, IdempotencyMismatch

if TYPE_CHECKING:
    from clearcut.service import Service


class RouteModule(Protocol):
    """A module with routes."""

    def routes(self, service: Service, /) -> list[Route]:
        """Return the routes."""

    def openapi_paths(self) -> dict[str, Any]:
        """Return the routes as OpenAPI path items."""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An error in the terms of a dialect."""

    error: ClearcutError
    request_id: str
    field: str | None
    """The invalid field of the request, if the error concerns one."""
    details: str | None
    """The public details; they name the caller's fields."""

    @property
    def text(self) -> str:
        """The details, or else the message."""
        return self.details or self.error.message


def default_status(error: ClearcutError) -> int:
    """Return the class's status; 422 for a reused Idempotency-Key (draft-ietf-httpapi-idempotency-key)."""
    return 422 if isinstance(error, IdempotencyMismatch) else error.status


@dataclass(frozen=True, slots=True)
class Dialect:
    """The properties of an HTTP API that all its routes share."""

    name: str
    prefix: str
    """The dialect owns the paths with this prefix, including paths without a route."""
    write_error: Callable[[ErrorReport], dict[str, Any]]
    """Returns the JSON body of an error."""
    error_schema: Mapping[str, Any]
    """JSON schema of the error body."""
    status: Callable[[ClearcutError], int] = default_status
    """Returns the HTTP status of an error."""
    field_names: Mapping[str, str] = field(default_factory=dict)
    """The dialect's field by the engine's role (``image``, ``background``, ``mask``, ``webhook``) or option.

    Where a request uses another field, ``RequestContext.field_names`` has priority.
    """
    older_rate_headers: bool = False
    """Whether responses have X-RateLimit-* headers."""

    @property
    def schema_name(self) -> str:
        """Name of the error schema in the OpenAPI document."""
        return self.name.title().replace(".", "").replace(" ", "") + "Error"

    def error_body(
        self, error: ClearcutError, request_id: str, field_names: Mapping[str, str] = NO_NAMES
    ) -> dict[str, Any]:
        """Return the JSON body of an error.

        Args:
            field_names: the request's own field names by role or option; they override the dialect's.
        """
        names = {**self.field_names, **field_names}
        return self.write_error(ErrorReport(error, request_id, error.field_name(names), error.describe(names)))


class DialectModule(RouteModule, Protocol):
    """A module with the routes of one dialect."""

    DIALECT: Dialect


def dialect_for_path(path: str, dialects: Sequence[Dialect]) -> Dialect:
    """Return the dialect with the longest matching prefix; one of the dialects has the empty prefix."""
    return max((each for each in dialects if path.startswith(each.prefix)), key=lambda each: len(each.prefix))
