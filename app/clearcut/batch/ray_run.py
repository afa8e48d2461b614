"""Bulk runs on Ray Data: one task lists the inputs as a stream, and a pool of actors processes blocks of them.

Only names pass through Ray; the actors read and write the images. An actor that dies is restarted and repeats its
blocks, and skips the outputs that it had written.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from clearcut.errors import StartupError
from clearcut.system import cpu_quota

from .files import temporary_folder
from .listing import list_items
from .ray_actor import CutActor, decode, encode, item_values
from .stores import is_url
from .types import BatchItem, BatchPlan

BLOCK_SIZES = (32, 128, 512)
"""Images of one task. Small blocks first keep all actors of a short run busy; each task costs the driver 10 ms."""
BLOCKS_PER_SIZE = 64
"""Number of blocks before the next size."""
CALLS_PER_ACTOR = 2
"""Blocks that an actor processes at once, so that it is not idle at the end of a block."""
QUEUE_BYTES = 64 * 2**20
"""Maximum memory of blocks that wait in Ray's object store. A listing that is faster than the actors then waits."""
OBJECT_STORE_BYTES = 200 * 2**20
"""Object store of a Ray instance that the command starts itself; it contains names only."""
LOCAL_CONFIG = {
    "worker_niceness": 0,  # with Ray's default, 15, the actors get little CPU time while other programs are busy
    "enable_metrics_collection": False,  # there is no dashboard that could show metrics and task events
    "task_events_report_interval_ms": 0,
}
"""Configuration of a Ray instance that the command starts itself."""
AUTH_ADVICE = (
    "If the cluster requires a token, set RAY_AUTH_MODE=token, "
    "and put the cluster's token into RAY_AUTH_TOKEN or ~/.ray/auth_token"
)
"""Ray's client reports a missing or wrong token as a timeout."""
RAY_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED")
"""Environment variables that Ray or ``connection`` sets."""
Result = tuple[str, str, str, str, float | None]
"""Key, status, code, text and milliseconds of one image."""


@contextmanager
def connection(mode: str) -> Iterator[None]:
    """Start Ray on this machine (``local``), or connect to a cluster (``auto``, ``ray://HOST:PORT``).

    At the end, the connection is closed, and a Ray instance that was started here ends.

    Raises:
        StartupError: Ray does not start, or no cluster accepts the connection.
    """
    before = {name: os.environ.get(name) for name in RAY_VARIABLES}
    try:
        _connect(mode)
        yield
    finally:
        ray.shutdown()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _connect(mode: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    common: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "namespace": "clearcut"}
    if mode == "local":
        cpus = cpu_quota()
        os.environ.setdefault("RAY_AUTH_TOKEN", _local_token())
        # With a token, other users of the machine cannot connect. The address keeps other machines out.
        private = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "_system_config": LOCAL_CONFIG}
        try:
            # A variable RAY_ADDRESS would select a cluster.
            ray.init("local", num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES, **private, **common)
        except Exception as exc:  # Ray has no class for a node that does not start in 30 s
            raise StartupError(f"--ray local: Ray did not start: {exc}") from None
        return
    try:
        ray.init(mode, **common)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as exc:
        # The text of an AuthenticationError contains advice of Ray's own.
        reason = exc.message if isinstance(exc, ray.exceptions.AuthenticationError) else exc
        raise StartupError(f"--ray {mode}: no Ray cluster accepts the connection: {reason}. {AUTH_ADVICE}") from None


@cache
def _local_token() -> str:
    """Return the token of Ray instances that this process starts; Ray reads it only once per process.

    Without it, Ray would write a token to ``~/.ray/auth_token``, which other users can read and which makes a later
    ``ray start --head`` require that token.
    """
    return secrets.token_hex(32)


