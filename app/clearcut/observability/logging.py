"""JSON log lines on standard output. They contain no image content, file names, keys or raw query strings."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object: fixed keys, then the record's ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send the log lines of the service and its libraries to standard output.

    Args:
        level: minimum severity of the service's lines.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    for name in ("clearcut", "app", "uvicorn", "dbos", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel("WARNING" if name in ("uvicorn", "dbos", "opentelemetry") else level.upper())
    # It logs parts of bodies. The 400 response is sufficient.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    # It logs invalid ``tracestate`` headers.
    logging.getLogger("opentelemetry.trace.span").setLevel(logging.CRITICAL)
