"""Ports in use are found before the service loads anything, and free ports stay free."""

import socket

import pytest

from clearcut.errors import StartupError
from clearcut.ports import listen_error, require_free_ports
from clearcut.settings import Settings


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_free_port_stays_free(taken: int) -> None:
    require_free_ports(Settings(port=0))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert listen_error("127.0.0.1", port) is None
    require_free_ports(Settings(port=port))
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("setting", ["port", "metrics_port"])
def test_used_port_names_its_setting(taken: int, setting: str) -> None:
    with pytest.raises(
        StartupError, match=f"127.0.0.1:{taken}: the port is in use .* set CLEARCUT_{setting.upper()} to"
    ):
        require_free_ports(Settings(**{"port": 0, setting: taken}))


def test_other_errors_have_no_advice() -> None:
    """192.0.2.1 is reserved for documentation, so no machine has it."""
    with pytest.raises(StartupError) as caught:
        require_free_ports(Settings(host="192.0.2.1", port=8080, allow_anonymous=True))
    assert "cannot listen on 192.0.2.1:8080: " in str(caught.value)
    assert "CLEARCUT_PORT" not in str(caught.value)
