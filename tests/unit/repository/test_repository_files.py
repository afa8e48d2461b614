"""Tests of the files for contributors: workflow, issue forms, hooks, ``SECURITY.md`` and ``CONTRIBUTING.md``."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from clearcut.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
GITHUB = ROOT / ".github"
WORKFLOW = GITHUB / "workflows" / "ci.yml"
FORMS = [GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml" for name in ("bug", "quality", "feature")]
HOOKS = ROOT / ".pre-commit-config.yaml"
YAML_FILES = [*sorted(GITHUB.rglob("*.yml")), HOOKS]
PAGES = [ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", GITHUB / "PULL_REQUEST_TEMPLATE.md"]
NAMING_PATHS = [WORKFLOW, HOOKS, FORMS[0], *PAGES]
"""The files that name paths."""
PATHS = re.compile(
    r"(?<![\w./-])(?:(?:app|benchmarks|deploy|models|tests)/[\w./-]*\w"
    r"|[\w-]+\.(?:md|toml|txt|cuda)|\.(?:pre-commit-config\.yaml|editorconfig))(?![\w*])"
)
"""Paths from the repository root, in text or in a command."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def steps(job: str) -> list[dict[str, Any]]:
    return read(WORKFLOW)["jobs"][job]["steps"]


def commands(job: str) -> str:
    return "\n".join(step["run"] for step in steps(job) if "run" in step)


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_file_parses(path):
    assert isinstance(read(path), dict)


def test_every_form_is_tested():
    assert {*FORMS, WORKFLOW, HOOKS, GITHUB / "ISSUE_TEMPLATE" / "config.yml"} == set(YAML_FILES)


def test_workflow_runs_make_test():
    assert re.search(r"^make test\b", commands("test"), re.M)


def test_workflow_covers_every_python_version():
    jobs = read(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]["include"]
    for system in ("ubuntu-24.04", "ubuntu-24.04-arm"):
        assert [each["python"] for each in jobs if each["os"] == system] == ["3.11", "3.12", "3.13", "3.14"]
    assert any(each["os"].startswith("macos") for each in jobs)


def test_workflow_has_a_required_test_job():
    jobs = read(WORKFLOW)["jobs"]["test"]["strategy"]["matrix"]["include"]
    assert {"os": "ubuntu-24.04", "python": "3.11", "experimental": False} in jobs


def test_workflow_builds_both_images_without_pushing():
    job = read(WORKFLOW)["jobs"]["images"]
    built = {each["device"]: each["file"] for each in job["strategy"]["matrix"]["include"]}
    assert built == {"cpu": "Dockerfile", "cuda": "Dockerfile.cuda"}
    assert 'docker build --file "$FILE"' in commands("images")
    assert "push" not in commands("images")


def test_workflow_has_read_permission_only():
    workflow = read(WORKFLOW)
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())


def test_actions_are_pinned_by_commit():
    used = [step["uses"] for job in read(WORKFLOW)["jobs"] for step in steps(job) if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", each)] == []


@pytest.mark.parametrize("path", NAMING_PATHS, ids=lambda path: path.name)
def test_named_paths_exist(path):
    named = set(PATHS.findall(path.read_text()))
    assert named
    assert sorted(each for each in named if not (ROOT / each).exists()) == []


def test_contributing_names_existing_modules():
    rows = [row for row in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if row.startswith("| `app/")]
    assert len(rows) > 10
    for row in rows:
        path = ROOT / re.match(r"\| `(app/[\w/.]+)`", row)[1]
        assert path.exists()
        folder = path.parent if path.suffix else path
        assert [name for name in re.findall(r"`(\w+\.py)`", row) if not (folder / name).is_file()] == []


@pytest.mark.parametrize("path", [*YAML_FILES, *PAGES, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_named_make_targets_exist(path):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:`|run: |- |^)make ([a-z0-9-]+)", path.read_text(), re.M)) <= targets


def test_security_policy_names_existing_settings():
    named = set(re.findall(rf"{PREFIX}(\w+)", (ROOT / "SECURITY.md").read_text()))
    assert len(named) > 10
    assert named <= {name.upper() for name in Settings.model_fields}


def test_links_lead_to_files():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).is_file(), target


def test_issue_forms_have_unique_ids_and_required_fields():
    for path in FORMS:
        form = read(path)
        fields = [each for each in form["body"] if each["type"] != "markdown"]
        ids = [each["id"] for each in fields]
        assert len(ids) == len(set(ids))
        assert any(each.get("validations", {}).get("required") for each in fields)
    (image,) = (each for each in read(FORMS[1])["body"] if each.get("id") == "image")
    assert image["validations"]["required"]


def test_hooks_use_the_tools_of_the_venv():
    (repository,) = read(HOOKS)["repos"]
    assert repository["repo"] == "local"
    entries = {hook["id"]: hook["entry"] for hook in repository["hooks"]}
    for name, tool in {"ruff": "ruff", "ruff-format": "ruff", "mypy": "mypy", "lint-imports": "lint-imports"}.items():
        assert entries[name].startswith(f".venv/bin/{tool}")


def test_editorconfig_agrees_with_ruff():
    parser = configparser.ConfigParser()
    parser.read_string("[preamble]\n" + (ROOT / ".editorconfig").read_text())
    assert parser["preamble"]["root"] == "true"
    assert f"line-length = {parser['*.py']['max_line_length']}\n" in (ROOT / "pyproject.toml").read_text()


def test_help_texts_fit_the_terminal():
    helped = re.findall(r"^([a-z0-9-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert len(helped) > 30
    assert [name for name, text in helped if len(text) > 104] == []
