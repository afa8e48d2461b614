"""Cost of each kind of hostile input, and its effect on other clients.

Cost: every input of tests/support/hostile is sent alone, and the server's CPU time and the growth of its resident
memory are recorded. The most expensive inputs are sent again, each after a pause that returns freed memory.

Other clients: four requests per second with a 1 megapixel photo, for some seconds without and with the attack, in
several alternating rounds. The figure is the median over the rounds of the ratio of both 95th percentiles. The
attacker is its own process and sends as fast as it gets responses, one request at a time unless its name says
otherwise. ``one more`` is another ordinary client, which shows the cost of sharing the machine.

Options: every option with hostile mattes, masks and alpha channels (``benchmarks/hostile_options.py``).

Run: ``python -m benchmarks.hostile [--rounds 3] [--seconds 8] [--only cost|options|honest]``; writes
results/hostile.json. ``--families`` and ``--attacks`` measure some of them and keep the other results.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import http.client
import itertools
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import hostile_options, report
from benchmarks.load import Target, opened
from tests.support import samples
from tests.support.hostile import connection_attacks, corpus, http_messages
from tests.support.hostile.oracle import Oracle
from tests.support.hostile.routes import ROUTES
from tests.support.live_server import Server, served
from tests.support.raw_http import RawConnection, request

RATE = 4.0
LISTED = 12


def everything(oracle: Oracle, families: list[str]) -> Iterator[tuple[str, int]]:
    """Send all inputs, or those of some families of files, and yield (family, inputs) after each family."""
    for family in families or corpus.FILES:
        make, count = corpus.FILES[family], 0
        for round_, item in enumerate(make()):
            oracle.file(item, round_)
            count = round_ + 1
        oracle.check_server()
        yield family, count
    if families:
        return
    yield "forms", sum(1 for _ in corpus.send_forms(oracle))
    yield "options", sum(1 for _ in corpus.send_options(oracle))
    messages = list(http_messages.all_messages())
    for message in messages:
        oracle.message(*message)
    oracle.check_server()
    yield "HTTP", len(messages)


def cost(server: Server, chosen: list[str], earlier: dict[str, Any]) -> dict[str, Any]:
    """Return the cost of all families. With ``chosen`` families, the others come from an ``earlier`` result."""
    oracle = Oracle(server, measuring=True)
    families: dict[str, Any] = dict(earlier.get("families", {})) if chosen else {}
    for family, count in everything(oracle, chosen):
        spent = oracle.costs
        families[family] = {
            "inputs": count,
            "outcomes": dict(sorted(oracle.outcomes.items())),
            "worst_cpu_s": max((each.cpu_s for each in spent), default=0.0),
            "worst_growth_mib": max((each.grown_mib for each in spent), default=0.0),
            "worst_decoder_mib": max((each.decoder_mib for each in spent), default=0.0),
            "median_cpu_ms": round(statistics.median([each.cpu_s for each in spent] or [0]) * 1e3, 2),
        }
        print(f"{family:<20}{families[family]}")
        oracle.costs, oracle.outcomes = [], Counter()
    return {
        "inputs": sum(each["inputs"] for each in families.values()),
        "families": {family: families[family] for family in [*corpus.FILES, *families] if family in families},
        "faults": oracle.failures,
    }


def most_expensive(server: Server) -> list[dict[str, Any]]:
    """Return the bombs and the largest allowed files by cost. Each is sent alone after a pause."""
    oracle = Oracle(server, measuring=True)
    for family in ("bombs", "HEIC bombs", "largest allowed"):
        for round_, item in enumerate(corpus.FILES[family]()):
            oracle.rest()
            oracle.file(item, round_)
    oracle.rest()
    oracle.options("64 x 48 to 6000 x 6000", "/v1/remove", b"width=6000&height=6000&format=jpg")
    ranked = sorted(oracle.costs, key=lambda each: -each.cpu_s)
    return [dataclasses.asdict(each) for each in ranked[:LISTED]]


def _repeated(make: Callable[[], Iterator[bytes]]) -> Callable[[], connection_attacks.Attack]:
    """Return an attack of messages that exist before it begins, because building some of them loads the machine."""

    def prepare() -> connection_attacks.Attack:
        messages = list(make())

        def attack(port: int, stop: threading.Event) -> None:
            for message in itertools.cycle(messages):
                if stop.is_set():
                    return
                _send(port, message)

        return attack

    return prepare


def _files(family: str) -> Iterator[bytes]:
    for round_, item in enumerate(itertools.islice(corpus.FILES[family](), 300)):
        yield ROUTES[round_ % len(ROUTES)].message(item.make(), "attack")


def _send(port: int, message: bytes) -> None:
    with RawConnection(port, 60) as connection:
        try:
            connection.send(message)
            connection.read_response()
        except (OSError, http.client.HTTPException):
            pass  # an attacker ignores errors


def _forms() -> Iterator[bytes]:
    for each in corpus.all_forms():
        yield request(each.body, each.kind)


ATTACKS: dict[str, Callable[[], connection_attacks.Attack]] = {
    "one more": _repeated(lambda: iter([request(connection_attacks.MEDIUM, "image/jpeg")])),
    **{family: _repeated(functools.partial(_files, family)) for family in corpus.FILES if family != "whole files"},
    "forms": _repeated(_forms),
    "HTTP": _repeated(lambda: (data for _, data, _ in http_messages.all_messages())),
    **{name: (lambda attack=attack: attack) for name, attack in connection_attacks.ATTACKS.items()},  # type: ignore[misc]
}


@contextlib.contextmanager
def attacking(name: str, port: int) -> Iterator[None]:
    """Run the attack in its own process, from the moment its messages exist."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--attack", name, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == "begun\n"
        try:
            yield
        finally:
            attacker.kill()


