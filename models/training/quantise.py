"""Eight-bit integers where they do little harm, floats where they do much: a QDQ file from an fp32 one.

    python -m models.training.quantise --model u2netp.onnx --pictures FOLDER --out u2netp.int8.onnx

Ranges are the least and largest values seen on calibration pictures, weights per channel, and Conv + Relu pairs share
one range behind the Relu (a range before it spends half its steps on values that are then cut off). Everything behind
the last Relus, where the matte's soft edge is made of small differences, stays in floats. So do the convolutions that
harm most when each is quantised alone: a single one of u2netp's, fed with values up to 228, costs a quarter of the IoU.
Needs no torch.
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
CALIBRATION, SEARCH = 64, 6
"""Pictures to take ranges from, and to judge each convolution by."""
HARM = 0.001
"""A convolution that alone shifts the matte by more than this on average stays in floats."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How near one file's mattes are to another's."""

    iou: float  # mean over pictures, at 0.5
    mae: float  # largest of any picture
    pictures: int


def pictures_of(folder: Path, count: int, *, held_out: bool, size: int, spec: InputSpec = IMAGENET) -> list[F32]:
    """``count`` of the folder's JPEGs, spread over it, as network input f32[1,3,S,S]; of one side of the split.

    Raises:
        SystemExit: the folder has fewer.
    """
    stems = [path.stem for path in sorted(folder.glob("*.jpg")) if is_held_out(path.stem) == held_out]
    if len(stems) < count:
        raise SystemExit(f"{folder} has {len(stems)} fitting JPEGs, {count} are needed; name another with PICTURES=")
    picked = [stems[place] for place in np.linspace(0, len(stems) - 1, count).astype(int)]
    return [to_input(read_rgb(folder / f"{stem}.jpg"), size, spec) for stem in picked]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """u8[H,W,3]."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.uint8)


def run_all(model: bytes, pictures: Iterable[F32], threads: int = 1) -> list[F32]:
    """The file's mattes f32[S,S] of the pictures."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [np.asarray(session.run(None, {name: picture})[0])[0, 0] for picture in pictures]


def compare(model: bytes, pictures: Sequence[F32], reference: Sequence[F32]) -> Parity:
    """The file's mattes beside known ones."""
    pairs = list(zip(run_all(model, pictures), reference, strict=True))
    gaps = [float(np.abs(one - two).mean()) for one, two in pairs]
    return Parity(float(np.mean([iou(one, two) for one, two in pairs])), max(gaps), len(pairs))


class Quantiser:
    """One fp32 network with its calibrated ranges."""

    def __init__(self, model: ModelProto, pictures: Sequence[F32]) -> None:
        from onnxruntime.quantization import CalibrationMethod
        from onnxruntime.quantization.calibrate import create_calibrator
        from onnxruntime.quantization.shape_inference import quant_pre_process

        with tempfile.TemporaryDirectory() as folder:
            given, prepared = Path(folder) / "given.onnx", Path(folder) / "prepared.onnx"
            onnx.save(model, str(given))
            quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
            self._model = onnx.load(str(prepared))
            calibrator = create_calibrator(
                str(prepared),
                None,
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(_Reader(model.graph.input[0].name, pictures))
            self._ranges = calibrator.compute_data()
        self._floats = _behind_last_relus(self._model) | _no_feature_maps(self._model)

    def quantised(self, *, only: Sequence[str] = (), floats: Iterable[str] = ()) -> bytes:
        """The QDQ file.

        Args:
            only: nodes to quantise; all that may be by default.
            floats: nodes to leave in floats besides the tail.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        copy = ModelProto()
        copy.CopyFrom(self._model)
        quantizer = QDQQuantizer(
            copy,
            True,  # weights per channel
            False,  # all eight bits: where there is VNNI nothing saturates
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

    def harmful(self, pictures: Sequence[F32], limit: float = HARM) -> list[str]:
        """Convolutions that alone move the matte by more than ``limit`` on average, the worst first."""
        reference = run_all(self._model.SerializeToString(), pictures)
        behind: dict[str, list[str]] = {}
        for node in self._model.graph.node:
            if node.op_type == "Relu":
                behind.setdefault(node.input[0], []).append(node.name)
        found = []
        for node in self._model.graph.node:
            if node.op_type == "Conv" and node.name not in self._floats:
                mattes = run_all(self.quantised(only=[node.name, *behind.get(node.output[0], [])]), pictures)
                gap = float(np.mean([np.abs(a - b).mean() for a, b in zip(mattes, reference, strict=True)]))
                found.append((gap, node.name))
        return [name for gap, name in sorted(found, reverse=True) if gap > limit]


def _behind_last_relus(model: ModelProto) -> set[str]:
    """Nodes between the last Relus and the first output."""
    makers = {output: node for node in model.graph.node for output in node.output}
    found: set[str] = set()
    waiting = [model.graph.output[0].name]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in found and node.op_type != "Relu":
            found.add(node.name)
            waiting += node.input
    return found


def _no_feature_maps(model: ModelProto) -> set[str]:
    """Additions and joins that are not of [N,C,H,W] maps (attention's, shapes'), or that join the views."""
    ranks = {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    given = {each.name for each in model.graph.input}
    return {
        node.name
        for node in model.graph.node
        if node.op_type in ("Add", "Concat") and (ranks.get(node.output[0]) != 4 or given & set(node.input))
    }


class _Reader:
    def __init__(self, name: str, pictures: Iterable[F32]) -> None:
        self._rows = iter([{name: picture} for picture in pictures])

    def get_next(self) -> dict[str, F32] | None:
        return next(self._rows, None)


def quantise(model: ModelProto, folder: Path, size: int, harm: float = HARM, spec: InputSpec = IMAGENET) -> bytes:
    """The QDQ file of a network, calibrated and searched on a folder's pictures, the held-out ones excepted."""
    pictures = pictures_of(folder, CALIBRATION, held_out=False, size=size, spec=spec)
    quantiser = Quantiser(model, pictures)
    floats = quantiser.harmful(pictures[:: max(1, CALIBRATION // SEARCH)][:SEARCH], harm)
    print(f"left in floats for their harm: {', '.join(floats) or 'none'}")
    return quantiser.quantised(floats=floats)


def main() -> None:
    """Quantise one file and say how near it is."""
    parser = argparse.ArgumentParser(description="fp32 ONNX -> int8 QDQ, mixed with floats where needed.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of JPEGs: the pool's, or photos of yours")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--harm", type=float, default=HARM, help="limit of what one convolution may shift the matte by")
    args = parser.parse_args()
    model = onnx.load(str(args.model))
    size = model.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    args.out.write_bytes(quantise(model, args.pictures, size, args.harm))
    pictures = pictures_of(args.pictures, 100, held_out=True, size=size)
    near = compare(args.out.read_bytes(), pictures, run_all(args.model.read_bytes(), pictures))
    print(
        f"{args.out}: IoU with fp32 {near.iou:.4f}, largest mean difference {near.mae:.4f} ({near.pictures} pictures)"
    )


if __name__ == "__main__":
    main()
