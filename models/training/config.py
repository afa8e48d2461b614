"""One TOML file describes one run completely; see ``configs/``."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .lite import LiteConfig
from .network import NetworkConfig
from .sampling import Mixture


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the run at one image size, with its own cosine of the learning rate."""

    size: int
    batch: int
    samples: int
    rate: float
    rate_end: float
    warmup: int = 2000  # samples over which the rate rises linearly
    seconds: float = math.inf  # the stage is over after so long, and the rate falls as fast: for a machine on loan
    mixture: dict[str, Any] = field(default_factory=dict)  # overrides of the run's mixture


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything ``train`` needs; paths are relative to the working directory."""

    out: Path
    packs: tuple[Path, ...]
    network: NetworkConfig | LiteConfig
    mixture: dict[str, Any]
    stages: tuple[Stage, ...]
    encoder: Path | None = None  # published encoder weights, for a network that begins without a start
    encoder_rate: float = 1.0  # of the encoder's learning rate
    start: Path | None = None  # a checkpoint, or an exported ONNX file of this shape, to begin with
    teacher: Path | None = None  # an ONNX file that answers in place of the labels of ``taught``
    taught: tuple[str, ...] = ()  # kinds of samples
    presence_weight: float = 0.0  # of the loss of the output for presence; 0: ``presence`` adds this output later
    seed: int = 1
    workers: int = 2
    threads: int = 2
    weight_decay: float = 0.02
    average: float = 0.998
    evaluate_every: int = 20_000  # samples
    save_every_s: float = 240.0

    def mixture_of(self, stage: Stage) -> Mixture:
        """The run's mixture with the stage's overrides."""
        return Mixture(**{**self.mixture, **stage.mixture})


def _network(table: dict[str, Any]) -> NetworkConfig | LiteConfig:
    return LiteConfig.from_dict(table) if "kind" in table else NetworkConfig.from_dict(table)


def load_config(path: Path) -> RunConfig:
    """Read a TOML file; an unknown key is an error.

    Raises:
        ValueError: samples are to be taught without a teacher, or there would be samples without a label.
    """
    table = tomllib.loads(path.read_text())
    config = RunConfig(
        out=Path(table.pop("out")),
        packs=tuple(Path(p) for p in table.pop("packs")),
        start=Path(table.pop("start")) if table.get("start") else None,
        encoder=Path(table.pop("encoder")) if table.get("encoder") else None,
        teacher=Path(table.pop("teacher")) if table.get("teacher") else None,
        taught=tuple(table.pop("taught", ())),
        network=_network(table.pop("network", {})),
        mixture=table.pop("mixture", {}),
        stages=tuple(Stage(**stage) for stage in table.pop("stage")),
        **table,
    )
    if config.taught and config.teacher is None:
        raise ValueError(f"{path}: {', '.join(config.taught)} to be taught, and no teacher")
    if unknown := set(config.taught) - {field.name for field in fields(Mixture)}:
        raise ValueError(f"{path}: no kinds of samples: {', '.join(sorted(unknown))}")
    if "plain" not in config.taught and any(config.mixture_of(stage).plain for stage in config.stages):
        raise ValueError(f"{path}: plain samples have no label of their own, and are not taught")
    return config
