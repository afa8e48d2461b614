"""Teacher labels: what a published saliency network sees in photographs that have no label.

    python -m models.training.teacher --model u2netp.onnx --pool models/training/runs/pool

The "background" photographs of the pool were chosen by folder, not looked at: many hold a clear
subject, and calling those empty teaches the network to overlook things. The teacher is asked
about the picture and its mirror image. Where both views agree on a subject, the picture becomes a
pseudo-labelled pair; where both see (nearly) nothing, it stays a background and a negative; the
rest is only fit to stand out of focus behind something ("backdrop").
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from clearcut.imaging.types import InputSpec
from clearcut.inference.manifest import MANIFEST, models_folder, read_manifest

from .data import PackWriter, Pool

IMAGENET = InputSpec(320, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Normalisation of u2netp and of clearcut-s."""


def session(path: Path, threads: int = 1) -> ort.InferenceSession:
    """A CPU session with ``threads`` threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def spec_of(path: Path) -> InputSpec:
    """The manifest's input of a model file; the entry's name is the file's up to the first dot.

    Raises:
        ValueError: no entry has that name.
    """
    name = path.name.split(".")[0]
    entries = read_manifest(models_folder() / MANIFEST)
    if name not in entries:
        raise ValueError(f"{path}: the manifest has no model {name!r}; name the file after one of {', '.join(entries)}")
    return entries[name].input


def to_input(rgb: NDArray[np.uint8], size: int, spec: InputSpec = IMAGENET) -> NDArray[np.float32]:
    """u8[H,W,3] -> f32[1,3,S,S]: squashed by areas and normalised as ``spec`` says."""
    small = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) * spec.scale
    normalised = (small - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def two_views(model: ort.InferenceSession, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The teacher's mattes f32[S,S] of the picture and of its mirror image, both upright."""
    node = model.get_inputs()[0]
    image = to_input(rgb, int(node.shape[-1]))
    both = [model.run(None, {node.name: x})[0][0, 0] for x in (image, np.ascontiguousarray(image[..., ::-1]))]
    return both[0], both[1][:, ::-1]


def judge(one: NDArray[np.float32], two: NDArray[np.float32]) -> str:
    """``pseudo`` (an agreed subject), ``background`` (agreed nothing) or ``backdrop``."""
    a, b = one > 0.5, two > 0.5
    union, area = (a | b).mean(), ((one + two) / 2 > 0.5).mean()
    if union < 0.01:
        return "background"
    agreement = (a & b).mean() / union
    mean = (one + two) / 2
    unsure = ((mean > 0.15) & (mean < 0.85)).mean() / max(float(union), 1e-6)
    if agreement > 0.85 and 0.02 < area < 0.85 and unsure < 0.25:
        return "pseudo"
    return "backdrop"


def main() -> None:
    """Sort and label the pool's backgrounds into a second pack."""
    parser = argparse.ArgumentParser(description="Label background photographs by a teacher.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pool", type=Path, default=Path("models/training/runs/pool"))
    parser.add_argument("--out", type=Path, default=Path("models/training/runs/teacher"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    pool, model = Pool(args.pool), session(args.model, args.threads)
    writer = PackWriter(args.out)
    counts: dict[str, int] = {}
    for i, record in enumerate(pool.records):
        if record.kind != "background":
            continue
        rgb = np.ascontiguousarray(pool[i][..., :3])
        one, two = two_views(model, rgb)
        kind = judge(one, two)
        counts[kind] = counts.get(kind, 0) + 1
        matte = np.clip((one + two) / 2 * 255 + 0.5, 0, 255).astype(np.uint8)
        if kind == "background":
            matte = np.zeros_like(matte)
        matte = cv2.resize(matte, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        writer.add(rgb, matte, record.stem, "teacher", kind)
    writer.close()
    print(counts)


if __name__ == "__main__":
    main()
