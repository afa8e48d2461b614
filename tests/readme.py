"""The generated parts of the README: made from the code, compared by a test, written by ``make docs``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from app.errors import ClearcutError
from app.service import build
from app.settings import PREFIX, Settings

README = Path(__file__).resolve().parents[1] / "README.md"


def settings_table() -> str:
    rows = ["| Variable | Default | What it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ("", None) else f"`{str(field.default).lower()}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def errors_table() -> str:
    rows = ["| Status | `code` | `message` | counted as |", "|---|---|---|---|"]
    seen: dict[tuple[int, str, str], list[str]] = {}
    for each in _classes(ClearcutError):
        if "reason" in vars(each) or "code" in vars(each):
            seen.setdefault((each.status, each.code, each.message), []).append(each.reason)
    for (status, code, message), reasons in sorted(seen.items()):
        if status != 499:  # logged, never sent
            rows.append(f"| {status} | `{code}` | {message} | {', '.join(f'`{reason}`' for reason in reasons)} |")
    return "\n".join(rows)


def metrics_table() -> str:
    rows = ["| Series | Type | What it says |", "|---|---|---|"]
    families = build(Settings()).metrics.registry.collect()
    ours = [family for family in families if family.name.startswith("clearcut_")]
    return "\n".join(rows + [f"| `{each.name}` | {each.type} | {each.documentation} |" for each in ours])


def _classes(of: type[ClearcutError]) -> Iterator[type[ClearcutError]]:
    yield of
    for each in of.__subclasses__():
        yield from _classes(each)


PARTS: dict[str, Callable[[], str]] = {"settings": settings_table, "errors": errors_table, "metrics": metrics_table}


def generated(text: str) -> str:
    """``text`` with every part between its two markers made anew."""
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}: made by `make docs` -->\n", f"\n<!-- {name}: end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        if not pattern.search(text):
            raise ValueError(f"the README has no part {name!r}")
        part = begin + make() + end
        text = pattern.sub(part.replace("\\", r"\\"), text)
    return text


if __name__ == "__main__":
    text = generated(README.read_text())
    if "--write" in sys.argv:
        README.write_text(text)
    else:
        print(text)