def attack(name: str, port: int) -> None:
    """Run until killed."""
    prepared = ATTACKS[name]()
    print("begun", flush=True)
    prepared(port, threading.Event())


def honest(server: Server, rounds: int, seconds: float, names: list[str]) -> dict[str, Any]:
    photo = samples.jpeg(samples.photo("astronaut", 1000, 1000), quality=90)
    target = Target(server.host, server.port, "/v1/remove")
    opened(target, [photo], RATE, 3, clients=16)
    results = {}
    for name in names:
        pairs, statuses = [], Counter[int]()
        for _ in range(rounds):
            quiet = opened(target, [photo], RATE, seconds, clients=16)
            with attacking(name, server.port):
                time.sleep(1)  # until the attack has its full effect
                attacked = opened(target, [photo], RATE, seconds, clients=64)
            statuses += attacked.statuses
            pairs.append((quiet.percentile(0.95), attacked.percentile(0.95) if attacked.latencies else float("inf")))
            time.sleep(1)
        ratios = [during / before for before, during in pairs]
        results[name] = {
            "quiet_p95_ms": [round(before * 1e3, 1) for before, _ in pairs],
            "attacked_p95_ms": [round(during * 1e3, 1) for _, during in pairs],
            "ratio": round(statistics.median(ratios), 2),
            "answers": {str(status): count for status, count in sorted(statuses.items())},
        }
        print(f"{name:<26}{results[name]}", flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", choices=("cost", "options", "honest"))
    parser.add_argument("--families", default="", help="of files, separated by semicolons; all if empty")
    parser.add_argument("--attacks", default="", help="separated by semicolons; all if empty")
    parser.add_argument("--attack", help="internal: run one attack")
    parser.add_argument("--port", type=int)
    args = parser.parse_args()
    if args.attack:
        attack(args.attack, args.port)
    machine = report.machine()
    path = report.RESULTS / "hostile.json"
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    figures = {name: figures[name] for name in ("cost", "most_expensive", "options", "honest") if name in figures}
    with served() as server:
        if args.only in (None, "cost"):
            families = args.families.split(";") if args.families else []
            figures["cost"] = cost(server, families, figures.get("cost", {}))
            figures["most_expensive"] = most_expensive(server)
        if args.only in (None, "options"):
            figures["options"] = hostile_options.measure(server)
        if args.only in (None, "honest"):
            names = args.attacks.split(";") if args.attacks else list(ATTACKS)
            figures["honest"] = figures.get("honest", {}) | honest(server, args.rounds, args.seconds, names)
    command = "python -m benchmarks.hostile"
    report.write("hostile", "cost of hostile inputs, and their effect on other clients", command, machine, figures)
    for each in figures.get("most_expensive", []):
        print(each)
    return 1 if figures.get("cost", {}).get("faults") or figures.get("options", {}).get("beyond") else 0


if __name__ == "__main__":
    raise SystemExit(main())
