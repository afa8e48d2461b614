from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import pytest
from hypothesis import settings

from tests.support.onnx_models import ENTRY, MEAN, SIDE, ModelMaker, build

# Tests share the processor, so the time of one example is no reason to fail.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture
def models(tmp_path: Path) -> ModelMaker:
    """Return a function that writes a model and its manifest entry into ``tmp_path`` and returns that folder."""

    def make(name: str = "tiny", nodes: list[onnx.NodeProto] = MEAN, golden: str = "", **fields: object) -> Path:
        data = build(nodes)
        (tmp_path / f"{name}.onnx").write_bytes(data)
        values = {"output": "probability", "side": SIDE, "batch_max": 8, "sha256": hashlib.sha256(data).hexdigest()}
        with (tmp_path / "manifest.toml").open("a") as manifest:
            manifest.write(ENTRY.format(name=name, **(values | fields)) + golden)
        return tmp_path

    return make
