"""Common parts of JSON schemas."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}


def object_schema(**properties: Schema) -> Schema:
    """Return the schema of a JSON object with at least these members."""
    return {"type": "object", "properties": properties, "required": list(properties)}
