"""The generated parts of the README: made from the code, compared by a test, written by ``make docs``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from app.errors import ClearcutError
from app.inference.manifest import MANIFEST, models_folder, read_manifest
from app.service import build
from app.settings import PREFIX, Settings
from tests import trust

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CARD = ROOT / "models" / "README.md"
QUALITY = ROOT / "benchmarks" / "results" / "quality.json"


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
            listed = ", ".join(f"`{reason}`" for reason in sorted(reasons))
            rows.append(f"| {status} | `{code}` | {message} | {listed} |")
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


def quality_table() -> str:
    """Means of groups of every model measured by ``make quality``, with the bar and the goal."""
    found = json.loads(QUALITY.read_text())
    models = {_title(name, each): each for name, each in found["models"].items()}
    measures = {"IoU": "iou", "S-measure": "s", "MAE": "mae", "boundary F": "bf"}
    rows = [f"| | {' | '.join(models)} | bar | goal |", f"|---|{'---|' * len(models)}---|---|"]

    def add(what: str, figures: Iterable[str], bar: str, goal: str) -> None:
        rows.append(f"| {what} | {' | '.join(figures)} | {bar} | {goal} |")

    bars = {
        "IoU": (".865", ".90"),
        "S-measure": (".915", ".935"),
        "MAE": (".042", ".030"),
        "boundary F": (".79", ".84"),
    }
    for title, key in measures.items():
        add(
            f"mean of groups, {title}",
            (_figure(each["groups"]["mean"][key], key) for each in models.values()),
            *bars[title],
        )
    level = (str(each["groups_level_with_u2netp"]) for each in models.values())
    add("groups (of 9) level with u2netp's fp32", level, "7", "9")
    add(
        "one-core time over u2netp's",
        (_figure(each["one_core_time_over_u2netp"]) for each in models.values()),
        ".125",
        ".08",
    )
    add(
        "photos without a subject, cut",
        ("" if (cut := each.get("bare_photos_cut")) is None else f"{cut:.1%}" for each in models.values()),
        "10 %",
        "4 %",
    )
    add("drawn images without a subject, cut", (f"{each['subject_free_cut']:.1%}" for each in models.values()), "", "")
    add("textures, cut", (f"{each['textures_cut']:.1%}" for each in models.values()), "", "")
    return "\n".join(rows)


def groups_table() -> str:
    """IoU / S / MAE / boundary F by group of every model measured by ``make quality``."""
    found = json.loads(QUALITY.read_text())
    models = {_title(name, each): each for name, each in found["models"].items()}
    rows = [f"| IoU, S, MAE, boundary F | {' | '.join(models)} |", f"|---|{'---|' * len(models)}"]
    for group in next(iter(models.values()))["groups"]:
        cells = (
            " ".join(_figure(each["groups"][group][key], key) for key in ("iou", "s", "mae", "bf"))
            for each in models.values()
        )
        rows.append(f"| {group} | {' | '.join(cells)} |")
    return "\n".join(rows)


def variants_table() -> str:
    """The default model's files: precision, size, views, parity."""
    entry = read_manifest(models_folder() / MANIFEST)["clearcut-s"]
    rows = ["| File | for | MB | views | IoU | largest difference | measured on |", "|---|---|---|---|---|---|---|"]
    meant = {"fp32": "any CPU", "int8": "CPUs with VNNI", "fp16": "GPUs"}
    for each in (entry, *entry.variants.values()):
        size = (models_folder() / each.file).stat().st_size / 1e6
        near = each.parity
        parity = f"{near.iou:.4f} | {near.mae:.4f} | {near.pictures}" if near else "| |"
        rows.append(f"| `{each.file}` | {meant[each.precision]} | {size:.1f} | {each.views} | {parity} |")
    return "\n".join(rows)


def _title(name: str, facts: dict[str, Any]) -> str:
    return f"{name.partition(':')[0]}, {facts['served']['precision']}"


def _figure(value: float, key: str = "") -> str:
    return f"{value:.{4 if key == 'mae' else 3}f}".removeprefix("0")


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "errors": errors_table,
    "metrics": metrics_table,
    "quality": quality_table,
    **trust.PARTS,
}
CARD_PARTS: dict[str, Callable[[], str]] = {"groups": groups_table, "variants": variants_table}


def generated(text: str, parts: dict[str, Callable[[], str]] = PARTS) -> str:
    """``text`` with every part between its two markers made anew."""
    for name, make in parts.items():
        begin, end = f"<!-- {name}: made by `make docs` -->\n", f"\n<!-- {name}: end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        if not pattern.search(text):
            raise ValueError(f"there is no part {name!r}")
        part = begin + make() + end
        text = pattern.sub(part.replace("\\", r"\\"), text)
    return text


if __name__ == "__main__":
    for path, parts in ((README, PARTS), (CARD, CARD_PARTS)):
        text = generated(path.read_text(), parts)
        if "--write" in sys.argv:
            path.write_text(text)
        else:
            print(text)
