"""nginx and Caddy with the files of ``deploy/proxy``, on free ports, in front of a server."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trustme

from tests.support.live_server import ROOT

NGINX = ROOT / "deploy" / "proxy" / "nginx.conf"
CADDY = ROOT / "deploy" / "proxy" / "Caddyfile"


def free_port() -> int:
    """Return a free port from this test process's own range of 1,000, below the kernel's ephemeral ports."""
    first = 20_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in random.sample(range(first, first + 1_000), 1_000):
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run a process until the block ends. Enter the block once it listens on ``port``."""
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    text = (folder / "log").read_text()
                    assert process.poll() is None, text
                    assert time.monotonic() < deadline, text
                    time.sleep(0.02)
            yield
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def nginx(upstream: int, folder: Path, patience_s: float) -> Iterator[tuple[int, int, Path]]:
    """Run nginx with its client timeouts shortened to ``patience_s``. Yield (https port, http port, CA certificate)."""
    https, http = free_port(), free_port()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "clearcut.key")
    for number, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(folder / "clearcut.crt", append=number > 0)
    text = NGINX.read_text()
    for original, replacement in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{upstream};"),
        ("listen 80 default_server;", f"listen 127.0.0.1:{http} default_server;"),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("clearcut.example.com", "127.0.0.1"),
        ("listen 443 ssl", f"listen 127.0.0.1:{https} ssl"),
        ("/etc/nginx/tls/", f"{folder}/"),
        ("/var/log/nginx/", f"{folder}/"),
    ):
        assert original in text
        text = text.replace(original, replacement)
    text, count = re.subn(r"(client_(?:header|body)_timeout +)10s;", rf"\g<1>{round(1000 * patience_s)}ms;", text)
    assert count == 2
    (folder / "clearcut.conf").write_text(text)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}pid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n{temporary}"
        f"include {folder}/clearcut.conf;\n}}\n"
    )
    command = ["/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with running(command, https, folder):
        yield https, http, folder / "ca.pem"


@contextmanager
def caddy(upstream: int, folder: Path) -> Iterator[int]:
    """Run Caddy without TLS, because tests have no certificate authority. Yield its port."""
    port = free_port()
    text = CADDY.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    text = text.replace("\nclearcut.example.com {", f"\nhttp://127.0.0.1:{port} {{").replace(
        "{\n", "{\n\tadmin off\n", 1
    )
    (folder / "Caddyfile").write_text(text)
    with running(["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"], port, folder):
        yield port
