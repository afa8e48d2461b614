"""ONNX Runtime must not send usage data."""

import subprocess
import sys

from tests.support.live_server import environment

LOAD = """
from clearcut.inference.manifest import models_folder
import onnxruntime
onnxruntime.InferenceSession(str(models_folder() / "clearcut-edges.onnx"), providers=["CPUExecutionProvider"])
"""


def test_runtime_stores_no_device_id(tmp_path):
    variables = environment() | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LOAD], env=variables, check=True, timeout=60)
    assert [path for path in tmp_path.rglob("*") if "Microsoft" in path.parts] == []
