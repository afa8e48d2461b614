"""The training loop.

    python -m models.training.train --config models/training/configs/clearcut-s.toml

Stops and resumes anywhere: the checkpoint holds weights, average, optimizer and the number of
samples seen, and sample ``i`` is a function of the seed and ``i``. A changed length of the current
stage is taken over on resume. Writes ``log.jsonl``, ``curves.png``, ``sheet.png``, ``last.pt`` and
``best.pt`` (the average that scored best on the held-out pool) into the run's directory.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from . import charts, lite
from .config import RunConfig, Stage, load_config
from .cores import SharedCores
from .data import Pool
from .lite import LiteConfig, LiteNetwork
from .losses import matting_loss
from .network import initial_network, load_exported
from .onnx_torch import OnnxNetwork
from .sampling import Sampler
from .validate import Network, Split, held_out_splits, normalize, score

_TEACHER_SIZE = 288


class Samples(Dataset[tuple[Tensor, Tensor, bool, float]]):
    """Sample number -> rgb u8[S,S,3], matte u8[S,S], whether the teacher's matte is to be learnt, and the weight."""

    def __init__(self, sampler: Sampler, size: int, taught: tuple[str, ...]):
        self._sampler, self._size, self._taught = sampler, size, taught

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, bool, float]:
        rgb, matte, weight = self._sampler.weighted(index, self._size)
        return torch.from_numpy(rgb), torch.from_numpy(matte), self._sampler.kind(index) in self._taught, weight


def _quiet(_: int) -> None:
    """Workers run one thread each; OpenCV's pool would only fight with torch's."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a signal to the whole group: the parent saves, then ends us


def batches(
    config: RunConfig, stage: Stage, pool: Pool, first: int, count: int, cuda: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Batches of the samples ``first`` … ``first + count``."""
    order = [list(range(i, i + stage.batch)) for i in range(first, first + count, stage.batch)]
    sampler = Sampler(pool, config.mixture_of(stage), seed=config.seed)
    loader: DataLoader[Any] = DataLoader(
        Samples(sampler, stage.size, config.taught),
        batch_sampler=order,
        num_workers=config.workers,
        worker_init_fn=_quiet,
        prefetch_factor=4,
        pin_memory=cuda,
    )
    yield from loader


def rate_at(stage: Stage, seen: int, seconds: float = 0.0) -> float:
    """Learning rate after ``seen`` samples and ``seconds`` of a stage: linear warm-up, then a cosine."""
    part = min(1.0, max(seen / stage.samples, seconds / stage.seconds))
    cosine = stage.rate_end + (stage.rate - stage.rate_end) * 0.5 * (1 + math.cos(math.pi * part))
    return cosine * min(1.0, (seen + 1) / stage.warmup)


class Teacher:
    """Another network's mattes of what the student sees, enlarged to 288 pixels where that is less."""

    def __init__(self, path: Path, device: torch.device):
        network = OnnxNetwork(path).to(device, memory_format=torch.channels_last)  # type: ignore
        self._network, self._device = network.requires_grad_(False).eval(), device

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """f32[N,3,S,S] -> f32[N,1,S,S] in 0..1."""
        size = image.shape[-2:]
        if size[0] < _TEACHER_SIZE:
            image = F.interpolate(image, size=(_TEACHER_SIZE,) * 2, mode="bilinear", align_corners=False)
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16):
            matte: Tensor = self._network(image).float()
        return matte if matte.shape[-2:] == size else F.interpolate(matte, size, mode="bilinear", align_corners=False)


def build(config: RunConfig) -> Network:
    """The network that a run begins with."""
    if isinstance(config.network, LiteConfig):
        torch.manual_seed(config.seed)
        network = LiteNetwork(config.network)
        if config.encoder is not None:
            network.encoder.load_published(config.encoder)
        if config.start is not None and config.start.suffix == ".onnx":
            lite.load_exported(network, config.start)
        elif config.start is not None:
            state = torch.load(config.start, map_location="cpu", weights_only=True)
            if "average" in state:  # a run starts without the output that ``presence`` fits
                network.load_state_dict({k: v for k, v in state["average"].items() if not k.startswith("presence.")})
            else:
                lite.load_trial(network, state)
        if config.presence_weight:
            network.add_presence()
        return network
    matting = initial_network(config.network, config.seed)
    if config.start is not None and config.start.suffix == ".onnx":
        load_exported(matting, config.start)
    elif config.start is not None:
        matting.load_state_dict(torch.load(config.start, map_location="cpu", weights_only=True)["average"])
    return matting


