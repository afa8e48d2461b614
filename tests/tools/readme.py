"""The generated tables of README, docs/ and the model card. A test compares them and ``make docs`` writes them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from clearcut.errors import ClearcutError
from clearcut.inference.manifest import MANIFEST, models_folder, read_manifest
from clearcut.service import build
from clearcut.settings import PREFIX, Settings
from tests.tools import capacity_tables, format_tables, plain_tables, robustness_tables

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
CARD = ROOT / "models" / "README.md"
QUALITY = ROOT / "benchmarks" / "results" / "quality.json"
OTHER_APIS_ONLY = {"no_foreground"}
"""Reasons of errors that the main API never returns. It returns an empty 200 for an image without a subject."""


def settings_table() -> str:
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ("", None) else f"`{str(field.default).lower()}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def errors_table() -> str:
    rows = ["| Status | `code` | `message` | Counted as |", "|---|---|---|---|"]
    seen: dict[tuple[int, str, str], list[str]] = {}
    for each in _classes(ClearcutError):
        if "reason" in vars(each) or "code" in vars(each):
            seen.setdefault((each.status, each.code, each.message), []).append(each.reason)
    for (status, code, message), reasons in sorted(seen.items()):
        if status != 499:  # only logged, never sent
            listed = ", ".join(f"`{reason}`" for reason in sorted(reasons) if reason not in OTHER_APIS_ONLY)
            rows.append(f"| {status} | `{code}` | {message} | {listed} |")
    return "\n".join(rows)


def metrics_table() -> str:
    rows = ["| Series | Type | Meaning |", "|---|---|---|"]
    families = build(Settings()).metrics.registry.collect()
    ours = [family for family in families if family.name.startswith("clearcut_")]
    return "\n".join(rows + [f"| `{each.name}` | {each.type} | {each.documentation} |" for each in ours])


def _classes(of: type[ClearcutError]) -> Iterator[type[ClearcutError]]:
    yield of
    for each in of.__subclasses__():
        yield from _classes(each)


def quality_table() -> str:
    """Return the scores of every model measured by ``make quality``, with the minimum and the goal."""
    found = json.loads(QUALITY.read_text())
    models = {_title(name, each): each for name, each in found["models"].items()}
    measures = {"IoU": "iou", "S-measure": "s", "MAE": "mae", "boundary F": "bf"}
    rows = [f"| | {' | '.join(models)} | minimum | goal |", f"|---|{'---|' * len(models)}---|---|"]

    def add(what: str, figures: Iterable[str], bar: str, goal: str) -> None:
        rows.append(f"| {what} | {' | '.join(figures)} | {bar} | {goal} |")

    bars = {
        "IoU": ("0.865", "0.90"),
        "S-measure": ("0.915", "0.935"),
        "MAE": ("0.042", "0.030"),
        "boundary F": ("0.79", "0.84"),
    }
    for title, key in measures.items():
        add(
            f"mean of groups, {title}",
            (_figure(each["groups"]["mean"][key], key) for each in models.values()),
            *bars[title],
        )
    level = (str(each["groups_level_with_u2netp"]) for each in models.values())
    add("groups (of 9) level with u2netp, fp32", level, "7", "9")
    add(
        "model time per photo with a subject, on one core, relative to u2netp",
        (_figure(_time_per_photo(each)) for each in models.values()),
        "0.125",
        "0.08",
    )
    add("model runs per photo with a subject", (f"{each['runs_per_photo']:.2f}" for each in models.values()), "", "")
    add(
        "photos without a subject that give a cut-out",
        ("" if (cut := each.get("bare_photos_cut")) is None else f"{cut:.1%}" for each in models.values()),
        "10 %",
        "4 %",
    )
    add(
        "drawn images without a subject that give a cut-out",
        (f"{each['subject_free_cut']:.1%}" for each in models.values()),
        "",
        "",
    )
    add("textures that give a cut-out", (f"{each['textures_cut']:.1%}" for each in models.values()), "", "")
    return "\n".join(rows)


def quality_summary() -> str:
    """Return the rows of ``quality_table`` for the README, without minimum and goal."""
    found = json.loads(QUALITY.read_text())
    models = {_title(name, each): each for name, each in found["models"].items()}
    rows = {
        "IoU, mean of groups (higher is better)": lambda each: _figure(each["groups"]["mean"]["iou"]),
        "Boundary F, mean of groups (higher is better)": lambda each: _figure(each["groups"]["mean"]["bf"]),
        "Photos without a subject that still give a cut-out (lower is better)": lambda each: (
            f"{each['bare_photos_cut']:.1%}"
        ),
        "Model time per photo with a subject, on one core, relative to u2netp (lower is better)": lambda each: _figure(
            _time_per_photo(each)
        ),
    }
    lines = [f"| | {' | '.join(models)} |", f"|---|{'---|' * len(models)}"]
    return "\n".join(
        lines
        + [f"| {title} | {' | '.join(figure(each) for each in models.values())} |" for title, figure in rows.items()]
    )


def groups_table() -> str:
    """Return IoU, S-measure, MAE and boundary F by group of every model measured by ``make quality``."""
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
    """Return the default model's files with precision, size, views and difference from fp32."""
    entry = read_manifest(models_folder() / MANIFEST)["clearcut-m"]
    rows = ["| File | for | MB | views | IoU | largest difference | measured on |", "|---|---|---|---|---|---|---|"]
    meant = {"fp32": "any CPU", "int8": "CPUs", "fp16": "GPUs"}
    for each in (entry, *entry.variants.values()):
        size = (models_folder() / each.file).stat().st_size / 1e6
        near = each.parity
        parity = f"{near.iou:.4f} | {near.mae:.4f} | {near.measured_on}" if near else "| |"
        rows.append(f"| `{each.file}` | {meant[each.precision]} | {size:.1f} | {each.views} | {parity} |")
    return "\n".join(rows)


