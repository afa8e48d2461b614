"""The two forms of log lines."""

import json
import logging
import sys

import pytest

from clearcut.observability.logging import JsonFormatter, TextFormatter, configure, omit_caller, on_terminal


def record(event, level=logging.INFO, **fields):
    made = logging.LogRecord("clearcut", level, __file__, 1, event, (), None)
    made.fields = fields
    return made


REQUEST = {
    "request_id": "req_1", "method": "POST", "route": "/v1/remove", "status": 200, "code": "ok", "ms": 12.5,
    "bytes_in": 99, "stages_ms": {"decode": 1.0},
}  # fmt: skip


def test_request_is_one_readable_line():
    line = TextFormatter().format(record("request", **REQUEST))
    assert line[8:] == " info    POST /v1/remove 200 in 12.5 ms  request_id=req_1 bytes_in=99"


def test_error_shows_its_code_and_traceback():
    line = TextFormatter().format(record("request", **REQUEST | {"status": 400, "code": "validation_error"}))
    assert "400 in 12.5 ms  request_id=req_1 code=validation_error" in line
    made = record("unhandled", logging.ERROR)
    try:
        raise ValueError("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "error   unhandled\nTraceback" in TextFormatter().format(made)


def test_json_line_has_all_fields():
    line = json.loads(JsonFormatter().format(record("request", **REQUEST)))
    assert line["event"] == "request"
    assert REQUEST.items() <= line.items()


@pytest.mark.parametrize(
    ("log_format", "terminal", "text", "banner"),
    [
        ("auto", True, True, True), ("auto", False, False, False), ("json", True, False, False),
        ("text", False, True, False), ("text", True, True, True),
    ],
)  # fmt: skip
def test_format_follows_setting_and_terminal(monkeypatch, log_format, terminal, text, banner):
    logger = logging.getLogger("clearcut")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    try:
        configure("info", log_format)
        assert logging.LogRecord("other", logging.INFO, __file__, 1, "", (), None).process is not None
        (handler,) = logger.handlers
        assert isinstance(handler.formatter, TextFormatter) is text
        assert on_terminal(log_format) is banner
        assert bool(handler.filter(record("ready"))) is not banner
        assert handler.filter(record("request"))
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_caller_of_lines_is_omitted_only_on_request(monkeypatch):
    monkeypatch.setattr(logging, "_srcfile", logging._srcfile)
    for name in ("logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, True)
    lines = []
    logger = logging.Logger("other")
    handler = logging.Handler()
    handler.emit = lambda each: lines.append((each.filename, each.process is not None))
    logger.addHandler(handler)
    logger.warning("before")
    omit_caller()
    logger.warning("after")
    assert lines == [("test_logging.py", True), ("(unknown file)", False)]
