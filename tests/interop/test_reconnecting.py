"""ASP.NET Core dies, stands still, or is out of reach: the client is back by itself, with its handlers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.tcp_proxy import TcpProxy, tcp_proxy_to, until

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    HubConnection,
    Retry,
    ServerTimeoutError,
    SignalRError,
    Timeouts,
    Transport,
)

from .conftest import COMBINATIONS, Combination

if TYPE_CHECKING:
    from .conftest import StartServer
    from .hub_server import HubServer

DELAY = 0.2
STEADY = Retry(wait=lambda _state: DELAY)
QUICK = Timeouts(server=3, keep_alive=0.5, connect=1, request=1, handshake=1)


class Subscriber:
    """A bot in small: joins its group whenever it is connected, and notes what it hears and what happens to it."""

    def __init__(self, url: str, combination: Combination, **options: Any) -> None:
        self.group = str(combination)
        self.attempts: list[float] = []
        self.story: list[Any] = []
        self.errors: list[Exception] = []
        self.lost = asyncio.Event()
        self.joined = asyncio.Event()
        given = {"reconnect": STEADY, "access_token": self._token, **combination.options, **options}
        self.hub = HubConnection(url, **given)
        self.hub.on("news", self.story.append)
        self.hub.on_connected(self._join)
        self.hub.on_reconnecting(self._note_loss)
        self.hub.on_reconnected(lambda _id: self.story.append("back"))
        self.hub.on_error(self.errors.append)

    def _token(self) -> str | None:
        """Each attempt asks once."""
        self.attempts.append(asyncio.get_running_loop().time())
        return None

    async def _join(self, _connection_id: str | None) -> None:
        # A server that is shutting down may take a connection and lose it at once: the next one joins again.
        with suppress(ConnectionClosedError):
            await self.hub.invoke("JoinGroup", self.group)
            self.story.append("joined")
            self.joined.set()

    def _note_loss(self, error: SignalRError) -> None:
        self.joined.clear()
        self.story.append(type(error))
        self.lost.set()

    async def check(self) -> None:
        """Fail unless calls and the group work."""
        await self.joined.wait()
        assert self.hub.state is ConnectionState.CONNECTED
        before = self.story.count("works")
        await self.hub.invoke("SendToGroup", self.group, "news", "works")
        await until(lambda: self.story.count("works") > before)


async def subscribe(
    stack: AsyncExitStack, url: str, combinations: tuple[Combination, ...] = COMBINATIONS, **options: Any
) -> list[Subscriber]:
    """Start one for each combination. A busy machine may need longer for a first attempt than the limits of a test."""
    all_of_them = [Subscriber(url, combination, retry_start=STEADY, **options) for combination in combinations]
    for each in all_of_them:
        await stack.enter_async_context(each.hub)
        await each.check()
    return all_of_them


async def all_lost(subscribers: list[Subscriber]) -> None:
    for each in subscribers:
        await each.lost.wait()
        each.lost.clear()


async def all_back(subscribers: list[Subscriber], since: float | None = None) -> None:
    """Fail unless each is back, with its first attempt since then; one may have been under way."""
    for each in subscribers:
        await each.check()
        assert each.errors == []
        if since is not None:
            assert sum(attempt > since for attempt in each.attempts) <= 2


@pytest.mark.timeout(120)  # the server starts three times
async def test_a_server_that_is_killed_and_started_again(start_server: StartServer) -> None:
    server = start_server()
    async with AsyncExitStack() as stack:
        # Calls wait for as long as a busy machine takes to start a server.
        subscribers = await subscribe(stack, server.url(), timeouts=Timeouts(ready=40))
        calls = [asyncio.create_task(each.hub.invoke("Delay", 60_000)) for each in subscribers]
        await asyncio.gather(*(each.hub.invoke("Nothing") for each in subscribers))
        for end in (server.kill, server.shutdown):
            done = end()
            if done is not None:
                await done
            await all_lost(subscribers)
            waiting = [asyncio.create_task(each.hub.invoke("Add", 1, 2)) for each in subscribers]
            await asyncio.sleep(2 * DELAY)
            server = await asyncio.to_thread(start_server, port=server.port)
            since = asyncio.get_running_loop().time()
            await all_back(subscribers, since)
            assert await asyncio.gather(*waiting) == [3] * len(subscribers)
        for call in calls:
            with pytest.raises(ConnectionClosedError):
                await call


async def test_a_line_that_is_cut(hub_server: HubServer) -> None:
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(tcp_proxy_to(hub_server.port))
        subscribers = await subscribe(stack, wire.url())
        for _ in range(3):
            since = asyncio.get_running_loop().time()
            assert wire.cut()
            await all_lost(subscribers)
            await all_back(subscribers, since)
        for each in subscribers:
            known = [entry for entry in each.story if entry != "works"]
            assert known == ["joined", *[ConnectionClosedError, "joined", "back"] * 3]


async def test_a_line_that_is_refused_for_a_while(hub_server: HubServer) -> None:
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(tcp_proxy_to(hub_server.port))
        await refused_for(1.0, wire, await subscribe(stack, wire.url()))


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_line_that_is_refused_for_half_a_minute(hub_server: HubServer) -> None:
    """With the default policy, whose delays have grown by then: up to 30 s."""
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(tcp_proxy_to(hub_server.port))
        await refused_for(30.0, wire, await subscribe(stack, wire.url(), reconnect=True))


async def refused_for(seconds: float, wire: TcpProxy, subscribers: list[Subscriber]) -> None:
    wire.refuse()
    wire.cut()
    await all_lost(subscribers)
    await asyncio.sleep(seconds)
    assert [each.hub.state for each in subscribers] == [ConnectionState.RECONNECTING] * len(subscribers)
    await wire.allow()
    await all_back(subscribers, asyncio.get_running_loop().time())


WITH_PINGS = tuple(each for each in COMBINATIONS if each.transport is not Transport.LONG_POLLING)
WITHOUT = tuple(each for each in COMBINATIONS if each.transport is Transport.LONG_POLLING)


@pytest.mark.timeout(60)
async def test_a_server_that_stands_still(start_server: StartServer) -> None:
    """Its system still takes connections. On long polling that is nothing but a slow answer."""
    server = start_server()
    async with AsyncExitStack() as stack:
        with_pings = await subscribe(stack, server.url("/hub-impatient"), WITH_PINGS, timeouts=QUICK)
        without = await subscribe(stack, server.url(), WITHOUT, timeouts=QUICK)
        server.pause()
        await all_lost(with_pings)
        calls = [asyncio.create_task(each.hub.invoke("Add", 1, 2)) for each in (*with_pings, *without)]
        await asyncio.sleep(3)
        server.resume()
        await all_back(with_pings)
        for each in with_pings:
            assert each.story[:3] == ["joined", "works", ServerTimeoutError]
        for each in without:
            await each.check()
            assert not each.lost.is_set()
        assert await asyncio.gather(*calls) == [3] * len(COMBINATIONS)


@pytest.mark.timeout(60)
async def test_stop_while_the_server_stands_still(start_server: StartServer) -> None:
    """Connected, reconnecting, or starting: it is not waited for longer than `Timeouts.close`."""
    server = start_server()
    timeouts = Timeouts(close=0.5, server=1, keep_alive=0.3)
    async with AsyncExitStack() as stack:
        connected = await subscribe(stack, server.url("/hub-impatient"), timeouts=attrs.evolve(timeouts, server=None))
        losing = await subscribe(stack, server.url("/hub-impatient"), WITH_PINGS, timeouts=timeouts)
        server.pause()
        starting = [Subscriber(server.url(), each, timeouts=timeouts) for each in COMBINATIONS]
        starts = [asyncio.create_task(each.hub.start()) for each in starting]
        calls = [asyncio.create_task(each.hub.invoke("Add", 1, 2)) for each in connected]
        await all_lost(losing)
        for each in (*connected, *losing, *starting):
            async with asyncio.timeout(5):
                await each.hub.stop()
            assert each.hub.state is ConnectionState.DISCONNECTED
        for task in (*starts, *calls):
            with pytest.raises(ConnectionClosedError):
                await task


@pytest.mark.timeout(30)
async def test_a_line_that_is_dead_without_a_word(hub_server: HubServer) -> None:
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(tcp_proxy_to(hub_server.port))
        subscribers = await subscribe(stack, wire.url("/hub-impatient"), WITH_PINGS, timeouts=QUICK)
        wire.swallows = True
        await all_lost(subscribers)
        await asyncio.sleep(2)
        wire.swallows = False
        await all_back(subscribers)
        for each in subscribers:
            assert each.story[:3] == ["joined", "works", ServerTimeoutError]


async def test_a_server_without_pings_is_left_again_and_again(hub_server: HubServer) -> None:
    losses: list[list[SignalRError]] = []
    async with AsyncExitStack() as stack:
        for each in WITH_PINGS:
            timeouts = Timeouts(server=0.5, keep_alive=0.2)
            hub = HubConnection(hub_server.url("/hub-quiet"), **each.options, reconnect=STEADY, timeouts=timeouts)
            losses.append([])
            hub.on_reconnecting(losses[-1].append)
            await stack.enter_async_context(hub)
        await until(lambda: all(len(each) >= 3 for each in losses))
    assert {type(error) for each in losses for error in each} == {ServerTimeoutError}


@pytest.mark.parametrize("combination", WITH_PINGS, ids=str)
async def test_an_impatient_server_keeps_a_client_whose_handlers_are_slow(
    hub_server: HubServer, combination: Combination
) -> None:
    """Reading pauses, pings go on: the server waits 1.5 s for one, the handlers are busy for longer."""
    async with AsyncExitStack() as stack:
        (each,) = await subscribe(
            stack, hub_server.url("/hub-impatient"), (combination,), timeouts=Timeouts(server=3, keep_alive=0.3)
        )
        handled: list[int] = []

        @each.hub.on("slow")
        async def slow(number: int, _text: str) -> None:
            handled.append(number)
            await asyncio.sleep(0.002)

        await each.hub.invoke("Flood", "slow", 1500, 20)
        await until(lambda: len(handled) == 1500)
        assert not each.lost.is_set()


# What the user is told


async def test_the_order_of_a_loss_and_a_new_connection(hub_server: HubServer, combination: Combination) -> None:
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(tcp_proxy_to(hub_server.port))
        (each,) = await subscribe(stack, wire.url(), (combination,))
        hub = each.hub
        each.story.clear()
        seen = hub.messages("last")
        for number in range(20):
            await hub.invoke("CallMe", "news", [number])
        await hub.invoke("CallMe", "last", [])
        await seen.next()
        wire.cut()
        await all_lost([each])
        await each.joined.wait()
        await hub.invoke("CallMe", "news", ["after"])
        await until(lambda: "after" in each.story)
        assert each.story == [*range(20), ConnectionClosedError, "joined", "back", "after"]
