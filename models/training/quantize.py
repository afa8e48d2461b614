"""Converts an fp32 model to int8 (QDQ), except for the layers that lose most accuracy.

    python -m models.training.quantize --model u2netp.onnx --pictures FOLDER --out u2netp.int8.onnx

Ranges are the smallest and largest values of calibration images. Weights have eight bits, or seven with
``--seven-bits``, and one scale per channel. Conv + Relu pairs share one range after the Relu. Layers after the last
Relus stay in floating point, because the matte's soft edge consists of small differences. So do the convolutions that
lose most accuracy when each is quantized alone: one convolution of u2netp, with inputs up to 228, costs a quarter of
the IoU. Needs no torch.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from clearcut.imaging.types import InputSpec
from models.scoring.predictor import IMAGENET, to_input
from models.scoring.segmentation import iou

from .data import is_held_out

F32 = NDArray[np.float32]
OPERATORS = ["Conv", "Relu", "Clip", "MaxPool", "Concat", "Resize", "Add"]
CALIBRATION, SEARCH = 64, 12
"""Number of images for the ranges, and for the test of each convolution."""
HARM = 0.001
"""A convolution that alone changes the matte by more than this on average stays in floating point."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Difference between the mattes of two files."""

    iou: float  # mean over images, at 0.5
    mae: float  # largest of any image
    images: int


def images_of(folder: Path, count: int, *, held_out: bool, size: int, spec: InputSpec = IMAGENET) -> list[F32]:
    """Return ``count`` of the folder's JPEGs, evenly spread, as network input f32[1,3,S,S], from one side of the
    split.

    Raises:
        SystemExit: The folder has fewer.
    """
    stems = [path.stem for path in sorted(folder.glob("*.jpg")) if is_held_out(path.stem) == held_out]
    if len(stems) < count:
        raise SystemExit(f"{folder} has {len(stems)} fitting JPEGs, {count} are needed; name another with PICTURES=")
    picked = [stems[place] for place in np.linspace(0, len(stems) - 1, count).astype(int)]
    return [to_input(read_rgb(folder / f"{stem}.jpg"), size, spec) for stem in picked]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """u8[H,W,3]."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)


def run_all(model: bytes, images: Iterable[F32], threads: int = 1) -> list[F32]:
    """Return the file's mattes f32[S,S] of the images."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [np.asarray(session.run(None, {name: image})[0])[0, 0] for image in images]


def compare(model: bytes, images: Sequence[F32], reference: Sequence[F32]) -> Parity:
    """Compare the file's mattes with known ones."""
    pairs = list(zip(run_all(model, images), reference, strict=True))
    gaps = [float(np.abs(matte - expected).mean()) for matte, expected in pairs]
    return Parity(float(np.mean([iou(matte, expected) for matte, expected in pairs])), max(gaps), len(pairs))


