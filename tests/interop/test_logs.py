"""The log against ASP.NET Core: no token and no query string, whatever happens to the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.log_capture import logged

from signalr_sdk import ConnectionFailedError, HubConnection

from .hubs import hub_at

if TYPE_CHECKING:
    from .conftest import Combination
    from .hub_server import HubServer

QUERY = "tenant=secret-5f1c"
# The token of a redirect is a JWT, and what the server negotiates is asked for as `id`.
SECRETS = ("secret-5f1c", "tenant", "eyJ", "id=", "access_token", "Bearer")


async def test_tokens_of_users_and_of_redirects(hub_server: HubServer, combination: Combination) -> None:
    token = await hub_server.token("somebody")
    with logged() as log:
        async with hub_at(hub_server, combination, f"/hub-auth?{QUERY}", access_token=token) as hub:
            assert await hub.invoke("User") == "somebody"
        async with hub_at(hub_server, combination, f"/redirect?{QUERY}", access_token=token) as hub:
            assert await hub.invoke("User") == "redirected-user"
    assert log.having(token, *SECRETS) == []
    assert {vars(record)["hub"] for record in log.records} == {
        hub_server.url("/hub-auth"),
        hub_server.url("/redirect"),
    }
    assert {vars(record)["transport"] for record in log.records} == {None, combination.transport}


@pytest.mark.parametrize("path", ["/hub-all-blocked", "/hub-auth", "/negotiate-503", "/negotiate-html"])
async def test_a_start_that_fails(hub_server: HubServer, combination: Combination, path: str) -> None:
    hub = hub_at(hub_server, combination, f"{path}?{QUERY}", access_token="eyJ-no-token")
    with logged() as log, pytest.raises(ConnectionFailedError):
        await hub.start()
    assert log.records != []
    assert log.having(*SECRETS) == []


async def test_a_connection_that_is_lost_and_found_again(hub_server: HubServer, combination: Combination) -> None:
    hub = HubConnection(f"{hub_server.url('/hub')}?{QUERY}", **combination.options)
    again = asyncio.Event()
    hub.on_reconnected(lambda _connection_id: again.set())
    with logged() as log:
        async with hub:
            first = hub.connection_id
            while not await hub_server.drop_transports("/hub"):
                await hub.invoke("Nothing")  # between two polls there is nothing to cut
            await again.wait()
            second = hub.connection_id
    assert log.having(*SECRETS) == []
    # The loss is the first connection's, all after it the second's.
    lost = next(record for record in log.records if "is lost" in record.getMessage())
    assert (vars(lost)["connection_id"], vars(log.records[-1])["connection_id"]) == (first, second)
    assert first != second
