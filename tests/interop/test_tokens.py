"""Tokens that run out while the connection is in use: renewed after a 401, or by a new connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import ConnectionClosedError, HubConnection, Retry, Transport

from .conftest import COMBINATIONS, Combination
from .hubs import hub_at

if TYPE_CHECKING:
    from tests.python_server import AnyServer

    from .hub_server import HubServer

LIFETIME = 2.0
# On long polling each poll brings the newest token, and with it a new end.
ENDING = tuple(each for each in COMBINATIONS if each.transport is not Transport.LONG_POLLING)


class Tokens:
    """A provider whose tokens live for two seconds.

    Attributes:
        asked: how often it was asked.
    """

    def __init__(self, server: AnyServer) -> None:
        self._server = server
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        return await self._server.token("ada", seconds=LIFETIME)


class Watch:
    """What a user sees of a connection's troubles."""

    def __init__(self, hub: HubConnection) -> None:
        self.errors: list[Exception] = []
        self.losses: list[Exception] = []
        self.pushed: list[int] = []
        hub.on_error(self.errors.append)
        hub.on_reconnecting(self.losses.append)
        hub.on("tick", self.pushed.append)


async def use(hub: HubConnection, seconds: float) -> int:
    """Call the hub, stream from it and be called, for so long; return how many calls there were."""
    loop = asyncio.get_running_loop()
    until, calls = loop.time() + seconds, 0
    async with hub.stream("Forever", 200, item_type=int) as numbers:
        while loop.time() < until:
            assert await hub.invoke("User") == "ada"
            await hub.send("CallMe", "tick", [calls])
            assert isinstance(await numbers.next(timeout=5), int)
            calls += 1
    await hub.invoke("Nothing")
    return calls


async def connected_with_short_tokens(server: AnyServer, combination: Combination, seconds: float) -> None:
    tokens = Tokens(server)
    hub = hub_at(server, combination, "/hub-auth", access_token=tokens, reconnect=True)
    watch = Watch(hub)
    async with hub:
        connection_id = hub.connection_id
        calls = await use(hub, seconds)
        assert hub.connection_id == connection_id
    assert (watch.errors, watch.losses) == ([], [])
    assert sorted(watch.pushed) == list(range(calls))
    if combination.transport is Transport.WEBSOCKETS:
        assert tokens.asked == 1  # looked at when it connects only
    else:
        assert 2 <= tokens.asked <= 2 + seconds / LIFETIME  # and not for each request


# The combinations at the same time: all of it is waiting.


@pytest.mark.timeout(30)
async def test_tokens_that_run_out_are_renewed_unseen(any_server: AnyServer) -> None:
    async with asyncio.TaskGroup() as tasks:
        for each in COMBINATIONS:
            tasks.create_task(connected_with_short_tokens(any_server, each, 1.5 * LIFETIME))


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_minute_with_tokens_of_two_seconds(hub_server: HubServer) -> None:
    async with asyncio.TaskGroup() as tasks:
        for each in COMBINATIONS:
            tasks.create_task(connected_with_short_tokens(hub_server, each, 60.0))
        for each in ENDING:
            tasks.create_task(reconnected_with_short_tokens(hub_server, each, 15))


async def reconnected_with_short_tokens(server: HubServer, combination: Combination, losses: int) -> None:
    """The server ends each connection with its token: the calls go on, on one connection after another."""
    tokens = Tokens(server)
    options: dict[str, Any] = {"access_token": tokens, "reconnect": Retry(wait=lambda _state: 0.0)}
    hub = hub_at(server, combination, "/hub-auth-expiring", **options)
    watch = Watch(hub)
    answered = 0
    async with hub:
        while len(watch.losses) < losses:
            try:
                assert await hub.invoke("User") == "ada"
                answered += 1
                # Idle, so that no poll comes by with a newer token.
                await asyncio.sleep(0.1)
            except ConnectionClosedError:
                # It was on its way: only this may be.
                continue
    assert watch.errors == []
    assert all(isinstance(loss, ConnectionClosedError) and loss.allow_reconnect for loss in watch.losses)
    assert tokens.asked >= losses
    assert answered > losses


@pytest.mark.timeout(30)
async def test_connections_that_end_with_their_token(hub_server: HubServer) -> None:
    async with asyncio.TaskGroup() as tasks:
        for each in ENDING:
            tasks.create_task(reconnected_with_short_tokens(hub_server, each, 2))
