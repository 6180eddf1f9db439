"""A connection without the hub protocol, for threads; the tests speak the hub protocol over it by hand."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

import aiohttp
import pytest

from signalr_sdk import NegotiationError, NotConnectedError, StateError, Transport
from signalr_sdk.sync import Connection

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Served

HANDSHAKE = '{"protocol":"json","version":1}\x1e'
ADD = '{"type":1,"target":"Add","arguments":[1,2],"invocationId":"a"}\x1e'


def test_sending_and_iterating(served: Served) -> None:
    with Connection(served.url, access_token=lambda: None) as connection:
        assert connection.url == served.url
        assert connection.transport is Transport.WEBSOCKETS
        assert connection.connection_id
        connection.send(HANDSHAKE)
        assert next(connection) == "{}\x1e"
        connection.send(ADD)
        for text in connection:
            assert isinstance(text, str)
            if '"invocationId":"a"' in text:
                assert '"result":3' in text
                break
    assert connection.transport is None
    with pytest.raises(StopIteration):
        next(connection)
    with pytest.raises(NotConnectedError):
        connection.send("x")
    with pytest.raises(StateError, match="good for one use"):
        connection.start()


def test_bytes(served: Served) -> None:
    with Connection(served.url, transfer_format="binary", transports="LongPolling") as connection:
        connection.send(b'{"protocol":"messagepack","version":1}\x1e')
        assert next(connection) == b"{}\x1e"
        with pytest.raises(TypeError, match="sends bytes"):
            connection.send("text")


def test_stop_ends_the_iteration_of_another_thread(served: Served) -> None:
    got: SimpleQueue[list[str | bytes]] = SimpleQueue()
    with Connection(served.url) as connection:
        connection.send(HANDSHAKE)
        assert next(connection) == "{}\x1e"
        reading = threading.Thread(target=lambda: got.put(list(connection)))
        reading.start()
    assert got.get(timeout=5) == []
    reading.join()


def test_a_start_that_fails(served: Served) -> None:
    made: list[aiohttp.ClientSession] = []

    def make() -> aiohttp.ClientSession:
        made.append(aiohttp.ClientSession())
        return made[-1]

    missing = Connection(served.url + "-missing", http=make)
    with pytest.raises(NegotiationError):
        missing.start()
    missing.stop()
    connection = Connection(served.url, http=make)
    with connection:
        with pytest.raises(StateError):
            connection.start()
        connection.send(HANDSHAKE)
    connection.stop()
    until(lambda: all(session.closed for session in made))
    assert len(made) == 2
    stopped = Connection(served.url)
    stopped.stop()
    with pytest.raises(StateError):
        stopped.start()
