"""`on_setup` of a classic connection, on threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tenacity import wait_fixed

from signalr_sdk import ConnectionClosedError, Retry, Timeouts
from signalr_sdk.sync.classic import HubConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer

if TYPE_CHECKING:
    import pytest

LIMIT = 5.0  # seconds


class Room(ClassicHub):
    """Remembers what was said."""

    said: list[str]

    def say(self, text: str) -> None:
        self.said.append(text)


def test_an_abandoned_handler_does_not_call_on_the_next_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would log in twice there, or with what belonged to the connection before."""
    monkeypatch.setattr(Room, "said", [], raising=False)
    goes_on, done, again = (threading.Event() for _ in range(3))
    late: list[BaseException] = []
    set_ups = 0
    with ClassicHubServer({"Room": Room}) as server:
        connection = HubConnection(
            server.url(), reconnect=Retry.forever(wait=wait_fixed(0.05)), timeouts=Timeouts(setup=1.0)
        )
        room = connection.hub("Room")

        @connection.on_setup
        def log_in(_connection_id: str | None) -> None:
            nonlocal set_ups
            set_ups += 1
            if set_ups == 3:
                again.set()
            if set_ups != 2:
                return
            goes_on.wait(LIMIT)  # longer than `Timeouts.setup`
            for call in (room.invoke, room.send):
                try:
                    call("Say", "late")
                except ConnectionClosedError as error:
                    late.append(error)
            done.set()

        with connection:
            connection.reconnect()
            assert again.wait(LIMIT)
            goes_on.set()
            assert done.wait(LIMIT)
            room.invoke("Say", "in time")
    assert len(late) == 2
    assert Room.said == ["in time"]
