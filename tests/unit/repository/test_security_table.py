"""The tests that the docs name exist, and the lock files have hashes."""

import ast
import re

from tests.tools.readme import DOCS, PAGES, ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def functions(path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_threat_names_a_test():
    rows = [line for line in (DOCS / "security.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    assert [row for row in rows if not any(name for _, name in NAMED.findall(row))] == []


def test_every_named_test_exists():
    named = NAMED.findall("".join(page.read_text() for page in PAGES))
    missing = [path for path, _ in named if not (ROOT / path).is_file()]
    assert missing == []
    assert [f"{path}::{name}" for path, name in named if name and name not in functions(ROOT / path)] == []


def test_every_package_that_serving_installs_is_locked_by_hash():
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
        locked = [line for line in lines if re.match(r"\w", line)]
        assert len(locked) > 15
        assert [line for line in locked if not re.match(r"[\w.\[\]-]+==\S+ .*--hash=sha256:", line)] == []
