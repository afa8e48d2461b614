"""A container's file system without a container engine: an overlay over this machine's own, entered with unshare and
chroot.

All writes go to a folder, never to the machine. This needs root, Debian's apt and permission to mount.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH without /usr/local, where this machine may have a Python that the image lacks."""


ELSEWHERE = "/dev/shm"
"""A folder on another file system than the machine's root, because overlay layers must not contain each other."""


class Layer:
    """A folder of changes over other layers. The lowest layer is the machine's root."""

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
        """Return the command that runs ``words`` inside. ``volume`` is mounted on /data."""
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
    """Return why layers cannot be created on this machine, or None."""
    if os.geteuid() != 0:
        return "only root may mount"
    if not Path("/usr/bin/apt-get").exists():
        return "this machine has no apt"
    with tempfile.TemporaryDirectory(dir=ELSEWHERE) as folder:
        below = Layer(Path(folder) / "below")
        done = Layer(Path(folder) / "trial", [below.upper]).run(["true"], {"PATH": PATH})
    return None if done.returncode == 0 else f"no overlay can be mounted: {done.stderr.strip()[-200:]}"


def size(folder: Path) -> int:
    """Return the total size of the files in bytes. Hard links count once, symbolic links not at all."""
    seen = {}
    for root, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(root, name))
            if not os.path.islink(os.path.join(root, name)):
                seen[status.st_ino] = status.st_size
    return sum(seen.values())
