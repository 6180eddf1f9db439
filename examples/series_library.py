"""A companion of an old Sonarr (before version 4): the list of its series, over a restart of the service.

    python examples/series_library.py

Such a service has one connection without hubs, and sends `{"name": "series", "body": {"action": ..., "resource": ...}}`
over it. Its API key goes into the query. The service and its restart belong to the rehearsal.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from signalr_sdk.classic import PersistentConnection
from signalr_sdk.testing import ClassicHubServer, RawHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Series = dict[int, dict[str, Any]]


def follow(connection: PersistentConnection, series: Series, fetch: Callable[[], Awaitable[list[Any]]]) -> None:
    """Keep `series` as it is in the service. `fetch` gets the whole list, in earnest from `GET /api/series`."""

    @connection.on_setup
    async def fetch_all(_connection_id: str) -> None:
        # A new connection does not get what was sent before it: begin with the whole list.
        series.clear()
        series.update({each["id"]: each for each in await fetch()})

    @connection.on_received
    def change(message: dict[str, Any]) -> None:
        match message:
            case {"name": "series", "body": {"action": "deleted", "resource": {"id": number}}}:
                series.pop(number, None)
            case {"name": "series", "body": {"resource": {"id": number} as resource}}:
                series[number] = resource
            case _:
                pass  # news of something else


async def main() -> None:
    """Rehearse: a series is added, and another one is deleted while the service is down."""
    library: Series = {number: {"id": number, "title": title} for number, title in ((1, "Dark"), (2, "Andor"))}

    async def fetch() -> list[Any]:
        return list(library.values())

    async with ClassicHubServer({}, path="/none", raw={"/signalr": RawHandler}) as service:
        connection = PersistentConnection(f"{service.url('/signalr')}?apiKey=secret", retry_start=True)
        series: Series = {}
        happened: asyncio.Queue[object] = asyncio.Queue()
        follow(connection, series, fetch)
        connection.on_received(happened.put_nowait)
        connection.on_connected(happened.put_nowait)
        async with connection:
            await happened.get()
            library[3] = {"id": 3, "title": "Severance"}
            body = {"action": "updated", "resource": library[3]}
            await service.raw_connections("/signalr").broadcast({"name": "series", "body": body})
            await happened.get()
            assert series == library
            del library[2]
            await service.faults.restart("new")
            await happened.get()
            assert series == library
    print(", ".join(each["title"] for each in series.values()))


asyncio.run(main())
