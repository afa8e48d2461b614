"""A parser for the subset of the Dockerfile grammar that ``Dockerfile`` and ``Dockerfile.cuda`` use."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.support.live_server import ROOT

CPU, CUDA = ROOT / "Dockerfile", ROOT / "Dockerfile.cuda"


@dataclass(frozen=True, slots=True)
class Instruction:
    name: str
    value: str
    line: int

    def words(self) -> list[str]:
        """Return the words of the exec form or of the shell form."""
        return json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value)


@dataclass(slots=True)
class Stage:
    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        return [each for each in self.instructions if each.name == name]

    def single(self, name: str) -> Instruction:
        (only,) = self.all(name)
        return only

    def environment(self, arguments: dict[str, str]) -> dict[str, str]:
        """Return the variables of ENV with the ARGs substituted."""
        pairs = [word.split("=", 1) for each in self.all("ENV") for word in shlex.split(each.value)]
        return {name: substituted(value, arguments) for name, value in pairs}


def substituted(value: str, arguments: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], value)


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """Return the arguments before the first stage with their defaults, and the stages."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        whole = line
        while whole.endswith("\\"):
            whole = whole[:-1] + next(lines)[1]
        name, value = re.fullmatch(r"([A-Z]+)\s+(.*)", whole).groups()
        if name == "FROM":
            base, *named = value.split(" AS ")
            stages.append(Stage(base, named[0] if named else "final"))
        elif not stages:
            argument, _, default = value.partition("=")
            arguments[argument] = default
        else:
            stages[-1].instructions.append(Instruction(name, value, number))
    return arguments, stages


def context_files(root: Path = ROOT) -> list[Path]:
    """Return the files of the build context, relative to the repository. The last matching .dockerignore line
    decides.
    """
    rules = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    files = []
    hidden = [
        each for each in root.iterdir() if each.name.startswith(".")
    ]  # virtual environments and caches, usually large
    others = (path for each in root.iterdir() if each not in hidden for path in (each, *each.rglob("*")))
    for path in sorted(each for each in others if each.is_file()):
        name = path.relative_to(root).as_posix()
        ignored = False
        for rule in rules:
            pattern = rule.lstrip("!").removeprefix("**/")
            parents = [name, *(parent.as_posix() for parent in Path(name).parents)]
            somewhere = "**/" in rule and any(fnmatch(part, pattern) for part in Path(name).parts)
            if somewhere or any(fnmatch(each, pattern) for each in parents if each != "."):
                ignored = not rule.startswith("!")
        if not ignored:
            files.append(Path(name))
    return files