class Trainer:
    """State of one run and the steps on it."""

    def __init__(self, config: RunConfig):
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.cores = SharedCores(config.threads)
        network = build(config)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore
        self.average = copy.deepcopy(self.network)
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in self.network.named_parameters():
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            factor = config.encoder_rate if name.startswith("encoder.") else 1.0
            groups.setdefault((decay, factor), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": found, "weight_decay": decay, "factor": factor} for (decay, factor), found in groups.items()],
            lr=1e-4,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.teacher = None if config.teacher is None else Teacher(config.teacher, self.device)
        self.stage, self.seen, self.total, self.seconds = 0, 0, 0, 0.0
        self.stage_seconds = 0.0
        self.best = -1.0
        config.out.mkdir(parents=True, exist_ok=True)
        if (config.out / "last.pt").exists():
            self._load(config.out / "last.pt")

    def _load(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimiser"])
        for key in ("stage", "seen", "total", "seconds", "best"):
            setattr(self, key, state[key])
        self.stage_seconds = state.get("stage_seconds", 0.0)
        print(f"resumed at stage {self.stage}, {self.total:,} samples", flush=True)

    def save(self, name: str = "last.pt") -> None:
        """Write a checkpoint in one move, so that a killed run never leaves half a file."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimizer.state_dict(),  # the key in checkpoints of earlier runs
            "stage": self.stage,
            "seen": self.seen,
            "total": self.total,
            "seconds": self.seconds,
            "stage_seconds": self.stage_seconds,
            "best": self.best,
        }
        part = self.config.out / f"{name}.part"
        torch.save(state, part)
        os.replace(part, self.config.out / name)

    def step(self, rgb: Tensor, matte: Tensor, taught: Tensor, weight: Tensor, stage: Stage) -> Tensor:
        """One optimizer step on u8[N,S,S,3], u8[N,S,S], bool[N] and f64[N]; returns the loss, still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(stage, self.seen, self.stage_seconds) * group["factor"]
        image = normalize(rgb.to(self.device, non_blocking=True), self.network)
        image = image.contiguous(memory_format=torch.channels_last)
        target = matte.to(self.device, non_blocking=True)[:, None].float() / 255
        if self.teacher is not None and taught.any():
            places = taught.nonzero()[:, 0].to(self.device)
            target[places] = self.teacher(image[places])
        with torch.autocast(self.device.type, torch.bfloat16):
            out = self.network(image)
        sample_weight = weight.to(self.device).float()
        loss = matting_loss(out, target, sample_weight, presence_weight=self.config.presence_weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        keep = min(self.config.average, 1 - 1 / (2 + self.total / stage.batch))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        self.seen += len(rgb)
        self.total += len(rgb)
        return loss.detach()

    def report(self, splits: dict[str, Split], losses: list[Tensor], stage: Stage) -> None:
        """Score the average on the held-out splits; log, draw, keep the best."""
        figures, mattes = score(self.average, splits, self.device)
        row = {
            "total": self.total,
            "size": stage.size,
            "seconds": round(self.seconds),
            "loss": float(torch.stack(losses).mean()) if losses else float("nan"),
            "rate": rate_at(stage, self.seen, self.stage_seconds),
            **figures,
        }
        with (self.config.out / "log.jsonl").open("a") as log:
            log.write(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
        print(json.dumps({k: round(v, 4) for k, v in row.items()}), flush=True)
        self._draw(splits, mattes)
        if figures["choose"] > self.best:
            self.best = figures["choose"]
            self.save("best.pt")

    def _draw(self, splits: dict[str, Split], mattes: dict[str, np.ndarray]) -> None:
        rows = [json.loads(line) for line in (self.config.out / "log.jsonl").open()]
        panels = {
            title: {key: [(r["total"], r[key]) for r in rows if r[key] == r[key]] for key in keys}
            for title, keys in (
                ("loss", ("loss",)),
                ("held-out IoU", ("pairs_iou", "composites_iou", "drawn_iou")),
                ("held-out MAE", ("pairs_mae", "composites_mae")),
                ("images without a subject with > 2 % cut out", ("empty_share", "bare_share")),
            )
        }
        charts.curves(self.config.out / "curves.png", panels)
        lines = []
        for name, split in splits.items():
            picked = np.linspace(0, len(split.rgb) - 1, 12).astype(int)
            lines += [
                [split.rgb[i] for i in picked],
                [split.matte[i] for i in picked],
                [mattes[name][i] for i in picked],
            ]
        charts.sheet(self.config.out / "sheet.png", lines, 128)

    def run(self) -> None:
        """All stages from wherever the run stands."""
        pool = Pool(*self.config.packs)
        while self.stage < len(self.config.stages):
            stage = self.config.stages[self.stage]
            splits = held_out_splits(pool, stage.size)
            if self.seen == 0:
                self.report(splits, [], stage)
            self._run_stage(stage, pool, splits)
            self.stage, self.seen, self.stage_seconds = self.stage + 1, 0, 0.0
            self.save()

    def _run_stage(self, stage: Stage, pool: Pool, splits: dict[str, Split]) -> None:
        losses: list[Tensor] = []
        saved = clock = time.monotonic()
        left = max(0, stage.samples - self.seen)
        for batch in batches(self.config, stage, pool, self.total, left, self.device.type == "cuda"):
            losses.append(self.step(*batch, stage))
            if self.device.type == "cpu":
                self.cores.update()
            now = time.monotonic()
            self.seconds, self.stage_seconds, clock = (
                *(each + now - clock for each in (self.seconds, self.stage_seconds)),
                now,
            )
            if self.stage_seconds >= stage.seconds:
                break
            if self.total // self.config.evaluate_every != (self.total - stage.batch) // self.config.evaluate_every:
                self.report(splits, losses, stage)
                losses, clock = [], time.monotonic()
            if now - saved > self.config.save_every_s:
                self.save()
                saved = now
        self.report(splits, losses, stage)


def main() -> None:
    """Train as the config says."""
    parser = argparse.ArgumentParser(description="Train the matting network.")
    parser.add_argument("--config", type=Path, required=True)
    args = parser.parse_args()
    trainer = Trainer(load_config(args.config))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        trainer.run()
    except KeyboardInterrupt:  # SIGINT or SIGTERM: keep what was learnt
        trainer.save()
        print(f"stopped and saved at {trainer.total:,} samples", flush=True)


if __name__ == "__main__":
    main()
