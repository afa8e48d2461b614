"""Builds a model's variants from its fp32 file and updates their manifest entries.

    python -m models.training.variants --name clearcut-m --pictures ../shared/data/train/images --seven-bits

From ``models/NAME.onnx`` it builds ``NAME.int8.onnx`` (see ``quantize``) and ``NAME.fp16.onnx``. With ``--views 2``
both return the mean of both mirror views. The manifest gets the fp32 file's sha256 and golden output and, for each
variant, file, sha256, golden output and parity: the difference from fp32 with the same number of views, on held-out
images of the pool. Needs no torch. Look at mattes of real photos before you commit, because golden outputs record
results, not their quality.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import onnx

from clearcut.inference.manifest import MANIFEST, ModelEntry, models_folder, read_manifest
from clearcut.inference.model_files import ModelFile, golden_toml
from clearcut.inference.startup.self_test import record_golden

from .graphs import expanded, half, mirrored
from .quantize import Parity, compare, images_of, quantize, run_all

IMAGES = 200
LIMIT_BYTES = 16_000_000
AT_MOST = {1: 0.9, 2: 1.5}
"""Value of a variant relative to fp32's time on a CPU, by number of views."""


def variant_lines(entry: ModelEntry, precision: str, data: bytes, views: int, parity: Parity) -> str:
    """Return the manifest's table of one variant."""
    name = f"models.{entry.name}.variants.{precision}"
    worth = f"at_most = {AT_MOST[views]}\n" if precision == "int8" else ""
    seen = "one view" if views == 1 else "both views"
    return (
        f'[{name}]\nfile = "{entry.name}.{precision}.onnx"\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'
        f"views = {views}\n{worth}\n"
        f"[{name}.parity]\niou = {parity.iou:.4f}\nmae = {parity.mae:.4f}\n"
        f'measured_on = "{parity.images} held-out images of the pool, against fp32 on {seen}"\n\n'
        + golden_toml(f"{name}.golden", record_golden(model_of(entry, data)))
    )


def model_of(entry: ModelEntry, data: bytes) -> ModelFile:
    """The model is not in the manifest yet."""
    return ModelFile(replace(entry, golden=None), Path(entry.file), data)


def rewritten(text: str, entry: ModelEntry, plain: bytes, variants: str) -> str:
    """Return the manifest's text with the fp32 file's new hash and golden output, and new variants.

    Raises:
        ValueError: The entry has no sha256 or no golden table to replace.
    """
    name = re.escape(f"[models.{entry.name}]")
    digest = hashlib.sha256(plain).hexdigest()
    text, count = re.subn(rf'({name}\n(?:[^\[].*\n|\n)*?sha256 = ")[0-9a-f]{{64}}"', rf'\g<1>{digest}"', text)
    if count != 1:
        raise ValueError(f"the manifest's {entry.name} has no sha256")
    golden = golden_toml(f"models.{entry.name}.golden", record_golden(model_of(entry, plain)))
    begin, end = f"# variants of {entry.name}: made by `make export-variants`\n", f"# end of {entry.name}'s variants\n"
    text = re.sub(rf"\n{re.escape(begin)}.*?{re.escape(end)}", "", text, flags=re.S)
    table = re.escape(f"[models.{entry.name}.golden]")
    text, count = re.subn(
        rf"{table}\ntolerance = .*\ngrid = \[\n(?: +\[.*\],\n)+\]\n", f"{golden}\n{begin}{variants}{end}", text
    )
    if count != 1:
        raise ValueError(f"the manifest's {entry.name} has no golden table")
    return text


def main() -> None:
    """Build the variants and write the manifest."""
    parser = argparse.ArgumentParser(description="fp32 ONNX -> its int8 and fp16 variants, manifest included.")
    parser.add_argument("--name", default="clearcut-s")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of JPEGs: the pool's train/images")
    parser.add_argument("--views", type=int, choices=(1, 2), default=1)
    parser.add_argument("--seven-bits", action="store_true", help="int8 weights of seven bits, for CPUs without VNNI")
    parser.add_argument("--models", type=Path, default=models_folder(), help="folder with the manifest and the file")
    args = parser.parse_args()
    manifest = args.models / MANIFEST
    entry = read_manifest(manifest)[args.name]
    plain = (args.models / entry.file).read_bytes()
    model = expanded(onnx.load_from_string(plain))
    if args.views == 2:
        model = mirrored(model)
    size = entry.input.side
    images = images_of(args.pictures, IMAGES, held_out=True, size=size, spec=entry.input)
    reference = run_all(model.SerializeToString(), images)
    lines = []
    for precision, data in (
        ("int8", quantize(model, args.pictures, size, spec=entry.input, seven_bits=args.seven_bits)),
        ("fp16", bytes(half(model).SerializeToString())),
    ):
        if len(data) > LIMIT_BYTES:
            raise SystemExit(f"the {precision} file has {len(data):,} bytes, more than {LIMIT_BYTES:,}")
        (args.models / f"{args.name}.{precision}.onnx").write_bytes(data)
        parity = compare(data, images, reference)
        scores = f"IoU with fp32 {parity.iou:.4f}, largest mean difference {parity.mae:.4f}"
        print(f"{precision}: {len(data):,} bytes, {scores}")
        lines.append(variant_lines(entry, precision, data, args.views, parity))
    manifest.write_text(rewritten(manifest.read_text(), entry, plain, "\n".join(lines)))
    read_manifest(manifest)


if __name__ == "__main__":
    main()
