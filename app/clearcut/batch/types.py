"""The data types of a bulk run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One input and its output."""

    key: str
    """Name of the input in the failures file: a path within the folder or prefix, or the ``source`` of the row."""
    source: str
    """Path or URL of the input."""
    target: str
    """Path or URL of the output."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of this row."""
    error: str = ""
    """Reason why the row cannot be processed, such as a second input for the same output."""


@dataclass(frozen=True, slots=True)
class BatchResources:
    """Actors of a run and what each one reserves."""

    actors: int
    """Maximum number of actors; 0: as many as the cluster's CPUs permit."""
    cpus: int
    """CPUs of an actor, which are the threads of its model and of its codecs; 0: all CPUs of the smallest machine,
    divided by its GPUs if the actors use GPUs."""
    gpus: float
    """GPUs of an actor; a fraction lets actors share a GPU."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A bulk run, in a form that can be sent to another machine."""

    source: str
    """A folder, a prefix such as ``s3://bucket/photos``, or a CSV, JSONL or Parquet file."""
    target: str
    """A folder or a prefix."""
    extension: str
    """Extension of outputs without an option ``format`` of their own."""
    suffix: str
    """Added to the names of outputs."""
    overwrite: bool
    options: Mapping[str, object]
    """Options of all images, as for ``clearcut.remove``."""
    settings: Mapping[str, object]
    """Settings of the model, the same on all machines."""
    resources: BatchResources
    version: str
    """Version of Clearcut, which must be the same on all machines."""
