"""What `discover` says if there is no script with hubs."""

from __future__ import annotations

import pytest

from signalr_sdk import TransportError
from signalr_sdk.classic import discover
from signalr_sdk.testing import ClassicHub, ClassicHubServer

SWITCHED_OFF = "throw new Error('SignalR: JavaScript Hub proxy generation has been disabled.');"


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, "", "the server does not give out its hubs"),
        (200, SWITCHED_OFF, "the server has the script with its hubs switched off"),
        (200, "<html>Welcome</html>", "the server answers with something else than the script with its hubs"),
        (200, "", "the server answers with something else than the script with its hubs"),
    ],
)
async def test_answers_without_hubs(status: int, body: str, text: str) -> None:
    async with ClassicHubServer({"Chat": ClassicHub}) as server:
        server.faults.answer("hubs", status, body)
        with pytest.raises(TransportError, match=text) as raised:
            await discover(server.url())
        assert raised.value.status == status


async def test_a_server_without_hubs() -> None:
    async with ClassicHubServer({}) as server:
        assert await discover(server.url()) == {}
