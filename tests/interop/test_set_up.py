"""`on_setup`, `reconnect()` and `Timeouts.idle` against ASP.NET Core, on each combination of transport and protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import ConnectionClosedError, HubConnection, HubError, Retry, ServerTimeoutError, SetupError, Timeouts

if TYPE_CHECKING:
    from .conftest import Combination
    from .hub_server import HubServer

AT_ONCE = Retry.forever(wait=lambda _state: 0.0)


async def test_events_and_calls_wait_for_the_set_up(hub_server: HubServer, combination: Combination) -> None:
    """The set-up fails three times; then all goes out and comes in, in order."""
    hub = HubConnection(hub_server.url("/hub"), reconnect=AT_ONCE, retry_start=True, **combination.options)
    attempts: list[str | None] = []
    heard: list[Any] = []
    inside: list[Any] = []
    hub.on("n", heard.append)

    @hub.on_setup
    async def subscribe(connection_id: str | None) -> None:
        attempts.append(connection_id)
        event = asyncio.create_task(hub.wait_for("n", timeout=10))
        for number in range(3):
            await hub.invoke("CallMe", "n", [len(attempts) * 10 + number])
        inside.append(await event)
        if len(attempts) < 4:
            await hub.invoke("ThrowHubException", "not yet")
        inside.append(list(heard))

    start = asyncio.create_task(hub.start())
    await asyncio.sleep(0)
    others = [asyncio.create_task(hub.invoke("CallMe", "n", [100 + number])) for number in range(3)]
    await start
    await asyncio.gather(*others)
    assert await hub.invoke("Add", 1, 2) == 3
    assert len(set(attempts)) == 4
    assert inside == [(10,), (20,), (30,), (40,), []]
    await hub.stop()
    assert heard[:3] == [40, 41, 42]
    assert sorted(heard[3:]) == [100, 101, 102]


async def test_a_set_up_that_fails(hub_server: HubServer, combination: Combination) -> None:
    hub = HubConnection(hub_server.url("/hub"), **combination.options)
    hub.on_setup(lambda _connection_id: hub.invoke("ThrowHubException", "wrong password"))
    with pytest.raises(SetupError, match="wrong password") as caught:
        await hub.start()
    assert isinstance(caught.value.__cause__, HubError)


async def test_reconnect(hub_server: HubServer, combination: Combination) -> None:
    async with HubConnection(hub_server.url("/hub"), reconnect=False, **combination.options) as hub:
        first = hub.connection_id
        call = asyncio.create_task(hub.invoke("Delay", 20_000))
        await asyncio.sleep(0)
        await asyncio.gather(*(hub.reconnect() for _ in range(3)))
        with pytest.raises(ConnectionClosedError, match="reconnect"):
            await call
        assert hub.connection_id != first
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_hub_that_says_nothing(hub_server: HubServer, combination: Combination) -> None:
    options = {"reconnect": False, "timeouts": Timeouts(idle=0.5), **combination.options}
    async with HubConnection(hub_server.url("/hub-impatient"), **options) as hub:
        with pytest.raises(ServerTimeoutError, match=r"Timeouts\.idle"):
            await hub.wait_closed()
