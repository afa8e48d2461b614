"""Checkpoint -> ONNX: ``image`` f32[N,3,S,S] -> ``matte`` f32[N,1,S,S] and ``confidence`` f32[N], in 0..1, opset 17.

    python -m models.training.export --config models/training/configs/clearcut-m.toml \
        --checkpoint best.pt --size 320 --out models/clearcut-m.onnx

Exports the weight average. The batch is dynamic, the size fixed; the caller normalizes the image. Weights are stored in
16 bits (``graphs.compact``). Fails if the file's answers differ from torch's, or a batch's from its singles'.
``variants`` makes the int8 and fp16 files from this file.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.scoring.predictor import session

from .config import load_config
from .graphs import compact
from .train import build
from .validate import Network

TOLERANCE = 2e-4
REJECTED_LOGIT = -60.0  # added to the logits of a rejected image: alpha 0 in 8 bits, and finite in 16-bit floats


SURE = 0.8
"""Lowest value of a pixel that surely belongs to the subject."""
BLOCK = 8
"""Pixels along a side of the blocks in which sure pixels are searched."""
FLOOR = 0.4
"""Value that becomes 0 far from sure pixels."""


def suppress_uncertain(alpha: Tensor) -> Tensor:
    """Lower uncertain values far from all sure ones: f32[N,1,S,S] in 0..1 to the same, S a multiple of 8.

    Values between 0 and 1 belong to an edge, or the network is not certain about an object. At an edge there are sure
    values nearby: in the same block of pixels or in a neighboring one. A matte without sure values stays as it is.
    ``HISTORY.md`` has the comparison.
    """
    sure = (F.max_pool2d(alpha, BLOCK) > SURE).to(alpha.dtype)
    near = F.max_pool2d(sure, 5, 1, 2)
    near = torch.maximum(near, 1 - sure.amax((2, 3), keepdim=True))
    near = F.interpolate(near, scale_factor=float(BLOCK), mode="bilinear", align_corners=False)
    lowered = torch.clamp((alpha - FLOOR) / (1 - FLOOR), min=0)
    return lowered + near * (alpha - lowered)


class Exportable(nn.Module):
    """Module with the outputs of the ONNX file: the matte, and the confidence if the network has that output.

    Args:
        network: the trained network.
        mirror: average the logits of both mirror views.
        reject_below: threshold on the probability of a subject, or without that output on the confidence. Below it
            the matte is 0 everywhere. 0 rejects nothing.
        reject_unsure: thresholds on this probability and on the confidence. The matte is also 0 everywhere if both
            are lower.
    """

    def __init__(
        self,
        network: Network,
        *,
        mirror: bool = False,
        reject_below: float = 0.0,
        reject_unsure: tuple[float, float] = (0.0, 0.0),
    ):
        super().__init__()
        self.network = network
        self.mirror = mirror
        self.reject_below = reject_below
        self.reject_unsure = reject_unsure

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """f32[N,3,S,S] -> f32[N,1,S,S] in 0..1; with ``mirror`` the mean of both views' logits."""
        out = self.network(image)
        if self.mirror:
            return torch.sigmoid((out.full + self.network(image.flip(3)).full.flip(3)) / 2)
        if out.confidence is None:
            return torch.sigmoid(out.full)
        if not self.reject_below:
            return suppress_uncertain(torch.sigmoid(out.full)), torch.sigmoid(out.confidence)
        confidence = torch.sigmoid(out.confidence)
        presence = confidence if out.presence is None else torch.sigmoid(out.presence)
        unsure = (presence < self.reject_unsure[0]).float() * (confidence < self.reject_unsure[1]).float()
        rejected = torch.maximum((presence < self.reject_below).float(), unsure).reshape(-1, 1, 1, 1)
        return suppress_uncertain(torch.sigmoid(out.full + rejected * REJECTED_LOGIT)), confidence


def average_of(config_path: Path, checkpoints: Sequence[str], *, start_share: float = 0.0) -> Network:
    """Return the mean of the weight averages of checkpoints, in evaluation mode.

    Args:
        config_path: configuration of a run; a relative checkpoint is in the folder of this run.
        checkpoints: one or more checkpoints of the same network.
        start_share: share of the exported file with which the run began, in the result.
    """
    config = load_config(config_path)
    states = [torch.load(config.out / each, map_location="cpu", weights_only=True) for each in checkpoints]
    network = build(replace(config, start=None, encoder=None))
    averages = [state["average"] for state in states]
    if any(each.keys() != averages[0].keys() for each in averages):
        raise SystemExit("the checkpoints have different outputs")
    if "presence.weight" in averages[0]:
        network.add_presence()
    network.load_state_dict({name: sum(each[name] for each in averages) / len(averages) for name in averages[0]})
    for each, state in zip(checkpoints, states, strict=True):
        print(f"{config.out / each}: {state['total']:,} samples")
    if start_share:
        start = build(config).state_dict()
        trained = {name: value for name, value in network.state_dict().items() if not name.startswith("side_heads.")}
        mixed = {name: value.lerp(start[name], start_share) for name, value in trained.items()}
        network.load_state_dict(mixed, strict=False)
    return network.eval()


