"""The faults of ``make test-chaos``, for ``docs/robustness.md``. A test checks that each fault has its test."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    what: str
    client: str
    metrics: str
    test: str


FAULTS = (
    Fault(
        "40 % of the clients disconnect at random times",
        "200 for the others, each charged once",
        "`clearcut_cancelled` by stage; slots and pixels return to 0",
        "test_disconnects_and_signals.py::test_disconnects_at_random_moments_are_charged_once",
    ),
    Fault(
        "SIGTERM under load",
        "200 for accepted requests; 503 with `Retry-After` for new ones, then no connection; exit code 0",
        "`clearcut_ready` 0, `clearcut_rejected{reason=draining}`",
        "test_disconnects_and_signals.py::test_sigterm_under_load_finishes_accepted_work",
    ),
    Fault(
        "SIGKILL under load, three times on the same accounts",
        "connection closed; no charge without a response and none twice; reservations expire",
        "lost with the process",
        "test_disconnects_and_signals.py::test_sigkill_under_load_charges_no_request_twice",
    ),
    Fault(
        "Session raises, or returns NaN or a wrong shape",
        "500 in the API's own format; no faulty output is returned; 200 after the fault",
        "`clearcut_requests{status=500}`",
        "test_model.py::test_faulty_model_output_returns_500",
    ),
    Fault(
        "Session fails for batches",
        "200 for each: the service runs the batch again in halves",
        "`clearcut_batch_size` 1",
        "test_model.py::test_failed_batch_runs_again_in_halves",
    ),
    Fault(
        "Model thread dies, or a run hangs beyond `CLEARCUT_WATCHDOG_S`",
        "503 with `Retry-After` for all current requests; exit code 1",
        "`clearcut_queue_dropped{reason=failed}`, `clearcut_rejected{reason=failed}`, `/livez` 503",
        "test_model.py::test_dead_or_hung_model_thread_ends_the_process",
    ),
    Fault(
        "Model file damaged between two starts",
        "does not start, exit code 1; the error names file and hash",
        "none: no port is open",
        "test_model.py::test_damaged_model_file_prevents_start",
    ),
    Fault(
        "Execution provider missing (`CLEARCUT_DEVICE=cuda`, `tensorrt`)",
        "does not start, exit code 1; the error names what is missing",
        "none: no port is open",
        "test_model.py::test_missing_execution_provider_prevents_start",
    ),
    Fault(
        "Allocation fails in decode, refine or encode",
        "503 with `Retry-After`; 200 for other and later requests",
        "`clearcut_rejected{reason=out_of_memory}`",
        "test_limits.py::test_failed_allocation_returns_503",
    ),
    Fault(
        "Address space limited (`RLIMIT_AS`), images of 49 megapixels",
        "503 with `Retry-After`, never 400 for the file; always 200 for small images",
        "`clearcut_rejected{reason=out_of_memory}`",
        "test_limits.py::test_memory_limit_returns_503_and_never_400",
    ),
    Fault(
        "No file descriptors left (`RLIMIT_NOFILE`)",
        "new connections are reset; existing ones get 200; normal after the fault",
        "`process_open_fds` equals `process_max_fds`; the series is absent while no descriptor is free to read "
        "this number",
        "test_limits.py::test_exhausted_descriptors_reset_new_connections",
    ),
    Fault(
        "Disk of the accounts' database is full",
        "503 with `Retry-After` and no charge; 200 once there is space, without a restart",
        "`clearcut_rejected{reason=unavailable}`",
        "test_limits.py::test_full_disk_returns_503_without_charge",
    ),
    Fault(
        "Clock jumps a day forward or back during a request",
        "200, charged once",
        "`clearcut_expired` stays 0",
        "test_limits.py::test_clock_jump_does_not_affect_deadlines",
    ),
    Fault(
        "Clock runs a thousand times too fast",
        "200",
        "`clearcut_expired` stays 0",
        "test_limits.py::test_fast_wall_clock_does_not_expire_requests",
    ),
)
