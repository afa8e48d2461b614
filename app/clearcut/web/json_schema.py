"""The smallest pieces of a JSON schema."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}


def object_schema(**properties: Schema) -> Schema:
    """A JSON object that has at least these members."""
    return {"type": "object", "properties": properties, "required": list(properties)}
