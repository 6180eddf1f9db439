"""Two ASP.NET Core servers on one Redis: groups, users and questions reach clients of both, and one may die."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.tcp_proxy import tcp_proxy_to, until

from signalr_sdk import ConnectionClosedError, HubConnection, Retry

from .conftest import COMBINATIONS, Combination
from .hub_server import HubServer, ServerMissingError
from .hubs import hub_at
from .redis_server import RedisMissingError, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first test starts Redis and two servers, each of which may take a minute on a busy machine.
pytestmark = pytest.mark.timeout(200)

AGAIN = Retry(wait=lambda _state: 0.1)


@attrs.frozen
class Backplane:
    """Two servers and what they meet at."""

    redis: RedisServer
    one: HubServer
    other: HubServer

    def start(self, port: int = 0) -> HubServer:
        """Start one more server."""
        return HubServer.start(port=port, redis=self.redis.address)


@pytest.fixture(scope="module")
def backplane() -> Iterator[Backplane]:
    with ExitStack() as stack:
        try:
            redis = stack.enter_context(RedisServer.start())
            servers = [stack.enter_context(HubServer.start(redis=redis.address)) for _ in range(2)]
        except (RedisMissingError, ServerMissingError) as error:
            pytest.skip(str(error))
        yield Backplane(redis, *servers)


async def both(
    stack: AsyncExitStack, backplane: Backplane, combination: Combination, path: str = "/hub", **options: Any
) -> tuple[HubConnection, HubConnection]:
    """Return a client of each server."""
    one, other = (hub_at(server, combination, path, **options) for server in (backplane.one, backplane.other))
    for hub in (one, other):
        await stack.enter_async_context(hub)
        # The server answers the handshake before it has subscribed the client at Redis, and a call only after that.
        await hub.invoke("Nothing")
    return one, other


async def test_groups_and_all(backplane: Backplane, combination: Combination) -> None:
    async with AsyncExitStack() as stack:
        one, other = await both(stack, backplane, combination)
        news = other.messages("news")
        await other.invoke("JoinGroup", "blue")
        await one.invoke("SendToGroup", "blue", "news", "to the group")
        assert await news.next(timeout=5) == ("to the group",)
        await one.invoke("SendToAll", "news", "to all")
        assert await news.next(timeout=5) == ("to all",)
        await one.invoke("SendToOthers", "news", "to others")
        assert await news.next(timeout=5) == ("to others",)
        await other.invoke("LeaveGroup", "blue")
        await one.invoke("SendToGroup", "blue", "news", "not for you")
        await one.invoke("SendToAll", "news", {"last": [1, 2.5, None]})
        assert await news.next(timeout=5) == ({"last": [1, 2.5, None]},)


async def test_users(backplane: Backplane, combination: Combination) -> None:
    async with AsyncExitStack() as stack:
        token = await backplane.one.token("ada")
        one, other = await both(stack, backplane, combination, "/hub-auth", access_token=token)
        news = [hub.messages("news") for hub in (one, other)]
        await one.invoke("SendToUser", "ada", "news", "hello")
        assert [await each.next(timeout=5) for each in news] == [("hello",)] * 2


async def test_the_order_of_many_events(backplane: Backplane, combination: Combination) -> None:
    async with AsyncExitStack() as stack:
        one, other = await both(stack, backplane, combination)
        heard: list[int] = []
        other.on("count", heard.append)
        await other.invoke("JoinGroup", "counting")
        for number in range(300):
            await one.send("SendToGroup", "counting", "count", number)
            if number % 50 == 0:
                await one.invoke("Nothing")
        await until(lambda: len(heard) == 300)
        # The hub runs up to 16 calls of a client at the same time, so the order is not ours to promise here.
        assert sorted(heard) == list(range(300))


async def test_a_server_asks_a_client_of_the_other(backplane: Backplane, combination: Combination) -> None:
    async with AsyncExitStack() as stack:
        one, other = await both(stack, backplane, combination)

        @other.on("Ask")
        async def answer(question: str) -> str:
            return f"{question}? 42"

        assert await one.invoke("AskClient", other.connection_id, "Ask", "what") == "what? 42"
        answers = [one.invoke("AskClient", other.connection_id, "Ask", str(n)) for n in range(20)]
        assert await asyncio.gather(*answers) == [f"{n}? 42" for n in range(20)]


async def test_a_server_dies_and_its_clients_go_to_the_other(backplane: Backplane) -> None:
    """Behind a balancer that leads to the first server that is up, as one without memory does."""
    dying = await asyncio.to_thread(backplane.start)
    with dying:
        async with AsyncExitStack() as stack:
            wire = await stack.enter_async_context(tcp_proxy_to(dying.port, backplane.other.port))
            heard: dict[str, list[Any]] = {}
            hubs = []
            for combination in COMBINATIONS:
                hub = HubConnection(wire.url(), **combination.options, reconnect=AGAIN)
                listen(hub, heard.setdefault(str(combination), []))
                hubs.append(await stack.enter_async_context(hub))
            sender = await stack.enter_async_context(hub_at(backplane.one))
            await until(lambda: all(each == ["joined"] for each in heard.values()))
            assert len(await dying.connections()) == len(hubs)
            await sender.invoke("SendToGroup", "bots", "news", "first")
            await until(lambda: all(each[-1] == "first" for each in heard.values()))
            calls = [asyncio.create_task(hub.invoke("Delay", 60_000)) for hub in hubs]
            await asyncio.gather(*(hub.invoke("Nothing") for hub in hubs))
            dying.kill()
            await until(lambda: all(each[-1] == "joined" for each in heard.values()))
            await sender.invoke("SendToGroup", "bots", "news", "second")
            await until(lambda: all(each[-1] == "second" for each in heard.values()))
            assert list(heard.values()) == [["joined", "first", ConnectionClosedError, "joined", "second"]] * len(hubs)
            for call in calls:
                with pytest.raises(ConnectionClosedError):
                    await call


def listen(hub: HubConnection, heard: list[Any]) -> None:
    @hub.on_connected
    async def join(_connection_id: str | None) -> None:
        await hub.invoke("JoinGroup", "bots")
        heard.append("joined")

    hub.on("news", heard.append)
    hub.on_reconnecting(lambda error: heard.append(type(error)))


async def test_servers_in_turn_without_a_memory(backplane: Backplane) -> None:
    """Negotiation on one server and the transport on the other end in 404, for which there is `skip_negotiation`."""
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(tcp_proxy_to(backplane.one.port, backplane.other.port))
        wire.in_turn = True
        async with HubConnection(wire.url(), skip_negotiation=True) as hub:
            assert await hub.invoke("Add", 1, 2) == 3
        hubs = [HubConnection(wire.url(), skip_negotiation=True) for _ in range(4)]
        for hub in hubs:
            await stack.enter_async_context(hub)
            await hub.invoke("Nothing")
        where = [len(await server.connections()) for server in (backplane.one, backplane.other)]
        assert where == [2, 2]
        news = [hub.messages("news") for hub in hubs]
        await hubs[0].invoke("SendToAll", "news", "all")
        assert [await each.next(timeout=5) for each in news] == [("all",)] * 4
