"""A container's file system without an engine: an overlay over this machine's own, entered with unshare and chroot.

What is written lands in a folder and never on the machine. It needs root, Debian's apt and leave to mount.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Without /usr/local, where this machine may have a Python that the image has not."""


ELSEWHERE = "/dev/shm"
"""Layers must not lie in one another: these lie in memory, the machine's is on the disk."""


class Layer:
    """A folder of changes over others, the last of which is the machine."""

    def __init__(self, folder: Path, below: Sequence[Path] = ()) -> None:
        self.folder = folder
        self.upper = folder / "upper"
        self.below = list(below)
        for name in ("upper", "work", "merged"):
            (folder / name).mkdir(parents=True)
        self.upper.chmod(0o755)

    def command(
        self,
        words: Sequence[str],
        *,
        cwd: str = "/",
        user: str | None = None,
        volume: Path | None = None,
        read_only: bool = False,
    ) -> list[str]:
        """The command that does ``words`` inside. ``volume`` is mounted on /data."""
        lower = ":".join(str(each) for each in [*([self.upper] if read_only else []), *self.below, Path("/")])
        own = "" if read_only else f",upperdir={self.upper},workdir={self.folder / 'work'}"
        merged = self.folder / "merged"
        script = [
            "set -e",
            f"mount -t overlay overlay -o lowerdir={lower}{own} {merged}",
            *(f"mount --rbind /{name} {merged}/{name}" for name in ("proc", "dev")),
            *([f"mount -t tmpfs tmpfs {merged}/tmp"] if read_only else []),
            *([f"mount --bind {volume} {merged}/data"] if volume is not None else []),
            f"exec chroot {f'--userspec={user} ' if user else ''}{merged} /bin/sh -c "
            + shlex.quote(f"cd {cwd} && exec {shlex.join(words)}"),
        ]
        return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", "\n".join(script)]

    def run(self, words: Sequence[str], environ: Mapping[str, str], **where: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(words, **where),  # type: ignore[arg-type]
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )


def why_not() -> str | None:
    """Why layers cannot be made here, or None."""
    if os.geteuid() != 0:
        return "only root may mount"
    if not Path("/usr/bin/apt-get").exists():
        return "this machine has no apt"
    with tempfile.TemporaryDirectory(dir=ELSEWHERE) as folder:
        below = Layer(Path(folder) / "below")
        done = Layer(Path(folder) / "trial", [below.upper]).run(["true"], {"PATH": PATH})
    return None if done.returncode == 0 else f"no overlay can be mounted: {done.stderr.strip()[-200:]}"


def size(folder: Path) -> int:
    """Bytes of the files in a folder, each counted once; links count as nothing."""
    seen = {}
    for root, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(root, name))
            if not os.path.islink(os.path.join(root, name)):
                seen[status.st_ino] = status.st_size
    return sum(seen.values())
