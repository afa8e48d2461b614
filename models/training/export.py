"""Checkpoint -> ONNX: ``image`` f32[N,3,S,S] -> ``matte`` f32[N,1,S,S] in 0..1, opset 17.

    python -m models.training.export --config models/training/configs/clearcut-s.toml \
        --checkpoint best.pt --size 320 --out models/clearcut-s.onnx

Exports the weight average. The batch is dynamic, the size fixed; mean and deviation stay outside,
as with the starter. Refuses to leave a file whose figures differ from torch's, or whose batch
differs from its singles. ``variants`` makes the int8 and fp16 files from what this leaves.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

from .config import load_config
from .network import Exportable, MattingNetwork
from .teacher import session

TOLERANCE = 2e-4


def average_of(config_path: Path, checkpoint: str) -> MattingNetwork:
    """The weight average of a run's checkpoint, in evaluation mode."""
    config = load_config(config_path)
    state = torch.load(config.out / checkpoint, map_location="cpu", weights_only=True)
    network = MattingNetwork(config.network)
    network.load_state_dict(state["average"])
    print(f"{config.out / checkpoint}: {state['total']:,} samples")
    return network.eval()


def export_fp32(network: MattingNetwork, size: int, out: Path, *, mirror: bool = False) -> None:
    """Write the ONNX file and check it against torch and against itself."""
    example = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    module = Exportable(network, mirror=mirror)
    torch.onnx.export(
        module,
        (example,),
        str(out),
        input_names=["image"],
        output_names=["matte"],
        opset_version=17,
        dynamic_axes={"image": {0: "batch"}, "matte": {0: "batch"}},
        do_constant_folding=True,
        dynamo=False,
    )
    onnx.checker.check_model(str(out))
    model = session(out)
    together = np.asarray(model.run(None, {"image": example.numpy()})[0])
    with torch.no_grad():
        gap = float(np.abs(together - module(example).numpy()).max())
    singles = np.concatenate([model.run(None, {"image": example[i : i + 1].numpy()})[0] for i in range(2)])
    drift = float(np.abs(together - singles).max())
    if gap > TOLERANCE or drift > TOLERANCE:
        raise RuntimeError(f"not the same: torch {gap:.2e}, batch against singles {drift:.2e}")
    print(f"largest difference: to torch {gap:.1e}, batch to singles {drift:.1e}")


def facts(path: Path) -> str:
    """What the manifest wants to know of a file."""
    data = path.read_bytes()
    model = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    shape = model.get_inputs()[0].shape
    return f"{path}: sha256 {hashlib.sha256(data).hexdigest()}, {len(data):,} bytes, input {shape}"


def main() -> None:
    """Export as asked."""
    parser = argparse.ArgumentParser(description="Export a checkpoint to ONNX.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--checkpoint", default="best.pt", help="best.pt or last.pt")
    parser.add_argument("--size", type=int, default=320, help="a multiple of 64")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mirror", action="store_true", help="average with the mirror image's matte: twice the work")
    args = parser.parse_args()
    export_fp32(average_of(args.config, args.checkpoint), args.size, args.out, mirror=args.mirror)
    print(facts(args.out))


if __name__ == "__main__":
    main()