def export_fp32(
    network: Network,
    size: int,
    out: Path,
    *,
    mirror: bool = False,
    reject_below: float = 0.0,
    reject_unsure: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Write the ONNX file and check it against torch and against itself. Rounds the network's weights to 16 bits.

    The check is also done without rejection, because a rejected image has an empty matte.
    """
    rounded = {name: value.half().float() for name, value in network.state_dict().items()}
    network.load_state_dict(rounded)
    if reject_below:
        with tempfile.TemporaryDirectory() as folder:
            _write_and_check(Exportable(network, mirror=mirror), size, Path(folder) / out.name)
    module = Exportable(network, mirror=mirror, reject_below=reject_below, reject_unsure=reject_unsure)
    _write_and_check(module, size, out)


def _write_and_check(module: Exportable, size: int, out: Path) -> None:
    """Write the module as an ONNX file and compare its outputs.

    Raises:
        RuntimeError: they differ from torch's, or those of a batch from those of single images.
    """
    example = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answer = module(example)
    expected = [answer] if isinstance(answer, Tensor) else list(answer)
    outputs = ["matte", "confidence"][: len(expected)]
    torch.onnx.export(
        module,
        (example,),
        str(out),
        input_names=["image"],
        output_names=outputs,
        opset_version=17,
        dynamic_axes={name: {0: "batch"} for name in ("image", *outputs)},
        do_constant_folding=True,
        dynamo=False,
    )
    onnx.save(compact(onnx.load(str(out))), str(out))
    model = session(out)
    together = [np.asarray(found) for found in model.run(None, {"image": example.numpy()})]
    singles = [model.run(None, {"image": example[i : i + 1].numpy()}) for i in range(2)]
    gap = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(together, expected, strict=True))
    drift = max(
        float(np.abs(a - np.concatenate(parts)).max())
        for a, parts in zip(together, zip(*singles, strict=True), strict=True)
    )
    if gap > TOLERANCE or drift > TOLERANCE:
        raise RuntimeError(f"not the same: torch {gap:.2e}, batch against singles {drift:.2e}")
    print(f"{out.name}: largest difference to torch {gap:.1e}, batch to singles {drift:.1e}")


def manifest_fields(path: Path) -> str:
    """Return the manifest's fields of a file."""
    data = path.read_bytes()
    model = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    shape = model.get_inputs()[0].shape
    return f"{path}: sha256 {hashlib.sha256(data).hexdigest()}, {len(data):,} bytes, input {shape}"


def main() -> None:
    """Export the checkpoint as the arguments specify."""
    parser = argparse.ArgumentParser(description="Export a checkpoint to ONNX.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument(
        "--checkpoint", nargs="+", default=["best.pt"], help="of the run; the weights of several are averaged"
    )
    parser.add_argument(
        "--start-share", type=float, default=0.0, help="share of the file with which the run began, in the result"
    )
    parser.add_argument("--size", type=int, default=320, help="a multiple of 64")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file; with .pt a checkpoint with the mean")
    parser.add_argument("--mirror", action="store_true", help="average with the mirror image's matte: twice the work")
    parser.add_argument(
        "--reject-below", type=float, default=0.0, help="probability of a subject below which the matte is empty"
    )
    parser.add_argument(
        "--reject-unsure",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("PRESENCE", "CONFIDENCE"),
        help="the matte is also empty if the probability of a subject and the confidence are both lower; "
        "needs --reject-below",
    )
    args = parser.parse_args()
    if args.mirror and args.reject_below:
        parser.error("--mirror has no output to reject by; leave out --reject-below")
    if any(args.reject_unsure) and not args.reject_below:
        parser.error("--reject-unsure needs --reject-below, too")
    network = average_of(args.config, args.checkpoint, start_share=args.start_share)
    if args.out.suffix == ".pt":  # the start of another run
        torch.save({"average": network.state_dict(), "total": 0}, args.out)
        return
    rejection = {"reject_below": args.reject_below, "reject_unsure": tuple(args.reject_unsure)}
    export_fp32(network, args.size, args.out, mirror=args.mirror, **rejection)
    print(manifest_fields(args.out))


if __name__ == "__main__":
    main()
