"""Authentication refresh and tokens that run out, against ASP.NET Core: the connection lives on and nobody notices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from signalr_sdk import AuthenticationRefresh, AuthenticationRefreshError, HubConnection, Transport

from .conftest import COMBINATIONS, Combination
from .hubs import hub_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .hub_server import HubServer


def tokens(server: HubServer, user: str = "ada", seconds: float = 2) -> Callable[[], Awaitable[str]]:
    """Return a provider of tokens that live so long."""

    async def token() -> str:
        return await server.token(user, seconds)

    return token


class Trouble:
    """All that a user would see of it."""

    def __init__(self, hub: HubConnection) -> None:
        self.seen: list[object] = []
        self.lifetimes: asyncio.Queue[float | None] = asyncio.Queue()
        for name in ("reconnecting", "reconnected", "error"):
            getattr(hub, f"on_{name}")(self.seen.append)
        hub.on_authentication_refreshed(self.lifetimes.put_nowait)


async def test_a_token_is_refreshed_while_the_connection_lives_on(
    hub_server: HubServer, combination: Combination
) -> None:
    hub = hub_at(hub_server, combination, "/hub-refresh", access_token=tokens(hub_server))
    trouble = Trouble(hub)
    async with hub:
        connection_id = hub.connection_id
        for _ in range(3):
            # Whole seconds that are left of two when the server gets to it, which can take one on a busy machine.
            assert await trouble.lifetimes.get() in (0.0, 1.0, 2.0)
            assert await hub.invoke("Add", 1, 2) == 3
        assert hub.connection_id == connection_id
    assert not trouble.seen


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_a_poll_whose_token_has_run_out_shows_the_next_one(hub_server: HubServer, protocol: str) -> None:
    """The server answers 401 to such a poll, and takes a fresh token with the next one as a refresh."""
    hub = hub_at(
        hub_server,
        Combination(Transport.LONG_POLLING, protocol),  # type: ignore[arg-type]
        "/hub-refresh",
        access_token=tokens(hub_server, seconds=1),
        authentication_refresh=False,
    )
    trouble = Trouble(hub)
    async with hub:
        connection_id = hub.connection_id
        for _ in range(2):
            # The poll that brings the answer is the last with its token.
            await hub.invoke("Delay", 1200)
        await hub_server.wait_event("refreshed", connection_id=connection_id)
        assert hub.connection_id == connection_id
    assert not trouble.seen


async def test_by_hand(hub_server: HubServer, combination: Combination) -> None:
    hub = hub_at(
        hub_server,
        combination,
        "/hub-refresh",
        access_token=tokens(hub_server, seconds=60),
        authentication_refresh=AuthenticationRefresh(before=1),
    )
    trouble = Trouble(hub)
    async with hub:
        lifetime = await hub.refresh_authentication()
        # Whole seconds that are left of 60 when the server gets to it.
        assert lifetime is not None
        assert 50 < lifetime < 60
        assert await trouble.lifetimes.get() == lifetime
        assert await hub.invoke("User") == "ada"
    assert not trouble.seen


async def test_another_user_is_refused_and_the_connection_stays(
    hub_server: HubServer, combination: Combination
) -> None:
    users = iter(["ada", "bob"])

    async def token() -> str:
        return await hub_server.token(next(users), 60)

    hub = hub_at(hub_server, combination, "/hub-refresh", access_token=token)
    async with hub:
        with pytest.raises(AuthenticationRefreshError, match="another user") as caught:
            await hub.refresh_authentication()
        assert caught.value.status == 403
        assert await hub.invoke("User") == "ada"


async def test_a_server_without_refresh_says_so(hub_server: HubServer, combination: Combination) -> None:
    async with hub_at(hub_server, combination) as hub:
        with pytest.raises(AuthenticationRefreshError) as caught:
            await hub.refresh_authentication()
        assert caught.value.status == 404
        assert await hub.invoke("Add", 1, 2) == 3


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_a_minute_with_tokens_of_two_seconds(hub_server: HubServer) -> None:
    """On all combinations at once: `/hub-refresh`, and `/hub-auth` where each request shows a token."""
    places = [("/hub-refresh", each) for each in COMBINATIONS]
    places += [("/hub-auth", each) for each in COMBINATIONS if each.transport is not Transport.WEBSOCKETS]

    async def live(path: str, combination: Combination) -> None:
        hub = hub_at(hub_server, combination, path, access_token=tokens(hub_server))
        trouble = Trouble(hub)
        async with hub:
            connection_id = hub.connection_id
            for number in range(60):
                assert await hub.invoke("Add", number, 1) == number + 1
                await asyncio.sleep(1.0)
            assert hub.connection_id == connection_id
        assert not trouble.seen

    await asyncio.gather(*(live(*place) for place in places))
