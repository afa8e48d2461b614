"""Log lines on standard output, as JSON or as text for people. They contain no image content, file names, keys or raw
query strings."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_BANNER_EVENTS = ("starting", "model measured", "ready", "listening")
"""Events that ``clearcut serve`` describes in its own words on a terminal."""

_encode = json.JSONEncoder(default=str).encode
"""``json.dumps`` with ``default`` would create an encoder for each line."""


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
        return _encode(line)


class TextFormatter(logging.Formatter):
    """Formats a record as a line for people: local time, severity, event and the record's ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        event = record.getMessage()
        if event == "request":
            event = _request_text(fields)
        values = " ".join(f"{name}={value}" for name, value in fields.items() if not isinstance(value, dict | list))
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        line = f"{time} {record.levelname.lower():<8}{event}  {values}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _request_text(fields: dict[str, Any]) -> str:
    """Take the main fields of a request out of ``fields`` and return them as text."""
    method, route, status, ms = (fields.pop(name, "") for name in ("method", "route", "status", "ms"))
    for name in ("code", "bytes_in", "format"):
        if fields.get(name) in ("ok", 0, "none"):
            del fields[name]
    return f"{method} {route} {status} in {ms} ms"


def on_terminal(log_format: str) -> bool:
    """Return whether people read the log on a terminal: the format is not ``json`` and standard output is one."""
    return log_format != "json" and sys.stdout.isatty()


def configure(level: str, log_format: str = "json") -> None:
    """Send the log lines of the service and its libraries to standard output.

    Args:
        level: minimum severity of the service's lines.
        log_format: ``json``, ``text``, or ``auto``: ``text`` if standard output is a terminal.
    """
    handler = logging.StreamHandler(sys.stdout)
    text = log_format == "text" or on_terminal(log_format)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    if on_terminal(log_format):
        handler.addFilter(lambda record: record.getMessage() not in _BANNER_EVENTS)
    for name in ("clearcut", "app", "uvicorn", "dbos", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel("WARNING" if name in ("uvicorn", "dbos", "opentelemetry") else level.upper())
    # It logs parts of bodies. The 400 response is sufficient.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    # It logs invalid ``tracestate`` headers.
    logging.getLogger("opentelemetry.trace.span").setLevel(logging.CRITICAL)


def omit_caller() -> None:
    """Create log records without the calling line, the thread and the process, which the formatters above do not use.

    This saves CPU time (Python's logging HOWTO, "Optimization"). The setting applies to all loggers of the process, so
    only ``clearcut serve`` uses it.
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
