"""One JSON object a line on standard output. Never image content, file names, keys or raw query strings."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """Fixed keys first, then whatever the record carries in ``fields``."""

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
    """Send this service's and the server's own lines to standard output in one form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    for name in ("clearcut", "app", "uvicorn", "dbos", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel("WARNING" if name in ("uvicorn", "dbos", "opentelemetry") else level.upper())
    # It quotes bodies; we answer with a 400 and say no more.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    # It quotes a tracestate that is malformed.
    logging.getLogger("opentelemetry.trace.span").setLevel(logging.CRITICAL)
