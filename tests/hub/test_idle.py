"""`Timeouts.idle`: a hub that must speak, and has fallen silent, is a lost connection."""

from __future__ import annotations

import asyncio

import pytest
from tests.doubles import without_waiting
from tests.scripted_host import Host, now

from signalr_sdk import HubConnection, Limits, Retry, ServerTimeoutError, Timeouts, Transport
from signalr_sdk.testing import Hub, HubServer


class Mute(Hub):
    """A hub that says nothing by itself."""

    async def echo(self, value: int) -> int:
        return value


@pytest.mark.parametrize("transport", list(Transport))
async def test_silence_is_a_loss_on_every_transport(transport: Transport) -> None:
    """Also with long polling, where there are no pings; pings of the server do not count."""
    async with HubServer({"/mute": Mute}, keep_alive=0.02) as server:
        timeouts = Timeouts(idle=0.2)
        async with HubConnection(server.url("/mute"), transports=transport, reconnect=False, timeouts=timeouts) as hub:
            assert await hub.invoke("Echo", 1) == 1
            with pytest.raises(ServerTimeoutError, match=r"no message for 0\.2 s"):
                await hub.wait_closed()


@without_waiting
async def test_a_new_connection_follows_by_policy() -> None:
    async with Host() as host:
        timeouts = Timeouts(idle=20, server=None, keep_alive=None)
        hub = host.server.hub(reconnect=Retry.delays(0), timeouts=timeouts)
        errors: list[Exception | None] = []
        twice = asyncio.Event()
        hub.on_reconnecting(errors.append)
        hub.on_reconnected(lambda _connection_id: twice.set() if len(errors) == 2 else None)
        await hub.start()
        for _ in range(10):
            await asyncio.sleep(19)
            host.sockets[-1].event("e")
        assert errors == []
        began = now()
        await twice.wait()
        assert 40 <= now() - began <= 42
        assert [type(error) for error in errors] == [ServerTimeoutError] * 2
        await hub.stop()


@without_waiting
async def test_it_stands_still_while_reading_pauses() -> None:
    async with Host() as host:
        timeouts = Timeouts(idle=10, server=None, keep_alive=None, pause=None)
        hub = host.server.hub(timeouts=timeouts, limits=Limits(messages=1))
        slow = asyncio.Event()
        hub.on("e", slow.wait)
        await hub.start()
        for _ in range(5):
            host.sockets[-1].event("e")
        await asyncio.sleep(1000)
        slow.set()
        host.sockets[-1].event("e")
        began = now()
        with pytest.raises(ServerTimeoutError):
            await hub.wait_closed()
        assert 9 <= now() - began <= 11


async def test_it_is_never_resumed() -> None:
    """With stateful reconnect too: a resumed connection of a silent hub would be silent."""
    async with HubServer({"/mute": Mute}, stateful_reconnect=True) as server:
        hub = HubConnection(
            server.url("/mute"),
            stateful_reconnect=True,
            reconnect=Retry.delays(0),
            timeouts=Timeouts(idle=0.2),
        )
        again = asyncio.Event()
        hub.on_reconnected(lambda _connection_id: again.set())
        async with hub:
            first = hub.connection_id
            await again.wait()
            assert hub.connection_id != first