class Quantizer:
    """An fp32 network with its calibrated ranges."""

    def __init__(self, model: ModelProto, images: Sequence[F32], *, seven_bits: bool = False) -> None:
        """Calibrate the ranges.

        Args:
            model: fp32 network.
            images: calibration images f32[1,3,S,S].
            seven_bits: Weights have seven bits. Without VNNI, x86 CPUs add two products in 16 bits, where products of
                eight bits can overflow.
        """
        from onnxruntime.quantization import CalibrationMethod
        from onnxruntime.quantization.calibrate import create_calibrator
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self._seven_bits = seven_bits
        with tempfile.TemporaryDirectory() as folder:
            source, prepared = Path(folder) / "source.onnx", Path(folder) / "prepared.onnx"
            onnx.save(model, str(source))
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            self._model = onnx.load(str(prepared))
            calibrator = create_calibrator(
                str(prepared),
                None,
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(_Reader(model.graph.input[0].name, images))
            self._ranges = calibrator.compute_data()
        self._floats = _behind_last_relus(self._model) | _no_feature_maps(self._model)

    def quantized(self, *, only: Sequence[str] = (), floats: Iterable[str] = ()) -> bytes:
        """Return the QDQ file.

        Args:
            only: Nodes to quantize. Default: all that can be.
            floats: Nodes that stay in floating point besides the last layers.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        copy = ModelProto()
        copy.CopyFrom(self._model)
        quantizer = QDQQuantizer(
            copy,
            True,  # weights per channel
            self._seven_bits,
            QuantType.QInt8,
            QuantType.QUInt8,
            self._ranges,
            list(only),
            sorted({*self._floats, *floats}),
            OPERATORS,
            {},
        )
        quantizer.quantize_model()
        return bytes(quantizer.model.model.SerializeToString())

    def harmful(self, images: Sequence[F32], limit: float = HARM) -> list[str]:
        """Return the convolutions that alone change the matte by more than ``limit`` on average, the worst first."""
        reference = run_all(self._model.SerializeToString(), images)
        behind: dict[str, list[str]] = {}
        for node in self._model.graph.node:
            if node.op_type == "Relu":
                behind.setdefault(node.input[0], []).append(node.name)
        found = []
        for node in self._model.graph.node:
            if node.op_type == "Conv" and node.name not in self._floats:
                mattes = run_all(self.quantized(only=[node.name, *behind.get(node.output[0], [])]), images)
                gap = float(np.mean([np.abs(a - b).mean() for a, b in zip(mattes, reference, strict=True)]))
                found.append((gap, node.name))
        return [name for gap, name in sorted(found, reverse=True) if gap > limit]


def _behind_last_relus(model: ModelProto) -> set[str]:
    """Return the nodes between the last Relus and the first output.

    The estimates of presence and confidence also reach this output, but they pool features, which are quantized.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    found: set[str] = set()
    waiting = [model.graph.output[0].name]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in found and node.op_type not in ("Relu", "ReduceMax"):
            found.add(node.name)
            waiting += node.input
    return found


def _no_feature_maps(model: ModelProto) -> set[str]:
    """Return additions and concatenations of other arrays than [N,C,H,W] maps, or that join the views."""
    ranks = {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    source = {each.name for each in model.graph.input}
    return {
        node.name
        for node in model.graph.node
        if node.op_type in ("Add", "Concat") and (ranks.get(node.output[0]) != 4 or source & set(node.input))
    }


class _Reader:
    def __init__(self, name: str, images: Iterable[F32]) -> None:
        self._rows = iter([{name: image} for image in images])

    def get_next(self) -> dict[str, F32] | None:
        return next(self._rows, None)


def quantize(
    model: ModelProto,
    folder: Path,
    size: int,
    harm: float = HARM,
    spec: InputSpec = IMAGENET,
    *,
    seven_bits: bool = False,
) -> bytes:
    """Return the QDQ file of a network, calibrated and tuned on a folder's images without the held-out ones."""
    images = images_of(folder, CALIBRATION, held_out=False, size=size, spec=spec)
    quantizer = Quantizer(model, images, seven_bits=seven_bits)
    floats = quantizer.harmful(images[:: max(1, CALIBRATION // SEARCH)][:SEARCH], harm)
    print(f"left in floats for their harm: {', '.join(floats) or 'none'}")
    return quantizer.quantized(floats=floats)


def main() -> None:
    """Quantize one file and print its difference from fp32."""
    parser = argparse.ArgumentParser(description="fp32 ONNX -> int8 QDQ, mixed with floats where needed.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of JPEGs: the pool's, or photos of yours")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--harm", type=float, default=HARM, help="largest mean change of the matte by one convolution")
    parser.add_argument("--seven-bits", action="store_true", help="weights of seven bits, for CPUs without VNNI")
    args = parser.parse_args()
    model = onnx.load(str(args.model))
    size = model.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    args.out.write_bytes(quantize(model, args.pictures, size, args.harm, seven_bits=args.seven_bits))
    images = images_of(args.pictures, 100, held_out=True, size=size)
    parity = compare(args.out.read_bytes(), images, run_all(args.model.read_bytes(), images))
    print(
        f"{args.out}: IoU with fp32 {parity.iou:.4f}, largest mean difference {parity.mae:.4f} ({parity.images} images)"
    )


if __name__ == "__main__":
    main()
