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
from tests.support.account_clients import Accounts
from tests.support.live_server import Server, served, started
from tests.support.metrics import metric, wait_for_metric
from tests.support.raw_http import RawConnection, RawResponse, request

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(600)]
PHOTO = samples.jpeg(samples.photo("rocket", 600, 400))
KEYS, CREDITS = 6, 10_000


class ClientGroup:
    """Clients that send requests until they are stopped. Each request has its own id."""

    def __init__(self, server: Server, keys: list[str], disconnect_rate: float = 0.0) -> None:
        self.server, self.keys, self.disconnect_rate = server, keys, disconnect_rate
        self.responses: dict[str, list[RawResponse]] = {}
        self.sent: set[str] = set()
        self.disconnected: set[str] = set()
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def run_client(self, number: int) -> None:
        """Run one client until the crowd is stopped."""
        rng, count = random.Random(number), 0
        while not self.stop.is_set():
            count += 1
            request_id = f"chaos-{number}-{count}"
            message = request(
                PHOTO, "image/jpeg", X_Request_ID=request_id, x_api_key=self.keys[number % len(self.keys)]
            )
            try:
                with RawConnection(self.server.port, 60) as connection:
                    with self._lock:
                        self.sent.add(request_id)
                    if rng.random() < self.disconnect_rate:
                        with self._lock:
                            self.disconnected.add(request_id)
                        self._disconnect(connection, message, rng)
                        continue
                    connection.send(message)
                    response = connection.read_response()
                    with self._lock:
                        self.responses.setdefault(request_id, []).append(response)
            except (OSError, http.client.HTTPException):
                if self.server.process.poll() is not None:
                    return

    @staticmethod
    def _disconnect(connection: RawConnection, message: bytes, rng: random.Random) -> None:
        match rng.randrange(3):
            case 0:
                connection.send(message[: rng.randrange(1, len(message))])
            case 1:
                connection.send(message)
            case _:
                connection.send(message)
                connection.socket.recv(rng.randrange(1, 20_000))
        if rng.random() < 0.5:
            connection.abort()

    def count_complete(self) -> int:
        """Return the number of complete responses. Each must be an image of the right size."""
        complete = [
            response for responses in self.responses.values() for response in responses if response.status == 200
        ]
        for response in complete:
            assert Image.open(io.BytesIO(response.body)).size == (600, 400)
        return len(complete)

    def other_statuses(self) -> Counter[int]:
        return Counter(a.status for responses in self.responses.values() for a in responses if a.status != 200)

    def wait_for_responses(self, responses: int) -> None:
        while sum(map(len, list(self.responses.values()))) < responses and self.server.process.poll() is None:
            self.stop.wait(0.01)


def run(group: ClientGroup, clients: int, action: object) -> None:
    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(group.run_client, number) for number in range(clients)]
        try:
            action()  # type: ignore[operator]
        finally:
            group.stop.set()
        for future in futures:
            future.result()


def settled_charges(accounts: Accounts) -> int:
    """Wait until all charges are settled and return their number."""
    return accounts.wait_until_settled()["charged"]


def test_disconnects_at_random_moments_are_charged_once(accounts):
    """Every complete response is charged once. Disconnected clients are charged only if the response may have
    arrived.
    """
    keys = accounts.make(KEYS, CREDITS)
    with served(database_url=accounts.url) as server:
        group = ClientGroup(server, keys, disconnect_rate=0.4)
        run(group, 12, lambda: group.wait_for_responses(150))
        wait_for_metric(server, "clearcut_slots_used", 0)
        wait_for_metric(server, "clearcut_inflight_pixels", 0)
        charged = settled_charges(accounts)
        count_complete = group.count_complete()
        assert group.other_statuses() == {}
        assert all(len(responses) == 1 for responses in group.responses.values())
        assert count_complete >= 150
        assert count_complete <= charged <= count_complete + len(group.disconnected)
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
        group = ClientGroup(server, keys)

        def stop_server() -> None:
            group.wait_for_responses(60)
            server.signal()
            assert server.exit_code() == 0

        run(group, 16, stop_server)
        assert set(group.other_statuses()) <= {503}
        refusals = [a for responses in group.responses.values() for a in responses if a.status == 503]
        assert all(int(response.headers["retry-after"]) >= 1 for response in refusals)
        lines = [line for line in server.log if line["event"] == "request" and line.get("status") == 200]
        assert group.count_complete() == len(lines)
        assert accounts.states() == {"charged": group.count_complete()}
        assert sum(accounts.used(keys)) == group.count_complete()


def test_sigkill_under_load_charges_no_request_twice(accounts):
    """On the same database: no charge without a response and none twice, and reservations are released."""
    keys, answered = accounts.make(KEYS, CREDITS), 0
    environ = {"database_url": accounts.url, "slots": "16"}
    for round_ in range(3):
        with started(**environ) as server:
            server.listening().ready()
            group = ClientGroup(server, keys)

            def kill(group: ClientGroup = group, server: Server = server, after: int = 30 + 7 * round_) -> None:
                group.wait_for_responses(after)
                server.signal(signal.SIGKILL)
                assert server.exit_code() == -signal.SIGKILL

            run(group, 16, kill)
            assert set(group.other_statuses()) <= {503}
            answered += group.count_complete()
        charged = accounts.states()["charged"]
        assert charged <= answered <= charged + 16 * (round_ + 1)
        accounts.expire_reservations()
        assert sum(accounts.used(keys)) == charged
    with served(**environ) as server, RawConnection(server.port) as connection:
        connection.send(request(PHOTO, "image/jpeg", x_api_key=keys[0]))
        assert connection.read_response().status == 200
        assert accounts.wait_until_settled()["charged"] == charged + 1
