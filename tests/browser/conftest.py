"""A real Chromium on a real server. Without Playwright or Chromium these tests are skipped; see `make test-browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import heif_files, samples
from tests.support.browser import Tab
from tests.support.live_server import Server, served

BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is missing; `make test-browser` installs it"
    )
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("Chromium is missing; install it or set CHROMIUM to its path")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=executable, args=root)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with served(lanes="1") as running:
        yield running


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """JPEG files by name. One has an EXIF orientation, one a name that needs quoting in a shell and in curl."""
    folder = tmp_path_factory.mktemp("photos")
    files = {
        "astronaut": folder / "astronaut.jpg",
        "coffee": folder / "coffee.jpg",
        "cat": folder / "it's a; cat, large.jpg",
    }
    Image.fromarray(samples.photo("astronaut")).save(files["astronaut"], quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(samples.photo("coffee")).transpose(Image.Transpose.ROTATE_90).save(
        files["coffee"], quality=90, exif=exif
    )
    Image.fromarray(samples.photo("chelsea")).save(files["cat"], quality=90)
    return files


@pytest.fixture(scope="session")
def hidden_formats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that Chromium cannot show: a HEIC file that is stored turned, and a TIFF file."""
    folder = tmp_path_factory.mktemp("hidden formats")
    pixels = samples.photo("coffee", 240, 160)
    files = {"heic": folder / "coffee.HEIC", "tiff": folder / "coffee.tif"}
    files["heic"].write_bytes(
        heif_files.heic(np.ascontiguousarray(np.rot90(pixels, -1)), heif_files.nclx(), heif_files.irot(1))
    )
    Image.fromarray(pixels).save(files["tiff"])
    return files


OpenTab = Callable[..., Tab]


@pytest.fixture
def open_tab(browser: Any, server: Server) -> Iterator[OpenTab]:
    """Open tabs. At the end no tab may have sent a request to another origin."""
    contexts: list[Any] = []
    tabs: list[Tab] = []

    def start(base_url: str = server.base_url, **context: Any) -> Tab:
        contexts.append(
            browser.new_context(viewport=context.pop("viewport", {"width": 1360, "height": 860}), **context)
        )
        tabs.append(Tab(contexts[-1].new_page(), base_url))
        return tabs[-1].open()

    yield start
    for context in contexts:
        context.close()
    for tab in tabs:
        assert tab.foreign == []


@pytest.fixture
def tab(open_tab: OpenTab) -> Iterator[Tab]:
    """One tab on the page; its console must stay without errors."""
    opened = open_tab()
    yield opened
    assert opened.errors == []
