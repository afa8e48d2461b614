"""The part of a bulk run that the actors do: process the items of a block with one loaded model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pyarrow as pa

import clearcut
from clearcut.api import Remover
from clearcut.errors import StartupError
from clearcut.system import keep_freed_memory, release_free_memory

from .process import Backend, FileOutput, ItemResult, LocalBackend, process_item
from .stores import FileStore, is_url, open_store
from .types import BatchItem, BatchPlan

COLUMN = "json"
"""The column of all blocks. A block has one row with the items or results of one task, so Ray never splits it."""
RESULT_FIELDS = ("key", "status", "code", "text", "ms")


def encode(values: Iterable[object]) -> pa.Table:
    """Return a block."""
    return pa.table({COLUMN: [json.dumps(list(values))]})


def decode(block: pa.Table) -> list[Any]:
    """Return the values of a block."""
    return [value for text in block.column(COLUMN).to_pylist() for value in json.loads(text)]


class CutActor:
    """Removes the backgrounds of the items of blocks. Several threads may call it at once."""

    def __init__(self, plan: BatchPlan) -> None:
        """Load the model.

        Raises:
            StartupError: the model cannot run, or this machine has another version of Clearcut.
        """
        if plan.version != clearcut.__version__:
            raise StartupError(f"this machine has Clearcut {clearcut.__version__}, and the command is {plan.version}")
        keep_freed_memory()
        self._plan = plan
        self._target = open_store(plan.target, target=True)
        self._sources: dict[str, FileStore] = {}
        self._backend: Backend = self._load_backend()
        self._pool = ThreadPoolExecutor(self._backend.concurrency, thread_name_prefix="cut")
        self._calls = 0
        self._lock = threading.Lock()
        release_free_memory()  # loading a large model frees up to a gigabyte

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the results of the items of a block, in the same order: lists of ``RESULT_FIELDS``.

        After the last of the calls in progress, free memory returns to the system.
        """
        with self._lock:
            self._calls += 1
        try:
            return encode(self._pool.map(self._process, [BatchItem(**each) for each in decode(block)]))
        finally:
            with self._lock:
                self._calls -= 1
                idle = self._calls == 0
            if idle:
                release_free_memory()

    def _load_backend(self) -> Backend:
        workers = int(self._plan.settings["workers"])  # type: ignore[call-overload]  # an int of actor_settings
        return LocalBackend(Remover(settings=self._plan.settings), self._plan.options, workers)

    def _process(self, item: BatchItem) -> list[object]:
        result = self._result(item)
        return [item.key, result.status, result.code, result.text, result.ms]

    def _result(self, item: BatchItem) -> ItemResult:
        if item.error:
            return ItemResult("error", code="invalid_row", text=item.error)
        try:
            if not self._plan.overwrite and self._target.exists(item.target):
                return ItemResult("skipped")
        except OSError as exc:
            return ItemResult("error", code="storage_error", text=str(exc))

        def write(outputs: Sequence[FileOutput]) -> None:
            self._target.write(item.target, outputs[0].data)

        return process_item(
            item.key,
            lambda: self._source(item.source).read(item.source),
            lambda data: self._backend.cut(data, item.options),
            write,
        )

    def _source(self, path: str) -> FileStore:
        scheme = path.partition("://")[0] if is_url(path) else ""
        if scheme not in self._sources:
            self._sources[scheme] = open_store(path)
        return self._sources[scheme]


def item_values(items: Iterable[BatchItem]) -> list[dict[str, Any]]:
    return [{**asdict(item), "options": dict(item.options)} for item in items]
