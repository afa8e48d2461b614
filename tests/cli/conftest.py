from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clearcut.__main__ import main
from tests.support.cut_command import Finished, Run
from tests.support.live_server import Server, served
from tests.support.samples import jpeg, photo


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: three photos in ``in/`` and its subfolder."""
    monkeypatch.chdir(tmp_path)
    for name, source in {"in/a.jpg": "astronaut", "in/sub/b.JPEG": "chelsea", "in/sub/c.jpg": "coffee"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photo(source, 300, 200)))
    return tmp_path


@pytest.fixture
def cut(folder: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run ``clearcut cut`` in the working directory."""

    def run(*arguments: str) -> Finished:
        try:
            code = main(["cut", *arguments])
        except SystemExit as exc:
            code = int(str(exc.code))
        errors = capfd.readouterr().err
        assert "Traceback" not in errors
        return Finished(code, errors)

    return run


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with served() as running:
        yield running
