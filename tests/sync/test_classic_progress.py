"""A call with progress, from threads: what its handler may do."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from signalr_sdk import ConnectionClosedError
from signalr_sdk.sync.classic import HubConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer, Progress

if TYPE_CHECKING:
    from collections.abc import Callable


class Chat(ClassicHub):
    async def work(self, progress: Progress) -> str:
        for number in range(3):
            progress(number)
        await asyncio.Event().wait()
        return "done"


def stop(connection: HubConnection) -> None:
    connection.stop()


def stop_and_start(connection: HubConnection) -> None:
    connection.stop()
    connection.start()


def stop_elsewhere(connection: HubConnection) -> None:
    stopping = threading.Thread(target=connection.stop)
    stopping.start()
    stopping.join()


@pytest.mark.parametrize("act", [stop, stop_and_start, stop_elsewhere])
def test_the_connection_ends_while_the_handler_runs(act: Callable[[HubConnection], None]) -> None:
    with ClassicHubServer({"Chat": Chat}) as server:
        connection = HubConnection(server.url())
        chat = connection.hub("Chat")
        handled = threading.Event()

        def handle(_value: object) -> None:
            if not handled.is_set():
                handled.set()
                act(connection)
                threading.Event().wait(0.1)  # meanwhile, a thread without connections ends

        with connection, pytest.raises(ConnectionClosedError):
            chat.invoke("Work", on_progress=handle)
