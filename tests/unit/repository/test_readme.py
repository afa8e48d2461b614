"""README and docs: generated tables, links and length."""

import re

import pytest

from tests.tools.readme import DOCS, PAGES, README, ROOT, files, generated

README_LINES, README_WORDS = 200, 2200
PAGE_WORDS = 1500
"""Outside tables and code."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.M | re.S)


def relative(path):
    return str(path.relative_to(ROOT))


def anchors(path) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", path.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def prose(text: str) -> str:
    lines = CODE.sub("", text).splitlines()
    return "\n".join(line for line in lines if not line.startswith(("|", "<!--")))


@pytest.mark.parametrize("path", files(), ids=relative)
def test_generated_parts_are_current(path):
    assert generated(path) == path.read_text(), "run `make docs`"


def test_readme_links_every_page():
    links = LINK.findall(README.read_text())
    assert [relative(path) for path in DOCS.glob("*.md") if relative(path) not in links] == []


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_relative_links_and_anchors_exist(path):
    broken = []
    for link in LINK.findall(CODE.sub("", path.read_text())):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_readme_fits_its_limits():
    text = README.read_text()
    assert len(text.splitlines()) <= README_LINES
    assert len(text.split()) <= README_WORDS


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=relative)
def test_page_fits_its_limit(path):
    assert len(prose(path.read_text()).split()) <= PAGE_WORDS


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_every_curl_with_output_fails_on_errors(path):
    commands = re.sub(r"\\\n", " ", "\n".join(CODE.findall(path.read_text()))).splitlines()
    saving = [line for line in commands if line.startswith("curl ") and " -o " in line]
    assert [line for line in saving if "--fail-with-body" not in line] == []
