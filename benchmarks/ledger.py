"""Cost of an account per request: reserve and charge one credit in the ledger, one after the other.

``python -m benchmarks.ledger [--database postgresql://…]``. Without a URL it uses a new SQLite file, with the
service's setting (``synchronous=FULL``: every commit reaches the disk) and with ``NORMAL`` for comparison.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np
from sqlalchemy import event

from benchmarks import report
from clearcut.accounts.keys import Quotas, parse_key_id
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from clearcut.accounts.types import Idempotency

ROUNDS, HISTORY = 500, 20_000


def milliseconds(work, rounds: int) -> dict[str, float]:
    times = []
    for number in range(rounds):
        begun = time.perf_counter()
        work(number)
        times.append((time.perf_counter() - begun) * 1000)
    return {"median_ms": round(float(np.median(times)), 3), "p99_ms": round(float(np.percentile(times, 99)), 3)}


def measure(url: str, synchronous: str = "") -> dict[str, object]:
    engine = open_engine(url, 1)
    if synchronous:
        event.listen(engine, "connect", lambda connection, _: connection.execute(f"PRAGMA synchronous={synchronous}"))
        engine.dispose()  # applies to the next connection
    ledger = Ledger(engine, 60)
    key_id = parse_key_id(ledger.create("benchmark", "prepaid", 10**9, Quotas()))

    def once(number: int, label: str = "") -> None:
        idempotency = Idempotency(f"{label}{number}", "0" * 64) if label else None
        charge = ledger.reserve(key_id, 1, 0, idempotency)
        ledger.settle(charge, final=False)
        if idempotency is not None:
            ledger.confirm(charge)

    figures = {
        "look_up": milliseconds(lambda _: ledger.find(key_id), ROUNDS),
        "check_credits": milliseconds(lambda _: ledger.can_request(key_id, 1, None), ROUNDS),
        "reserve_and_settle": milliseconds(once, ROUNDS),
        "with_idempotency_key": milliseconds(lambda number: once(number, "a"), ROUNDS),
    }
    for number in range(HISTORY):
        once(number, "h")
    figures[f"reserve_and_settle_after_{HISTORY}"] = milliseconds(once, ROUNDS)
    ledger.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="address of a database that may be filled")
    args = parser.parse_args().database
    machine = report.machine()
    with tempfile.TemporaryDirectory() as folder:
        url = args or f"sqlite:///{folder}/accounts.db"
        figures = measure(url)
        if not args:
            figures["synchronous=NORMAL"] = measure(f"sqlite:///{folder}/normal.db", "NORMAL")
    backend = url.partition(":")[0]
    question = f"What does an account cost a request, on {backend}?"
    path = report.write(f"ledger_{backend}", question, "python -m benchmarks.ledger", machine, {"figures": figures})
    print(path.read_text())


if __name__ == "__main__":
    main()
