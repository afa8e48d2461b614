"""The GPU benchmark: a failing measurement leaves the figures of the others, and the time is limited."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest

from benchmarks import gpu_plot
from benchmarks.gpu import device_info
from benchmarks.gpu_sessions import Deadline, best, curve, rate, runner
from tests.support.onnx_models import MEAN, build

NEVER = Deadline(1e9)


def failing_above(limit: int, error: Exception):
    def run(batch: np.ndarray) -> np.ndarray:
        if len(batch) > limit:
            raise error
        return batch

    return lambda _: run


@pytest.mark.parametrize("error", [RuntimeError("Failed to allocate memory"), ValueError("CUDNN_STATUS_NOT_SUPPORTED")])
def test_failing_batch_ends_the_curve_with_its_reason(error: Exception) -> None:
    rows = curve(failing_above(2, error), 4, (1, 2, 4, 8), 0.0, NEVER)
    assert list(rows) == ["1", "2", "4"]
    assert str(error) in str(rows["4"])
    assert all(isinstance(rows[each], float) for each in ("1", "2"))


def test_no_measurement_after_the_deadline() -> None:
    ticks = iter((0.0, 5.0, 20.0))
    deadline = Deadline(10.0, lambda: next(ticks))
    rows = curve(failing_above(9, RuntimeError()), 4, (1, 2, 4), 0.0, deadline)
    assert rows["2"] == "not measured: no time left"
    assert list(rows) == ["1", "2"]


def test_rate_is_images_per_second_of_the_median_run() -> None:
    ticks = count(0.0, 0.5)  # each run takes half a second by this clock
    assert rate(lambda batch: batch, np.zeros((8, 3, 4, 4), np.float32), 2.0, lambda: next(ticks)) == 16.0


def test_best_rate_of_a_precision() -> None:
    rows = {"fp32, plain": {"1": 10.0, "2": 12.0}, "fp16, plain": {"1": 30.0}, "fp16, graph": {"failed": "no"}}
    assert (best(rows, "fp32"), best(rows, "fp16"), best(rows, "int8")) == (12.0, 30.0, 0.0)


def test_bound_run_equals_plain_run() -> None:
    session = ort.InferenceSession(build(MEAN), providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[2]
    side = side if isinstance(side, int) else 32
    batch = np.random.default_rng(1).random((1, 3, side, side), np.float32)
    plain, bound = (runner(session, "cpu", way, batch)(batch) for way in ("plain", "bound"))
    assert np.allclose(np.asarray(plain).ravel(), np.asarray(bound).ravel())


def test_device_info_names_what_is_missing() -> None:
    info = device_info("cpu")
    assert info["unavailable"] is None
    assert "CPUExecutionProvider" in info["providers"]
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        assert "CUDAExecutionProvider" in str(device_info("cuda")["unavailable"])


def test_chart_has_the_figures(tmp_path: Path) -> None:
    figures = {
        "raw_images_per_s": {"fp16, plain": {"1": 100.0, "64": 900.0}, "fp16, graph": {"failed": "no"}},
        "service": {"medium": {"1": {"images_per_s": 50.0}, "256": {"images_per_s": 400.0}}, "full": {}},
        "stages_ms": {"decode": 4.0, "encode": 8.0},
    }
    gpu_plot.write(figures, tmp_path / "chart.png")
    chart = cv2.imread(str(tmp_path / "chart.png"))
    assert chart is not None
    for color in (gpu_plot.COLORS[0], (60, 60, 60)):
        assert (chart == np.array(color)).all(axis=2).sum() > 50
