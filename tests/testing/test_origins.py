"""Web pages: those of this machine may use the test server, foreign ones only if they are named."""

from __future__ import annotations

import aiohttp
import pytest
from tests.cli.conftest import Signalr, signalr

from signalr_sdk import HubConnection, Transport
from signalr_sdk.testing import Hub, HubServer

__all__ = ["signalr"]

OWN = [
    "http://localhost:3000",
    "https://LOCALHOST",
    "http://app.localhost:8080",
    "http://127.0.0.1",
    "http://127.9.9.9:1",
    "http://[::1]:5000",
]
FOREIGN = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://192.168.1.7",
    "null",
    "",
    "*",
    "file://",
    "http://[::ffff:8.8.8.8]",
    "http://localhost:port",
    "http://localhost, https://evil.example",
    "chrome-extension://abcdef",
]


class Adder(Hub):
    """A hub."""

    async def add(self, a: int, b: int) -> int:
        return a + b


async def statuses(server: HubServer, origin: str) -> set[int]:
    """Return the statuses of all kinds of request that a page with this origin sends."""
    url, headers = server.url("/hub"), {"Origin": origin}
    found = set()
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{url}/negotiate?negotiateVersion=1") as answer:
            found.add(answer.status)
        for method in ("GET", "POST", "DELETE"):
            async with session.request(method, f"{url}?id=x") as answer:
                found.add(403 if answer.status == 403 else 200)
        try:
            async with session.ws_connect(url):
                found.add(200)
        except aiohttp.WSServerHandshakeError as error:
            found.add(error.status)
    return found


@pytest.mark.parametrize("origin", OWN)
async def test_pages_of_this_machine_may(origin: str) -> None:
    async with HubServer({"/hub": Adder}) as server:
        assert await statuses(server, origin) == {200}


@pytest.mark.parametrize("origin", FOREIGN)
async def test_foreign_pages_may_not(origin: str) -> None:
    async with HubServer({"/hub": Adder}) as server:
        assert await statuses(server, origin) == {403}
        assert server.recorded.connects == []


async def test_a_name_that_leads_here_makes_no_page_an_own_one() -> None:
    async with HubServer({"/hub": Adder}) as server, aiohttp.ClientSession() as session:
        name = f"evil.example:{server.port}"
        headers = {"Origin": f"http://{name}", "Host": name}
        async with session.post(server.url("/hub") + "/negotiate", headers=headers) as answer:
            assert answer.status == 403


@pytest.mark.parametrize(
    ("origins", "origin"),
    [
        (["https://app.example"], "https://app.example"),
        (["https://other.example", "https://APP.example:443/"], "https://app.example"),
        ("https://app.example", "https://app.example"),
        (["null"], "null"),
        (["*"], "https://evil.example"),
        (["*"], "null"),
    ],
)
async def test_pages_that_are_named_may(origins: list[str], origin: str) -> None:
    async with HubServer({"/hub": Adder}, origins=origins) as server:
        assert await statuses(server, origin) == {200}
        if "*" not in origins:
            assert await statuses(server, "https://evil.example") == {403}
            assert await statuses(server, "http://app.example") == {403}


@pytest.mark.parametrize("transport", list(Transport))
async def test_clients_that_are_no_browsers_send_no_origin(transport: Transport) -> None:
    async with HubServer({"/hub": Adder}) as server, HubConnection(server.url("/hub"), transports=transport) as hub:
        assert await hub.invoke("Add", 1, 2) == 3


def test_an_origin_is_checked_when_the_server_is_made() -> None:
    with pytest.raises(ValueError, match=r"example\.com"):
        HubServer({"/hub": Adder}, origins=["example.com"])


def test_the_command_has_the_option(signalr: Signalr) -> None:
    assert "--origin" in signalr("serve", "--help").out
    done = signalr("serve", "--origin", "example.com")
    assert done.status == 2
    assert "example.com" in done.err
