"""What makes a dialect different from its siblings when something goes wrong: its statuses and its error body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearcut.errors import ClearcutError, IdempotencyMismatch


def plain_status(error: ClearcutError) -> int:
    """The class's own status, but for a reused Idempotency-Key, which is 422 (draft-ietf-httpapi-idempotency-key)."""
    return 422 if isinstance(error, IdempotencyMismatch) else error.status


@dataclass(frozen=True, slots=True)
class Dialect:
    name: str
    prefix: str
    """Paths that begin with it are answered in this dialect, also where there is no such route."""
    error_body: Callable[[ClearcutError, str], dict[str, Any]]
    """(error, request id) to the JSON body."""
    error_schema: Mapping[str, Any]
    """What that body is, as a JSON schema."""
    status: Callable[[ClearcutError], int] = plain_status
    older_rate_headers: bool = False
    """Whether X-RateLimit-* are part of it."""

    @property
    def schema_name(self) -> str:
        """Of the error body, in the OpenAPI document."""
        return self.name.title().replace(".", "").replace(" ", "") + "Error"


def dialect_for_path(path: str, dialects: Sequence[Dialect]) -> Dialect:
    """The dialect of a path: the longest prefix wins; one of the dialects has the empty prefix."""
    return max((each for each in dialects if path.startswith(each.prefix)), key=lambda each: len(each.prefix))
