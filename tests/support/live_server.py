"""The real server as a subprocess, for live tests, published clients, the demo and the benchmarks.

``served(slots="4")`` starts ``python -m clearcut serve`` with ``CLEARCUT_SLOTS=4`` on a free port and waits until it
is ready. The process gets a minimal environment, so that the developer's own variables have no effect. A thread reads
its log, so that a full pipe never blocks the server. Tests wait for log events instead of sleeping.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, ClassVar

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
"""Timeout of a start in seconds. A start takes about one second on an idle machine."""
STOP_S = 60.0


def environment(**environ: str) -> dict[str, str]:
    """Return the environment of a process: ``slots="4"`` becomes ``CLEARCUT_SLOTS=4``, upper-case names stay."""
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    variables["PYTHONPATH"] = str(ROOT / "app")
    return variables | {name if name.isupper() else f"CLEARCUT_{name.upper()}": each for name, each in environ.items()}


def command() -> list[str]:
    return [sys.executable, "-m", "clearcut", "serve"]


def run_until_exit(seconds: float = START_S, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to refuse its start, and return its output and exit code."""
    variables = environment(**{"port": "0", **environ})
    return subprocess.run(
        command(), cwd=ROOT, env=variables, capture_output=True, text=True, timeout=seconds, check=False
    )


class Server:
    """A running ``python -m clearcut serve``.

    Attributes:
        plan_cache: Folder of the measured plan for ``serve``, unless ``environ`` has another one. None: no folder, so
            each server measures its model. ``tests/conftest.py`` sets a new folder for each run of the tests.

    Args:
        run: Command to run instead.
        around: Words before the command, such as prlimit.
        extra_environment: Additional environment variables.
    """

    plan_cache: ClassVar[Path | None] = None

    def __init__(
        self,
        *,
        run: Sequence[str] | None = None,
        wrapper: Sequence[str] = (),
        extra_environment: Mapping[str, str] = MappingProxyType({}),
        cwd: Path = ROOT,
        **environ: str,
    ) -> None:
        if run is None and self.plan_cache is not None:
            environ = {"plan_cache": str(self.plan_cache), **environ}
        self.process = subprocess.Popen(
            [*wrapper, *(run or command())],
            cwd=cwd,
            env={**environment(**{"port": "0", **environ}), **extra_environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # a Ctrl-C reaches only the tests, which then stop the server
        )
        self.log: list[dict[str, Any]] = []
        """All log lines, parsed. A line that is not JSON is ``{"event": "not json", "line": …}``."""
        self.errors: list[str] = []
        """Lines on standard error."""
        self.host = "127.0.0.1"
        self.port = 0
        self._news = threading.Condition()
        self._ended = False
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._pipes: list[IO[str]] = [self.process.stdout, self.process.stderr]
        self._readers = [
            threading.Thread(target=self._read_log, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self.process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def process_info(self) -> psutil.Process:
        """Return psutil's view of the process: memory, descriptors, threads."""
        return psutil.Process(self.process.pid)

    def _read_log(self, pipe: IO[str]) -> None:
        for line in pipe:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"event": "not json", "line": line.rstrip("\n")}
            with self._news:
                self.log.append(entry)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _read_errors(self, pipe: IO[str]) -> None:
        for line in pipe:
            self.errors.append(line.rstrip("\n"))

    def event(self, name: str, seconds: float = START_S, **fields: Any) -> dict[str, Any]:
        """Wait for the first log line with this event and these fields, and return it.

        Raises:
            AssertionError: The process ended or the timeout passed before it.
        """

        def found() -> dict[str, Any] | None:
            expected = {"event": name, **fields}
            return next((line for line in self.log if expected.items() <= line.items()), None)

        with self._news:
            self._news.wait_for(lambda: found() is not None or self._ended, seconds)
            line = found()
        if line is None:
            raise AssertionError(f"no {name!r} {fields or ''} in the log.\n{self.transcript()}")
        return line

    def listening(self) -> Server:
        self.port = self.event("listening")["port"]
        return self

    def ready(self) -> Server:
        self.event("ready")
        return self

    def transcript(self) -> str:
        """Return the last output of the process, for failure messages."""
        lines = [json.dumps(line) for line in self.log[-20:]] + self.errors[-40:]
        return f"exit code so far: {self.process.poll()}\n" + "\n".join(lines)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def exit_code(self, seconds: float = STOP_S) -> int:
        """Wait until the process exits and return its exit code.

        Raises:
            AssertionError: It is still running after ``seconds``.
        """
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s\n{self.transcript()}") from None
        self._close()
        return code

    def stop(self, seconds: float = STOP_S) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.signal()
        return self.exit_code(seconds)

    def kill(self) -> None:
        """Kill the process if it is still running."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_S)
        self._close()

    def _close(self) -> None:
        for reader in self._readers:
            reader.join(STOP_S)
        for pipe in self._pipes:
            pipe.close()


@contextmanager
def started(**environ: Any) -> Iterator[Server]:
    """Start a server without waiting until it listens. Kill it at the end if it still runs."""
    server = Server(**environ)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def served(**environ: Any) -> Iterator[Server]:
    """Start a server and wait until it is ready. At the end, stop it and require exit code 0, unless it has exited."""
    with started(**environ) as server:
        server.listening().ready()
        yield server
        if server.process.poll() is None:
            code = server.stop()
            assert code == 0, server.transcript()


def http_client(server: Server) -> httpx.Client:
    """Return an HTTP client for this server. It ignores the proxy settings of the environment."""
    return httpx.Client(base_url=server.base_url, timeout=60, trust_env=False)
