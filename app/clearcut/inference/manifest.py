"""``models/manifest.toml``: which models there are, what they are fed and what their files must hash to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from clearcut.errors import StartupError
from clearcut.imaging.types import InputSpec

from .toml_table import TomlTable, read_document

OutputKind = Literal["probability", "logit", "minmax"]
Precision = Literal["fp32", "fp16", "int8"]
MANIFEST = "manifest.toml"
SHA256 = r"[0-9a-f]{64}"
FILE = r"[A-Za-z0-9][A-Za-z0-9._-]*\.onnx"  # a plain name: never a path out of the folder


@dataclass(frozen=True, slots=True)
class Golden:
    """What the model answers to the synthetic picture of ``golden.py``, coarse enough for any hardware to agree."""

    grid: tuple[tuple[float, ...], ...]
    """8 rows of 8 block means of the matte, each 0..1."""
    tolerance: float
    """Largest difference allowed to any of them."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How near a variant's mattes are to the fp32 file's."""

    iou: float
    """Mean IoU at 0.5."""
    mae: float
    """Largest mean absolute difference of any picture."""
    pictures: str
    """How many of what it was measured on."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model, or one of its variants, as the manifest describes it."""

    name: str
    file: str
    sha256: str | None
    """Of the file; it may instead have the ``md5``, where its publisher gives no more. At least one of them is there,
    except for a variant that everyone makes for himself (``recipe``)."""
    licence: str
    source: str
    input: InputSpec
    output: OutputKind
    """Whether the file's own output is 0..1 already, or before its sigmoid, or is stretched by its authors from its
    least and largest value to 0 and 1. We stretch only where the largest is at least 0.5: a picture without a subject
    must not get one."""
    batch_min: int
    batch_max: int
    golden: Golden | None
    """None only until ``python -m clearcut models pin NAME`` has been run; the service does not start without."""
    md5: str | None = None
    addresses: tuple[str, ...] = ()
    """Where its file is published, for ``python -m clearcut models pull``."""
    terms: str = ""
    """What of its licence is unclear or restricts, if anything."""
    precision: Precision = "fp32"
    views: int = 1
    """2: the file averages the picture's answer with its mirror image's."""
    parity: Parity | None = None
    at_most: float = 1.0
    """A variant is chosen by itself where its run takes at most so many times fp32's time."""
    edges: bool = False
    """Whether the edge model corrects its mattes; it is made for the errors that certain networks make."""
    recipe: str = ""
    """The command that makes a variant's file, where none is published."""
    variants: Mapping[str, ModelEntry] = field(default_factory=dict)


def models_folder() -> Path:
    """Return the repository's ``models`` folder."""
    return Path(__file__).resolve().parents[3] / "models"


def find_entry(entries: Mapping[str, ModelEntry], name: str, precision: Precision = "fp32") -> ModelEntry:
    """Raises: StartupError with the known names."""
    try:
        entry = entries[name]
    except KeyError:
        raise StartupError(f"Unknown model '{name}'. The manifest has: {', '.join(sorted(entries))}") from None
    if precision == "fp32":
        return entry
    try:
        return entry.variants[precision]
    except KeyError:
        have = ", ".join(["fp32", *sorted(entry.variants)])
        raise StartupError(f"Model '{name}' has no {precision} variant. It has: {have}") from None


def read_manifest(path: Path) -> dict[str, ModelEntry]:
    """All entries by name.

    Raises:
        StartupError: naming the file, the entry and the field at fault.
    """
    document = read_document(path, "Model manifest")
    models = document.content.get("models")
    if not isinstance(models, dict) or not models:
        raise StartupError(f"Model manifest {path} has no [models.NAME] table")
    return {name: _entry(name, table) for name, table in document.tables("models").items()}


def _entry(name: str, table: TomlTable) -> ModelEntry:
    fed, batch = table.table("input"), table.table("batch")
    mean, std = fed.numbers("mean", 3, -255, 255), fed.numbers("std", 3, 1e-6, 255)
    kinds: tuple[OutputKind, ...] = get_args(OutputKind)
    output = table.text("output", "|".join(kinds))
    sha256, md5 = table.maybe("sha256", SHA256), table.maybe("md5", r"[0-9a-f]{32}")
    if sha256 is None and md5 is None:
        raise table.fault("sha256", "a sha256 or an md5 of the file is needed")
    entry = ModelEntry(
        name=name,
        file=table.text("file", FILE),
        sha256=sha256,
        md5=md5,
        licence=table.text("licence", r".+"),
        terms=table.maybe("terms", r".+") or "",
        source=table.text("source", r".+"),
        addresses=table.texts("addresses", r"https://\S+"),
        input=InputSpec(
            side=int(fed.number("side", 16, 8192)),
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
            scale=1.0 / fed.number("divide_by", 1e-6, 65535),
        ),
        output=next(kind for kind in kinds if kind == output),
        batch_min=(smallest := int(batch.number("min", 1, 1024))),
        batch_max=int(batch.number("max", smallest, 1024)),
        golden=golden_of(table),
        edges=table.flag("edges"),
    )
    return replace(entry, variants={key: _variant(entry, key, each) for key, each in table.tables("variants").items()})


def _variant(entry: ModelEntry, key: str, table: TomlTable) -> ModelEntry:
    precisions: tuple[Precision, ...] = get_args(Precision)
    precision = next((each for each in precisions[1:] if each == key), None)
    if precision is None:
        raise table.fault("", f"expected one of {', '.join(precisions[1:])}")
    sha256, recipe = table.maybe("sha256", SHA256), table.maybe("recipe", r".+")
    if sha256 is None and recipe is None:
        raise table.fault("sha256", "a sha256 of the file is needed, or the recipe that makes it")
    found = table.table("parity") if "parity" in table.content else None
    return replace(
        entry,
        file=table.text("file", FILE),
        sha256=sha256,
        md5=None,
        addresses=(),
        recipe=recipe or "",
        precision=precision,
        views=int(table.number("views", 1, 2)) if "views" in table.content else 1,
        at_most=table.number("at_most", 0.1, 10) if "at_most" in table.content else 1.0,
        parity=None if found is None else _parity(found),
        golden=golden_of(table),
    )


def _parity(table: TomlTable) -> Parity:
    return Parity(table.number("iou", 0, 1), table.number("mae", 0, 1), table.text("pictures", r".+"))


def golden_of(table: TomlTable) -> Golden | None:
    """The ``golden`` table within ``table``, if there is one."""
    if "golden" not in table.content:
        return None
    golden = table.table("golden")
    rows = golden.content.get("grid")
    if not isinstance(rows, list) or len(rows) != 8:
        raise golden.fault("grid", "expected 8 rows of 8 numbers")
    lines = golden.rows("grid")
    return Golden(
        grid=tuple(lines.numbers(str(index), 8, 0, 1) for index in range(8)),
        tolerance=golden.number("tolerance", 0, 1),
    )
