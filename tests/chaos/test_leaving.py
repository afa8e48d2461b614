"""Clients that disconnect, and servers stopped or killed under load: accepted work is kept and charged once."""

from __future__ import annotations

import http.client
import io
import random
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from tests.support import samples
from tests.support.accounts import Accounts
from tests.support.metrics import metric, wait_for_metric
from tests.support.served import Server, served, started
from tests.support.wire import Answer, Wire, request

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(600)]
PHOTO = samples.jpeg(samples.photo("rocket", 600, 400))
KEYS, CREDITS = 6, 10_000


class Crowd:
    """Clients that send requests until they are stopped. Each request has its own id."""

    def __init__(self, server: Server, keys: list[str], hang_up: float = 0.0) -> None:
        self.server, self.keys, self.hang_up = server, keys, hang_up
        self.answers: dict[str, list[Answer]] = {}
        self.sent: set[str] = set()
        self.hung_up: set[str] = set()
        self.enough = threading.Event()
        self._lock = threading.Lock()

    def one(self, number: int) -> None:
        """Run one client until the crowd is stopped."""
        rng, count = random.Random(number), 0
        while not self.enough.is_set():
            count += 1
            own = f"chaos-{number}-{count}"
            message = request(PHOTO, "image/jpeg", X_Request_ID=own, x_api_key=self.keys[number % len(self.keys)])
            try:
                with Wire(self.server.port, 60) as wire:
                    with self._lock:
                        self.sent.add(own)
                    if rng.random() < self.hang_up:
                        with self._lock:
                            self.hung_up.add(own)
                        self._leave(wire, message, rng)
                        continue
                    wire.send(message)
                    answer = wire.answer()
                    with self._lock:
                        self.answers.setdefault(own, []).append(answer)
            except (OSError, http.client.HTTPException):
                if self.server.process.poll() is not None:
                    return

    @staticmethod
    def _leave(wire: Wire, message: bytes, rng: random.Random) -> None:
        match rng.randrange(3):
            case 0:
                wire.send(message[: rng.randrange(1, len(message))])
            case 1:
                wire.send(message)
            case _:
                wire.send(message)
                wire.socket.recv(rng.randrange(1, 20_000))
        if rng.random() < 0.5:
            wire.abort()

    def good(self) -> int:
        """Return the number of complete responses. Each must be an image of the right size."""
        whole = [answer for answers in self.answers.values() for answer in answers if answer.status == 200]
        for answer in whole:
            assert Image.open(io.BytesIO(answer.body)).size == (600, 400)
        return len(whole)

    def others(self) -> Counter[int]:
        return Counter(a.status for answers in self.answers.values() for a in answers if a.status != 200)

    def until(self, answers: int) -> None:
        while sum(map(len, list(self.answers.values()))) < answers and self.server.process.poll() is None:
            self.enough.wait(0.01)


def run(crowd: Crowd, clients: int, then: object) -> None:
    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(crowd.one, number) for number in range(clients)]
        try:
            then()  # type: ignore[operator]
        finally:
            crowd.enough.set()
        for future in futures:
            future.result()


def charged_once(accounts: Accounts) -> int:
    """Wait until all charges are settled and return their number."""
    return accounts.until_none_reserved()["charged"]


def test_disconnects_at_random_moments_are_charged_once(accounts):
    """Every complete response is charged once. Disconnected clients are charged only if the response may have
    arrived.
    """
    keys = accounts.make(KEYS, CREDITS)
    with served(database_url=accounts.url) as server:
        crowd = Crowd(server, keys, hang_up=0.4)
        run(crowd, 12, lambda: crowd.until(150))
        wait_for_metric(server, "clearcut_slots_used", 0)
        wait_for_metric(server, "clearcut_inflight_pixels", 0)
        charged = charged_once(accounts)
        good = crowd.good()
        assert crowd.others() == {}
        assert all(len(answers) == 1 for answers in crowd.answers.values())
        assert good >= 150
        assert good <= charged <= good + len(crowd.hung_up)
        assert sum(accounts.used(keys)) == charged
        cancelled = sum(metric(server, "clearcut_cancelled_total", stage=stage) for stage in ("read", "queue", "pool"))
        assert cancelled > 0
        lines = [line for line in server.log if line["event"] == "request" and line["request_id"].startswith("chaos")]
        assert {line["status"] for line in lines} <= {200, 499}
        assert len(lines) == len({line["request_id"] for line in lines})
        assert charged == sum(line["status"] == 200 for line in lines)


def test_sigterm_under_load_finishes_accepted_work(accounts):
    """Accepted requests are answered, others get 503, the ledger matches, and the exit code is 0."""
    keys = accounts.make(KEYS, CREDITS)
    with served(database_url=accounts.url) as server:
        crowd = Crowd(server, keys)

        def leave() -> None:
            crowd.until(60)
            server.signal()
            assert server.exit_code() == 0

        run(crowd, 16, leave)
        assert set(crowd.others()) <= {503}
        refusals = [a for answers in crowd.answers.values() for a in answers if a.status == 503]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refusals)
        lines = [line for line in server.log if line["event"] == "request" and line.get("status") == 200]
        assert crowd.good() == len(lines)
        assert accounts.states() == {"charged": crowd.good()}
        assert sum(accounts.used(keys)) == crowd.good()


def test_sigkill_under_load_charges_no_request_twice(accounts):
    """On the same database: no charge without a response and none twice, and reservations are released."""
    keys, answered = accounts.make(KEYS, CREDITS), 0
    environ = {"database_url": accounts.url, "slots": "16"}
    for round_ in range(3):
        with started(**environ) as server:
            server.listening().ready()
            crowd = Crowd(server, keys)

            def kill(crowd: Crowd = crowd, server: Server = server, after: int = 30 + 7 * round_) -> None:
                crowd.until(after)
                server.signal(signal.SIGKILL)
                assert server.exit_code() == -signal.SIGKILL

            run(crowd, 16, kill)
            assert set(crowd.others()) <= {503}
            answered += crowd.good()
        charged = accounts.states()["charged"]
        assert charged <= answered <= charged + 16 * (round_ + 1)
        accounts.let_time_pass()
        assert sum(accounts.used(keys)) == charged
    with served(**environ) as server, Wire(server.port) as wire:
        wire.send(request(PHOTO, "image/jpeg", x_api_key=keys[0]))
        assert wire.answer().status == 200
        assert accounts.until_none_reserved()["charged"] == charged + 1
