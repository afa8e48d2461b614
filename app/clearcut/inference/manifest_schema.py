"""The TOML tables of ``manifest.toml`` and of pin files, as pydantic models.

``read_toml`` validates a file. Its errors name the file, the table and the field.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from clearcut.errors import StartupError
from clearcut.imaging.types import InputSpec

OutputKind = Literal["probability", "logit", "minmax"]
Text = Annotated[str, Field(min_length=1)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.onnx$")]
"""A name without a folder: a manifest cannot name a file elsewhere."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
Offset = Annotated[float, Field(strict=True, ge=-255, le=255)]
Divisor = Annotated[float, Field(strict=True, ge=1e-6, le=255)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,39}$")]

_MAX_LABELS = 1000
M = TypeVar("M", bound=BaseModel)


class Table(BaseModel):
    """A TOML table. Unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class InputTable(Table):
    """How a network expects its input: RGB, the whole image resized to side x side, scaled and normalized."""

    side: int = Field(strict=True, ge=16, le=8192)
    divide_by: float = Field(strict=True, ge=1e-6, le=65535)
    mean: tuple[Offset, Offset, Offset]
    std: tuple[Divisor, Divisor, Divisor]

    def to_spec(self) -> InputSpec:
        """Return the specification in the terms of ``imaging``."""
        return InputSpec(side=self.side, mean=self.mean, std=self.std, scale=1.0 / self.divide_by)


class BatchTable(Table):
    """Batch sizes that a network accepts."""

    min: int = Field(strict=True, ge=1, le=1024)
    max: int = Field(strict=True, ge=1, le=1024)

    @model_validator(mode="after")
    def _check_order(self) -> BatchTable:
        if self.max < self.min:
            raise ValueError("max must be at least min")
        return self


class Golden(Table):
    """The output for the golden image of ``self_test.py``, coarse enough to be equal on all hardware."""

    grid: tuple[Annotated[tuple[Fraction, ...], Field(min_length=8, max_length=8)], ...] = Field(
        min_length=8, max_length=8
    )
    """8 rows of 8 block means of the matte, each 0..1."""
    tolerance: Fraction
    """Maximum absolute difference of a block mean."""


class Parity(Table):
    """Difference between the mattes of a variant and those of the fp32 file."""

    iou: Fraction
    """Mean IoU at threshold 0.5."""
    mae: Fraction
    """Largest mean absolute difference of an image."""
    measured_on: Text = Field(validation_alias=AliasChoices("measured_on", "pictures"))
    """Description of the images, with their number."""


class VariantTable(Table):
    """``[models.NAME.variants.PRECISION]``."""

    file: FileName
    sha256: Sha256 | None = None
    recipe: Text | None = None
    views: int = Field(1, strict=True, ge=1, le=2)
    at_most: float = Field(1.0, strict=True, ge=0.1, le=10)
    parity: Parity | None = None
    golden: Golden | None = None

    @model_validator(mode="after")
    def _check_source(self) -> VariantTable:
        if self.sha256 is None and self.recipe is None:
            raise ValueError("expected a sha256 of the file, or the recipe that makes it")
        return self


class PackageTable(Table):
    """An npm package as the source of a model file. It names no host: ``clearcut models pull`` asks the npm client."""

    name: Annotated[str, Field(pattern=r"^npm:(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*@\d+\.\d+\.\d+$")]
    integrity: Annotated[str, Field(pattern=r"^sha512-[A-Za-z0-9+/]{86}==$")]
    """Subresource integrity of the tarball."""


class ChunkedPackage(PackageTable):
    """``[models.NAME.package]``: a package that contains the file in chunks; see ``model_store.chunks``."""

    index: Text
    """Path of the list of chunks in the package."""
    resource: Text
    """Name of the file in the list."""


class ModelTable(Table):
    """``[models.NAME]``; ``ModelEntry`` describes the fields."""

    file: FileName
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    licence: Text
    terms: Text | None = None
    source: Text
    urls: tuple[Annotated[str, Field(pattern=r"^https://\S+$")], ...] = Field(
        (), validation_alias=AliasChoices("urls", "addresses")
    )
    size_mb: float | None = Field(None, gt=0)
    package: ChunkedPackage | None = None
    output: OutputKind
    memory_mb: int = Field(0, strict=True, ge=0)
    edges: StrictBool = False
    second_pass: Fraction = 0.0
    input: InputTable
    batch: BatchTable
    golden: Golden | None = None
    variants: dict[Literal["int8", "fp16"], VariantTable] = {}

    @model_validator(mode="after")
    def _check_hash(self) -> ModelTable:
        if self.sha256 is None and self.md5 is None:
            raise ValueError("expected a sha256 or an md5 of the file")
        return self


class ManifestModels(Table):
    """The models of a manifest."""

    models: dict[str, ModelTable] = Field(min_length=1)


class EdgeModelTable(Table):
    """``[edges]``: the edge model."""

    file: FileName
    sha256: Sha256


class EdgesFile(Table):
    """The edge model of a manifest."""

    edges: EdgeModelTable | None = None


class ScoresTable(Table):
    """A classifier of images and the scores at which an image is rejected; see ``moderation.py``."""

    file: FileName
    output: Literal["probability", "logit"]
    labels: tuple[Label, ...] = Field(min_length=1, max_length=_MAX_LABELS)
    """Names of the scores, in the order of the output."""
    refuse: dict[str, Fraction] = Field(min_length=1)
    """Threshold of each label: an image is rejected if its score is at least this."""
    input: InputTable

    @model_validator(mode="after")
    def _check_labels(self) -> ScoresTable:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must differ")
        if unknown := [label for label in self.refuse if label not in self.labels]:
            raise ValueError(f"refuse has unknown labels: {unknown}; expected some of {', '.join(self.labels)}")
        return self


class ModerationTable(ScoresTable):
    """``[moderation]``: a classifier that the operator provides."""

    sha256: Sha256


class LayersPackage(PackageTable):
    """``[classifiers.NAME.package]``: a package that contains a layers model of TensorFlow.js."""

    topology: Text
    """Path of the module with the topology."""
    weights: tuple[Text, ...] = Field(min_length=1)
    """Paths of the modules with the weights."""


class ClassifierTable(ScoresTable):
    """``[classifiers.NAME]``: a classifier that ``clearcut models pull NAME`` downloads and converts."""

    licence: Text
    terms: Text = ""
    source: Text
    size_mb: float | None = Field(None, gt=0)
    """Size of the converted file."""
    package: LayersPackage
    golden: dict[str, Fraction]
    """Expected scores of the golden image of ``self_test.py``."""
    tolerance: Fraction = 0.02
    """Maximum absolute difference of a score."""

    @model_validator(mode="after")
    def _check_golden(self) -> ClassifierTable:
        if set(self.golden) != set(self.labels):
            raise ValueError("golden must have one score for each label")
        return self


class ClassifiersFile(Table):
    """The moderation model and the classifiers of a manifest."""

    moderation: ModerationTable | None = None
    classifiers: dict[str, ClassifierTable] = {}


class Pin(Table):
    """A pin file: hash and golden output of a model file, recorded when it was downloaded or made on this machine."""

    sha256: Sha256
    golden: Golden | None = None


def read_toml(path: Path, kind: str, schema: type[M]) -> M:
    """Read and validate a TOML file.

    Args:
        path: of the file.
        kind: name of the file in messages, such as "Model manifest".
        schema: of the whole file.

    Raises:
        StartupError: the file cannot be read, is not TOML, or does not match the schema. The text names each field.
    """
    try:
        return schema.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as exc:
        raise StartupError(f"{kind} {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise StartupError(f"{kind} {path} is not valid TOML: {exc}") from exc
    except ValidationError as exc:
        raise StartupError(f"{kind} {path}: {'; '.join(_describe(error) for error in exc.errors())}") from exc


def _describe(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"] if part != "[key]")
    value = error["input"]
    shown = f", got {value!r}" if isinstance(value, str | int | float) and error["type"] != "missing" else ""
    return f"{field}: {error['msg'].removeprefix('Value error, ')}{shown}"
