"""The inputs of a bulk run as a stream: folders and prefixes, or the rows of CSV, JSONL and Parquet files.

The order is always the same. After the loss of a machine Ray repeats the listing and drops the items that it has.
"""

from __future__ import annotations

import csv
import io
import json
import mimetypes
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from clearcut.imaging.formats.registry import INPUT_EXTENSIONS, OUTPUT_FORMATS

from .stores import FileStore, is_url, join, open_store
from .types import BatchItem, BatchPlan

SOURCE, TARGET = "source", "target"
"""Columns of lists; all others are options."""
LIST_EXTENSIONS = (".csv", ".jsonl", ".parquet")
_PARQUET_ROWS = 1024
_EXTENSIONS = {name: each.extension for each in OUTPUT_FORMATS for name in (each.name, each.extension)}


def list_items(plan: BatchPlan) -> Iterator[BatchItem]:
    """Yield the inputs of a run with their outputs.

    An input that has the output of an earlier one is yielded with an error.

    Raises:
        OSError: the listing cannot be read.
        ValueError: a list is malformed.
    """
    store = open_store(plan.source)
    is_list = is_list_file(plan.source)
    pairs = _rows(plan, store) if is_list else _files(plan, store)
    previous: dict[str, set[str]] = {}
    for item in pairs:
        folder, _, name = item.target.rpartition("/")
        if not is_list and folder not in previous:  # the names of finished folders are not needed any more
            previous = {path: names for path, names in previous.items() if f"{folder}/".startswith(f"{path}/")}
        names = previous.setdefault(folder, set())
        if name in names and not item.error:
            error = f"another input has the same output {item.target}"
            item = BatchItem(item.key, item.source, item.target, item.options, error)
        names.add(name)
        yield item


def is_list_file(source: str) -> bool:
    return source.lower().endswith(LIST_EXTENSIONS)


def _files(plan: BatchPlan, store: FileStore) -> Iterator[BatchItem]:
    inside = _inside(plan.source, plan.target)
    for key in store.list_keys(plan.source):
        path = PurePosixPath(key)
        earlier_output = inside == "" and plan.suffix and path.stem.endswith(plan.suffix)
        in_target = inside and key.startswith(f"{inside}/")
        if earlier_output or in_target or not _is_image(path.name):
            continue
        output = path.with_name(f"{path.stem}{plan.suffix}.{plan.extension}")
        yield BatchItem(key, join(plan.source, key), join(plan.target, str(output)))


def _inside(source: str, target: str) -> str | None:
    """Return the path of the output folder within the input folder, empty if both are the same; None if outside."""
    roots = [each.rstrip("/") if is_url(each) else os.path.realpath(each) for each in (source, target)]
    if roots[0] == roots[1]:
        return ""
    return roots[1].removeprefix(roots[0] + "/") if roots[1].startswith(roots[0] + "/") else None


def _is_image(name: str) -> bool:
    extension = name.rpartition(".")[2].lower()
    return extension in INPUT_EXTENSIONS or (mimetypes.guess_type(name)[0] or "").startswith("image/")


def _rows(plan: BatchPlan, store: FileStore) -> Iterator[BatchItem]:
    base = plan.source.rpartition("/")[0]
    for number, row in enumerate(_table(plan.source, store), 1):
        values = {name: _text(value) for name, value in row.items() if name and value is not None and value != ""}
        source = values.pop(SOURCE, "")
        output = values.pop(TARGET, "")
        if not source:
            yield BatchItem(
                f"row {number}", "", join(plan.target, f"row-{number}"), {}, f"the column {SOURCE} is empty"
            )
            continue
        extension = _EXTENSIONS.get(values.get("format", "").lower(), plan.extension)
        path = PurePosixPath(output or _relative(source))
        error = ""
        if ".." in path.parts or path.is_absolute() or not path.name:
            error = f"the output {path} is not a path below OUT; set the column {TARGET}"
        elif not output:
            path = path.with_name(f"{path.stem}{plan.suffix}.{extension}")
        location = source if is_url(source) or os.path.isabs(source) else join(base, source) if base else source
        yield BatchItem(source, location, join(plan.target, str(path)), values, error)


def _relative(source: str) -> str:
    """Return the path of the output of a row without ``target``: that of the key, or host and path of a URL."""
    if not is_url(source):
        return source.lstrip("/")
    url = urllib.parse.urlsplit(source)
    return f"{url.netloc.rpartition('@')[2]}{urllib.parse.unquote(url.path)}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(source: str, store: FileStore) -> Iterator[Mapping[str, Any]]:
    with store.open(source) as file:
        if source.lower().endswith(".parquet"):
            from pyarrow import parquet

            for batch in parquet.ParquetFile(file).iter_batches(_PARQUET_ROWS):
                yield from batch.to_pylist()
            return
        with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            if source.lower().endswith(".csv"):
                yield from csv.DictReader(text)
                return
            for number, line in enumerate(text, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError(f"{source}: line {number} is not an object")
                    yield row
