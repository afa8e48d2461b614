"""The faults of `make test-chaos` in words, for the README; a test sees to it that each named test is there."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    what: str
    client: str
    metrics: str
    test: str


FAULTS = (
    Fault(
        "Clients hang up at random, 40 % of them",
        "the others: 200, each charged once",
        "`clearcut_cancelled` by stage; slots and pixels back at 0",
        "test_leaving.py::test_clients_that_hang_up_at_any_moment",
    ),
    Fault(
        "SIGTERM under load",
        "accepted: 200; new: 503 with `Retry-After`, then no connection; exit code 0",
        "`clearcut_ready` 0, `clearcut_rejected{reason=draining}`",
        "test_leaving.py::test_sigterm_under_load",
    ),
    Fault(
        "SIGKILL under load, three times on the same accounts",
        "connection closed; nothing charged that was not answered or twice; reservations free again",
        "gone with the process",
        "test_leaving.py::test_sigkill_under_load_three_times",
    ),
    Fault(
        "Session raises, answers NaN or another shape",
        "500 in the dialect's words, nothing of the rubbish; 200 once it is over",
        "`clearcut_requests{status=500}`",
        "test_model.py::test_a_session_that_answers_rubbish",
    ),
    Fault(
        "Session fails with many at once",
        "200 for each: the batch is run again in halves",
        "`clearcut_batch_size` 1",
        "test_model.py::test_a_session_that_fails_with_many_at_once_answers_each_alone",
    ),
    Fault(
        "Model thread dies, or a run hangs beyond `CLEARCUT_WATCHDOG_S`",
        "everybody in the house 503 with `Retry-After`; exit code 1",
        "`clearcut_queue_dropped{reason=failed}`, `clearcut_rejected{reason=failed}`, `/livez` 503",
        "test_model.py::test_a_lane_that_dies_or_hangs_ends_the_process_and_everybody_is_told",
    ),
    Fault(
        "Model file damaged between two starts",
        "refuses to start, exit code 1, file and hash named",
        "none: nothing listens",
        "test_model.py::test_a_model_file_that_was_damaged_while_the_service_was_down",
    ),
    Fault(
        "Execution provider missing (`CLEARCUT_DEVICE=cuda`, `tensorrt`)",
        "refuses to start, exit code 1, what is missing named",
        "none: nothing listens",
        "test_model.py::test_an_execution_provider_that_is_not_there",
    ),
    Fault(
        "Allocation fails in decode, refine or encode",
        "503 with `Retry-After`; others and later ones 200",
        "`clearcut_rejected{reason=out_of_memory}`",
        "test_limits.py::test_an_allocation_that_fails",
    ),
    Fault(
        "Address space limited (`RLIMIT_AS`), pictures of 49 megapixels",
        "503 with `Retry-After`, never 400 for the file; small pictures 200 throughout",
        "`clearcut_rejected{reason=out_of_memory}`",
        "test_limits.py::test_a_process_that_may_not_have_the_memory",
    ),
    Fault(
        "Descriptors run out (`RLIMIT_NOFILE`)",
        "new connections reset; those that are there 200; then all as before",
        "`process_open_fds` at `process_max_fds`, absent while none is left to read it",
        "test_limits.py::test_descriptors_that_run_out",
    ),
    Fault(
        "Disk full under the accounts",
        "503 with `Retry-After`, nothing charged for it; 200 again once there is room, without a restart",
        "`clearcut_rejected{reason=unavailable}`",
        "test_limits.py::test_a_full_disk_under_the_accounts",
    ),
    Fault(
        "Clock jumps a day ahead or back in the middle of a request",
        "200, charged once",
        "`clearcut_expired` stays 0",
        "test_limits.py::test_a_clock_that_jumps",
    ),
    Fault(
        "Clock runs a thousand times too fast",
        "200",
        "`clearcut_expired` stays 0",
        "test_limits.py::test_a_clock_that_runs_a_thousand_times_too_fast",
    ),
)