def run_batch(plan: BatchPlan, mode: str, actor: type[CutActor] = CutActor) -> Iterator[list[Result]]:
    """Process all inputs and yield results as blocks finish. Call it within ``connection``.

    Raises:
        StartupError: no image can be processed, or the listing failed.
        OSError: the output folder cannot be written.
    """
    if not mode.startswith("ray://"):
        yield from _local_results(plan, actor)
        return
    # Ray's client cannot consume streams, so the loop runs on the cluster.
    coordinator = ray.remote(num_cpus=0)(_Coordinator).remote(plan, actor)
    while (results := _get(coordinator.next_results.remote())) is not None:
        yield results


class _Coordinator:
    """Runs the loop of a bulk run on a machine of the cluster."""

    def __init__(self, plan: BatchPlan, actor: type[CutActor]) -> None:
        self._results = _local_results(plan, actor)

    def next_results(self) -> list[Result] | None:
        return next(self._results, None)


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as exc:
        raise StartupError(_reason(exc)) from None


def _local_results(plan: BatchPlan, actor: type[CutActor]) -> Iterator[list[Result]]:
    writing: AbstractContextManager[None] = nullcontext()
    if not is_url(plan.target):
        writing = temporary_folder(Path(plan.target))
    with writing:
        blocks = _dataset(plan, actor).iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        try:
            for block in blocks:
                yield [tuple(each) for each in decode(block)]
        except ray.exceptions.RayError as exc:
            raise StartupError(_reason(exc)) from None


def _dataset(plan: BatchPlan, actor: type[CutActor]) -> Any:
    resources = plan.resources
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.memory_usage_poll_interval_s = None
    # Do not end actors that wait for a slow listing: their replacements would load the model again. Ray still ends
    # actors when no block remains, or when other datasets need their resources.
    context.autoscaling_config.actor_pool_util_downscaling_threshold = -1
    context.target_max_block_size = 1  # each row is a block
    context.execution_options.preserve_order = False
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(
        object_store_memory=QUEUE_BYTES
    )
    pool = ActorPoolStrategy(
        min_size=1,
        max_size=resources.actors,
        initial_size=resources.actors,
        max_tasks_in_flight_per_actor=2 * CALLS_PER_ACTOR,
        max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
        enable_true_multi_threading=True,
    )
    gpus: Mapping[str, float] = {"num_gpus": resources.gpus} if resources.gpus else {}
    listed = ray.data.read_datasource(_Items(plan), override_num_blocks=1, num_cpus=0)
    return listed.map_batches(
        actor,
        fn_constructor_args=(plan,),
        batch_size=None,
        batch_format="pyarrow",
        compute=pool,
        num_cpus=resources.cpus,
        **gpus,
    )


class _Items(Datasource):  # type: ignore[misc]  # Ray is not installed where mypy runs
    """The listing as the input of a dataset: one task, which yields a block when Ray has a use for it."""

    def __init__(self, plan: BatchPlan) -> None:
        super().__init__()
        self._plan = plan

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        plan = self._plan
        metadata = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
        return [ReadTask(lambda: blocks_of(list_items(plan)), metadata)]


def blocks_of(items: Iterable[BatchItem]) -> Iterator[Any]:
    """Yield blocks of ``BLOCK_SIZES`` items."""
    remaining = iter(items)
    for number in itertools.count():
        size = BLOCK_SIZES[min(number // BLOCKS_PER_SIZE, len(BLOCK_SIZES) - 1)]
        chunk = list(itertools.islice(remaining, size))
        if not chunk:
            return
        yield encode(item_values(chunk))


def _reason(error: BaseException) -> str:
    """Return the text of the error that ended a run."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StartupError | OSError | ValueError) and not isinstance(cause, ray.exceptions.RayError):
            return str(cause)
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def cluster_cpus() -> tuple[int, int]:
    """Return (CPUs of the cluster, CPUs of its smallest machine that has some)."""
    counts = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    usable = [count for count in counts if count > 0] or [1]
    return sum(usable), min(usable)
