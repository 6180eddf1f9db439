"""`reconnect()`: the user gives a connection up, or does not want to wait for the next attempt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import without_waiting
from tests.scripted_host import Host, now, settle

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HubConnection,
    NegotiationError,
    Retry,
    RetryContext,
    StateError,
    Timeouts,
    Transport,
)
from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.scripted import ScriptedServer

SLOW = Retry.delays(3600, 3600)
QUIET = Timeouts(keep_alive=None, server=None)


class Asked:
    """A policy that keeps what it is asked, and answers from a list."""

    def __init__(self, *delays: float | None) -> None:
        self.contexts: list[RetryContext] = []
        self.delays = list(delays)

    def next_delay(self, context: RetryContext, /) -> float | None:
        self.contexts.append(context)
        return self.delays.pop(0)


class Who(Hub):
    """A hub whose clients ask for their connection id, or wait for ever."""

    async def who(self) -> str:
        return self.context.connection_id

    async def hang(self) -> None:
        await asyncio.Event().wait()


# A connection that is up


@pytest.mark.parametrize("transport", list(Transport))
async def test_it_makes_a_new_connection(transport: Transport) -> None:
    """Also with `reconnect=False`; calls and streams of the old one end."""
    async with (
        HubServer({"/who": Who}) as server,
        HubConnection(server.url("/who"), transports=transport, reconnect=False) as hub,
    ):
        order: list[Any] = []
        hub.on_connected(lambda connection_id: order.append(("connected", connection_id)))
        hub.on_reconnecting(lambda error: order.append(("reconnecting", str(error))))
        hub.on_reconnected(lambda connection_id: order.append(("reconnected", connection_id)))
        first = await hub.invoke("Who")
        call = asyncio.create_task(hub.invoke("Hang"))
        await asyncio.sleep(0)
        await hub.reconnect()
        second = hub.connection_id
        assert second != first
        assert await hub.invoke("Who") == second
        with pytest.raises(ConnectionClosedError, match="reconnect"):
            await call
        await hub.stop()
        await settle()
        assert order[-3:] == [
            ("reconnecting", "reconnect() was called"), ("connected", second), ("reconnected", second)
        ]  # fmt: skip


@pytest.mark.parametrize("stateful", [False, True])
async def test_it_says_goodbye_and_does_not_wait_for_the_answer(server: ScriptedServer, *, stateful: bool) -> None:
    policy = Asked()
    hub = server.hub(reconnect=policy, stateful_reconnect=stateful)
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Never"))
    await socket.next()
    again = asyncio.create_task(hub.reconnect())
    assert (await socket.next())["type"] == 7
    second = await server.sockets.get()
    await second.shake_hands()
    await again
    with pytest.raises(ConnectionClosedError):
        await call
    assert hub.state is ConnectionState.CONNECTED
    assert policy.contexts == []
    await hub.stop()


async def test_calls_wait_for_the_new_connection(server: ScriptedServer) -> None:
    hub = server.hub()
    await server.accept(hub)
    again = asyncio.create_task(hub.reconnect())
    await asyncio.sleep(0)
    assert hub.state is ConnectionState.RECONNECTING
    assert hub.connection_id is None
    call = asyncio.create_task(hub.invoke("Add"))
    second = await server.sockets.get()
    await second.shake_hands()
    asked = await second.next()
    assert asked["target"] == "Add"
    second.answer(asked, 3)
    assert await call == 3
    await again
    await hub.stop()


async def test_several_callers_share_one(server: ScriptedServer) -> None:
    hub = server.hub()
    await server.accept(hub)
    callers = [asyncio.create_task(hub.reconnect()) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()
    second = await server.sockets.get()
    callers.append(asyncio.create_task(hub.reconnect()))
    await second.shake_hands()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(each) for each in results] == [asyncio.CancelledError, *[type(None)] * 5]
    assert server.sockets.empty()
    await hub.stop()


async def test_from_a_handler(server: ScriptedServer) -> None:
    hub = server.hub()
    done = asyncio.Event()

    @hub.on("move")
    async def move() -> None:
        await hub.reconnect()
        done.set()

    socket = await server.accept(hub)
    socket.event("move")
    await (await server.sockets.get()).shake_hands()
    await done.wait()
    await hub.stop()


@without_waiting
async def test_a_path_that_takes_nothing_does_not_hold_it_up() -> None:
    async with Host() as host:
        hub = host.server.hub(timeouts=QUIET)
        await hub.start()
        host.sockets[-1].stalled.clear()
        began = now()
        await hub.reconnect()
        assert now() - began <= 1.5
        await hub.stop()


# When the first attempt fails


async def test_the_policy_decides_about_further_attempts(server: ScriptedServer) -> None:
    policy = Asked(0.0, None)
    hub = server.hub(reconnect=policy)
    await server.accept(hub)
    server.negotiate = refuse
    with pytest.raises(NegotiationError):
        await hub.reconnect()
    assert [context.attempt for context in policy.contexts] == [1, 2]
    assert hub.state is ConnectionState.DISCONNECTED
    with pytest.raises(NegotiationError):
        await hub.wait_closed()


async def test_without_a_policy_there_is_one_attempt(server: ScriptedServer) -> None:
    hub = server.hub(reconnect=False)
    await server.accept(hub)
    server.negotiate = refuse
    with pytest.raises(ConnectionFailedError):
        await hub.reconnect()
    assert hub.state is ConnectionState.DISCONNECTED


def refuse() -> Any:
    raise ConnectionRefusedError("nobody listens")


async def test_stop_ends_it(server: ScriptedServer) -> None:
    hub = server.hub()
    await server.accept(hub)
    again = asyncio.create_task(hub.reconnect())
    await server.sockets.get()
    await hub.stop()
    with pytest.raises(ConnectionClosedError, match="stop"):
        await again


# While a connection is being made


@without_waiting
async def test_it_ends_a_wait() -> None:
    async with Host() as host:
        hub = host.server.hub(reconnect=SLOW, timeouts=QUIET)
        await hub.start()
        began = now()
        host.go_away(up=True)
        await settle()
        assert hub.state is ConnectionState.RECONNECTING
        await hub.reconnect()
        assert now() - began < 1
        await hub.stop()


@without_waiting
async def test_it_joins_an_attempt_under_way() -> None:
    """And is not another attempt when that one fails."""
    async with Host() as host:
        hub = host.server.hub(reconnect=Retry.delays(0, 100, 100), timeouts=QUIET)
        await hub.start()
        host.go_away()
        slow = asyncio.Event()
        host.up = True
        host.server.connect = slow.wait  # type: ignore[assignment]
        await asyncio.sleep(0.1)
        assert len(host.arrivals) == 2
        again = asyncio.create_task(hub.reconnect())
        await settle()
        slow.set()
        await again
        assert len(host.arrivals) == 2
        await hub.stop()


@without_waiting
async def test_it_ends_a_wait_of_retry_start() -> None:
    async with Host() as host:
        host.up = False
        hub = host.server.hub(retry_start=SLOW, timeouts=QUIET)
        start = asyncio.create_task(hub.start())
        await asyncio.sleep(0.1)
        assert len(host.arrivals) == 1
        host.up = True
        began = now()
        await hub.reconnect()
        await start
        assert now() - began < 1
        await hub.stop()


@without_waiting
async def test_a_hurry_while_the_old_connection_closes_is_not_lost() -> None:
    """The source of an upload closes slowly after a loss: `reconnect()` comes meanwhile."""
    async with Host() as host:
        hub = host.server.hub(reconnect=SLOW, timeouts=QUIET)
        await hub.start()
        closing, goes_on = asyncio.Event(), asyncio.Event()

        async def items() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                closing.set()
                await goes_on.wait()

        await hub.send("Upload", items())
        await settle()
        host.go_away(up=True)
        await closing.wait()
        began = now()
        again = asyncio.create_task(hub.reconnect())
        await settle()
        goes_on.set()
        await again
        assert now() - began < 10
        await hub.stop()


@pytest.mark.parametrize("moment", ["waiting", "under way"])
async def test_a_stalled_resume_is_given_up(moment: str) -> None:
    """Its calls end, though a resume would have kept them."""
    async with HubServer({"/who": Who}, stateful_reconnect=True) as server:
        policy = Retry(wait=lambda _state: 5.0 if moment == "waiting" else 0.0)
        hub = HubConnection(server.url("/who"), stateful_reconnect=True, reconnect=policy)
        async with hub:
            first = hub.connection_id
            call = asyncio.create_task(hub.invoke("Hang"))
            await asyncio.sleep(0)
            await hub.flush()
            if moment == "under way":
                server.faults.stall("resume")
            server.faults.cut()
            await settle(50)
            assert hub.state is ConnectionState.CONNECTED
            again = asyncio.create_task(hub.reconnect())
            await settle()
            if moment == "under way":
                server.faults.clear()
            await again
            with pytest.raises(ConnectionClosedError, match="reconnect"):
                await call
            assert hub.connection_id != first


# Where it makes no sense


async def test_without_a_connection(server: ScriptedServer) -> None:
    hub = server.hub()
    with pytest.raises(StateError, match="start"):
        await hub.reconnect()
    await server.accept(hub)
    stop = asyncio.create_task(hub.stop())
    await asyncio.sleep(0)
    with pytest.raises(StateError):
        await hub.reconnect()
    await stop
    with pytest.raises(StateError):
        await hub.reconnect()
