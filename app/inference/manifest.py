"""``models/manifest.toml``: which models there are, what they are fed and what their files must hash to."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from app.errors import StartupError
from app.imaging.types import InputSpec

OutputKind = Literal["probability", "logit"]
MANIFEST = "manifest.toml"


@dataclass(frozen=True, slots=True)
class Golden:
    """What the model answers to the synthetic picture of ``golden.py``, coarse enough for any hardware to agree."""

    grid: tuple[tuple[float, ...], ...]
    """8 rows of 8 block means of the matte, each 0..1."""
    tolerance: float
    """Largest difference allowed to any of them."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model, as the manifest describes it."""

    name: str
    file: str
    sha256: str
    licence: str
    source: str
    input: InputSpec
    output: OutputKind
    """Whether the file's own output is 0..1 already or before its sigmoid."""
    batch_min: int
    batch_max: int
    golden: Golden | None
    """None only until ``python -m app.inference.golden NAME`` has been run; the service does not start without."""


@dataclass(frozen=True, slots=True)
class Model:
    """An entry with its file's content, which has the entry's hash."""

    entry: ModelEntry
    path: Path
    data: bytes


def models_folder() -> Path:
    """The ``models`` folder beside ``app``: the repository's in a checkout, site-packages' when installed."""
    return Path(__file__).resolve().parents[2] / "models"


def load_model(name: str, models_dir: Path | None = None, extra_dir: Path | None = None) -> Model:
    """Find ``name`` in the manifest and read its file, from ``models_dir`` or else from ``extra_dir``.

    The hash is taken of the very bytes that are handed out, so nothing can change between check and use.

    Raises:
        StartupError: the manifest is missing or malformed, the name unknown, the file missing or not the one meant.
    """
    folder = models_dir or models_folder()
    entry = find_entry(read_manifest(folder / MANIFEST), name)
    folders = [folder] if extra_dir is None else [folder, extra_dir]
    path = next((found for found in (each / entry.file for each in folders) if found.is_file()), None)
    if path is None:
        looked = " nor in ".join(str(each) for each in folders)
        raise StartupError(
            f"Model '{name}': file {entry.file} is not in {looked}. Fetch it from {entry.source} "
            "(see the model's section of the README) or name its folder with CLEARCUT_MODEL_DIR"
        )
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise StartupError(f"Model '{name}': {path} cannot be read: {exc.strerror}") from exc
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise StartupError(
            f"Model '{name}': {path} has sha256 {digest}, the manifest says {entry.sha256}. The file is damaged or "
            f"another version: replace it with the one meant ({entry.source})"
        )
    return Model(entry, path, data)


def find_entry(entries: Mapping[str, ModelEntry], name: str) -> ModelEntry:
    """Raises: StartupError with the known names."""
    try:
        return entries[name]
    except KeyError:
        raise StartupError(f"Unknown model '{name}'. The manifest has: {', '.join(sorted(entries))}") from None


def read_manifest(path: Path) -> dict[str, ModelEntry]:
    """All entries by name.

    Raises:
        StartupError: naming the file, the entry and the field at fault.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise StartupError(f"Model manifest {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise StartupError(f"Model manifest {path} is not valid TOML: {exc}") from exc
    models = document.get("models")
    if not isinstance(models, dict) or not models:
        raise StartupError(f"Model manifest {path} has no [models.NAME] table")
    return {name: _entry(name, _Table(path, f"models.{name}", table)) for name, table in models.items()}


class _Table:
    """Typed look-ups in one TOML table; every fault names the file and the field."""

    def __init__(self, path: Path, name: str, content: object) -> None:
        self._path = path
        self._name = name
        if not isinstance(content, dict):
            raise self.fault("", "expected a table")
        self.content: dict[str, Any] = content

    def fault(self, key: str, expected: str) -> StartupError:
        return StartupError(f"Model manifest {self._path}: {'.'.join(filter(None, (self._name, key)))}: {expected}")

    def table(self, key: str) -> _Table:
        if key not in self.content:
            raise self.fault(key, "table is missing")
        return _Table(self._path, f"{self._name}.{key}", self.content[key])

    def text(self, key: str, pattern: str) -> str:
        value = self.content.get(key)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise self.fault(key, f"expected text that matches {pattern}, got {value!r}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.content.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.fault(key, f"expected a number from {low:g} to {high:g}, got {value!r}")
        return value

    def numbers(self, key: str, count: int, low: float, high: float) -> tuple[float, ...]:
        values = self.content.get(key)
        if not isinstance(values, list) or len(values) != count:
            raise self.fault(key, f"expected {count} numbers, got {values!r}")
        row = _Table(self._path, f"{self._name}.{key}", {str(index): value for index, value in enumerate(values)})
        return tuple(float(row.number(str(index), low, high)) for index in range(count))


def _entry(name: str, table: _Table) -> ModelEntry:
    fed, batch = table.table("input"), table.table("batch")
    mean, std = fed.numbers("mean", 3, -255, 255), fed.numbers("std", 3, 1e-6, 255)
    kinds: tuple[OutputKind, ...] = get_args(OutputKind)
    output = table.text("output", "|".join(kinds))
    return ModelEntry(
        name=name,
        file=table.text("file", r"[A-Za-z0-9][A-Za-z0-9._-]*\.onnx"),  # a plain name: never a path out of the folder
        sha256=table.text("sha256", r"[0-9a-f]{64}"),
        licence=table.text("licence", r".+"),
        source=table.text("source", r".+"),
        input=InputSpec(
            side=int(fed.number("side", 16, 8192)),
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
            scale=1.0 / fed.number("divide_by", 1e-6, 65535),
        ),
        output=next(kind for kind in kinds if kind == output),
        batch_min=(smallest := int(batch.number("min", 1, 1024))),
        batch_max=int(batch.number("max", smallest, 1024)),
        golden=_golden(table.table("golden")) if "golden" in table.content else None,
    )


def _golden(table: _Table) -> Golden:
    rows = table.content.get("grid")
    if not isinstance(rows, list) or len(rows) != 8:
        raise table.fault("grid", "expected 8 rows of 8 numbers")
    lines = _Table(table._path, f"{table._name}.grid", {str(index): row for index, row in enumerate(rows)})
    return Golden(
        grid=tuple(lines.numbers(str(index), 8, 0, 1) for index in range(8)),
        tolerance=table.number("tolerance", 0, 1),
    )
