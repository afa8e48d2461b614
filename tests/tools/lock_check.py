"""Check that each locked package has a wheel for each supported platform and Python version: ``make lock-check``.

The input are lock files in the format of PEP 751, which list all files of each package. Markers and wheel tags are
evaluated by the library ``packaging`` as an installer on that platform would.
"""

from __future__ import annotations

import dataclasses
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from packaging.markers import Environment
from packaging.pylock import PackageSdist, Pylock, PylockSelectError
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
GLIBC = 28
"""Linux: glibc 2.28, as in Debian 10, Ubuntu 20.04 and RHEL 8."""
MACOS = (14, 0)


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system on a CPU architecture."""

    name: str
    sys_platform: str
    system: str
    machine: str
    wheel_platforms: tuple[str, ...]
    """Platform tags of wheels that can be installed."""

    def environment(self, python: tuple[int, int]) -> Environment:
        """Return the values of all markers."""
        version = f"{python[0]}.{python[1]}"
        return cast(
            Environment,
            {
                "implementation_name": "cpython",
                "implementation_version": f"{version}.0",
                "os_name": "nt" if self.sys_platform == "win32" else "posix",
                "platform_machine": self.machine,
                "platform_python_implementation": "CPython",
                "platform_release": "",
                "platform_system": self.system,
                "platform_version": "",
                "python_full_version": f"{version}.0",
                "python_version": version,
                "sys_platform": self.sys_platform,
            },
        )

    def tags(self, python: tuple[int, int]) -> list[Tag]:
        """Return the tags of wheels that can be installed, best first."""
        abi = f"cp{python[0]}{python[1]}"
        return [
            *cpython_tags(python, [abi], self.wheel_platforms),
            *compatible_tags(python, abi, self.wheel_platforms),
        ]


def _linux(machine: str) -> tuple[str, ...]:
    # manylinux2014 is the older name of manylinux_2_17, and manylinux2010 and manylinux1 those of 2_12 and 2_5.
    names = [f"manylinux_2_{minor}" for minor in range(GLIBC, 4, -1)]
    return tuple(f"{name}_{machine}" for name in [*names, "manylinux2014", "manylinux2010", "manylinux1", "linux"])


PLATFORMS = (
    Platform("Linux x86-64", "linux", "Linux", "x86_64", _linux("x86_64")),
    Platform("Linux aarch64", "linux", "Linux", "aarch64", _linux("aarch64")),
    Platform("macOS arm64", "darwin", "Darwin", "arm64", tuple(mac_platforms(MACOS, "arm64"))),
    Platform("Windows x86-64", "win32", "Windows", "AMD64", ("win_amd64",)),
)


def packages_without_wheel(lock: Pylock, platform: Platform, python: tuple[int, int]) -> Iterator[str]:
    """Yield ``name==version`` of the packages that an installer would have to compile, or could not install."""
    environment, tags = platform.environment(python), platform.tags(python)
    for package in lock.packages:
        try:
            selected = [*dataclasses.replace(lock, packages=[package]).select(environment=environment, tags=tags)]
        except PylockSelectError:  # it has neither a wheel nor its source
            selected = [(package, None)]
        if any(file is None or isinstance(file, PackageSdist) for _, file in selected):
            yield f"{package.name}=={package.version}"


def main(paths: list[Path]) -> int:
    """Print one line for each lock file, platform and Python version, and return 1 if a wheel is missing."""
    code = 0
    for path in paths:
        lock = Pylock.from_dict(tomllib.loads(path.read_text()))
        for platform in PLATFORMS:
            for python in PYTHONS:
                missing = sorted(packages_without_wheel(lock, platform, python))
                code = code or bool(missing)
                result = f"no wheel: {', '.join(missing)}" if missing else "all packages have wheels"
                print(f"{path.name:16} {platform.name:15} Python {python[0]}.{python[1]}  {result}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
