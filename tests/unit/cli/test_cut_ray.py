"""Wrong usage of ``clearcut cut --ray``, and the resources of its actors."""

import pytest

from clearcut.__main__ import main
from clearcut.batch.types import BatchResources
from clearcut.cli.cut_ray import _resources


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["in", "out", "--ray", "cluster"], "expected local, auto or ray://HOST:PORT"),
        (["in", "out", "--ray", "local", "--report", "r.csv"], "--report: not together with --ray"),
        (["in", "in", "out", "--ray", "local"], "expected one IN"),
        (["in", "in", "--ray", "local"], "the same folder"),
        (["none", "out", "--ray", "local"], "expected a folder, or a CSV"),
        (["-", "out", "--ray", "local"], "standard input"),
    ],
)
def test_wrong_usage_is_refused(tmp_path, monkeypatch, capfd, arguments, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    assert main(["cut", *arguments]) == 2
    assert text in capfd.readouterr().err


@pytest.mark.parametrize(
    ("requested", "total", "smallest", "expected"),
    [
        ((0, 0), 16, 8, (2, 8)),  # one actor for each machine
        ((4, 0), 16, 8, (4, 4)),
        ((64, 0), 16, 8, (64, 1)),
        ((0, 2), 16, 8, (8, 2)),
        ((3, 5), 16, 8, (3, 5)),
    ],
)
def test_actors_do_not_oversubscribe_the_cpus(requested, total, smallest, expected):
    resources = _resources(BatchResources(*requested, 0.0), total, smallest)
    assert (resources.actors, resources.cpus) == expected
