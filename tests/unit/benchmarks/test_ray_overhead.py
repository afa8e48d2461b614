"""The figures of the comparison of Ray actors with plain processes."""

from collections import Counter

import pytest

from benchmarks.ray_overhead import Measurement, process_name, summarize


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["ray::MapWorker(MapBatches(CutActor)).submit"], "MapWorker"),
        (["ray::_StatsActor"], "_StatsActor"),
        (["/venv/bin/python", "-u", "/venv/ray/_private/log_monitor.py", "--session-dir=/tmp"], "log_monitor.py"),
        (["/venv/ray/core/src/ray/raylet/raylet", "--raylet_socket_name=/tmp"], "raylet"),
        (["/venv/bin/python", "-m", "clearcut", "cut", "in", "out"], "clearcut"),
    ],
)
def test_processes_have_short_names(command, name):
    assert process_name(command) == name


def test_summary_has_ratios_and_cpu_times():
    measured = {
        "processes_1": Measurement(20.0, Counter(clearcut=1.0)),
        "processes_2": Measurement(40.0, Counter(clearcut=2.0)),
        "actors_1": Measurement(20.0, Counter(MapWorker=1.0, raylet=0.1)),
        "actors_2": Measurement(38.0, Counter(MapWorker=1.9, raylet=0.1)),
    }
    figures = summarize([measured])
    assert figures["two_actors_over_two_processes"] == 0.95
    assert figures["gain_over_gain_of_processes"] == 0.95
    assert figures["model_process_cpu_ms_per_image"] == dict.fromkeys(sorted(measured), 50.0)
    assert figures["cores_by_process"]["actors_2"] == {"MapWorker": 1.9, "raylet": 0.1}
