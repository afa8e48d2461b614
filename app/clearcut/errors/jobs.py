"""Errors of jobs and their outputs."""

from __future__ import annotations

from .base import ClearcutError


class InvalidSignature(ClearcutError):
    """The URL of an output has an invalid signature."""

    status = 403
    code = "permission_denied"
    message = "Permission denied"
    reason = "bad_signature"

    def __init__(self) -> None:
        super().__init__("The signature does not match this URL")


class OutputNotFound(ClearcutError):
    status = 404
    code = "not_found"
    message = "No such output"
    reason = "output_not_found"


class OutputExpired(ClearcutError):
    status = 410
    code = "gone"
    message = "The output has expired"
    reason = "output_expired"


class RangeNotSatisfiable(ClearcutError):
    status = 416
    code = "range_not_satisfiable"
    message = "The range is outside the output"
    reason = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"The output has {size} bytes")
        self.headers["Content-Range"] = f"bytes */{size}"


class JobNotFound(ClearcutError):
    status = 404
    code = "not_found"
    message = "No such job"
    reason = "job_not_found"


class JobsDisabled(ClearcutError):
    """The route exists, but jobs are disabled."""

    status = 404
    code = "not_enabled"
    message = "Jobs are disabled"
    reason = "jobs_off"

    def __init__(self) -> None:
        super().__init__("Set CLEARCUT_JOBS=sqlite, or postgresql for several nodes, to enable the asynchronous APIs")
