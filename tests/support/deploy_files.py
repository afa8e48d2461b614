"""The parsed files of ``deploy/``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.live_server import ROOT

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each is not None]


def document(path: Path) -> dict[str, Any]:
    (only,) = documents(path)
    return only


def rules() -> list[dict[str, Any]]:
    return [rule for group in document(RULES)["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana" / "clearcut.json").read_text())


def queries() -> Iterator[tuple[str, str]]:
    """Yield (panel title, expression) of every query of the dashboard."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def series_in(expression: str) -> set[str]:
    """Return the names of this service's, the process's and Prometheus' own series in an expression."""
    without_values = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:clearcut[\w:]*|process_\w+|up)\b", re.sub(r'=~?""', "", without_values)))