def _title(name: str, report: dict[str, Any]) -> str:
    return f"{name.partition(':')[0]}, {report['served']['precision']}"


def _time_per_photo(report: dict[str, Any]) -> float:
    """Return the time of all runs for a photo with a subject, relative to u2netp."""
    return float(report["one_core_time_over_u2netp"] * report["runs_per_photo"])


def _figure(value: float, key: str = "") -> str:
    return f"{value:.{4 if key == 'mae' else 3}f}"


PARTS: tuple[tuple[str, Callable[[], str], Path], ...] = (
    ("quality summary", quality_summary, README),
    ("errors", errors_table, DOCS / "api.md"),
    ("settings", settings_table, DOCS / "configuration.md"),
    ("metrics", metrics_table, DOCS / "metrics.md"),
    ("quality", quality_table, DOCS / "quality.md"),
    ("capacity", capacity_tables.capacity_table, DOCS / "scale.md"),
    *((name, make, DOCS / "robustness.md") for name, make in robustness_tables.PARTS.items()),
    *((name, make, DOCS / "formats.md") for name, make in format_tables.PARTS.items()),
    *((name, make, DOCS / "plain-backgrounds.md") for name, make in plain_tables.PARTS.items()),
    ("groups", groups_table, CARD),
    ("variants", variants_table, CARD),
)
"""(name, function, file) of every generated part."""
PAGES = (README, *sorted(DOCS.glob("*.md")))


def generated(path: Path) -> str:
    """Return the text of ``path`` with all generated parts up to date.

    Raises:
        ValueError: A part has no markers in the file.
    """
    text = path.read_text()
    for name, make, place in PARTS:
        if place != path:
            continue
        begin, end = f"<!-- {name}: made by `make docs` -->\n", f"<!-- {name}: end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        if not pattern.search(text):
            raise ValueError(f"{path.name} has no part {name!r}")
        part = f"{begin}{make()}\n{end}"
        text = pattern.sub(part.replace("\\", r"\\"), text)
    return text


def files() -> list[Path]:
    """Return every file with a generated part, in the order of ``PARTS``."""
    return list(dict.fromkeys(path for _, _, path in PARTS))


if __name__ == "__main__":
    for path in files():
        text = generated(path)
        if "--write" in sys.argv:
            path.write_text(text)
        else:
            print(text)
