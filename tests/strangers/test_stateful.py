"""Microsoft's JavaScript client loses its line again and again, and nothing else."""

from __future__ import annotations

import json

import pytest
from tests.strangers.running import HERE, find_node, run, value

from signalr_sdk.testing import Hub, HubServer

# Processes take a while to start on a machine that has much to do.
pytestmark = pytest.mark.timeout(60)


class Cutting(Hub):
    """Cuts the line of its client while it sends."""

    server: HubServer

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def flood(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            await self.clients.caller.send("Number", number)
            if number == first + count // 2:
                assert self.server.faults.cut(self.context.connection_id) == 1


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_nothing_is_lost(protocol: str) -> None:
    node = find_node()
    with HubServer({"/hub": Cutting}, stateful_reconnect=True) as chat:
        Cutting.server = chat
        said = run(node, HERE / "stateful.cjs", json.dumps({"url": chat.url("/hub"), "protocol": protocol}))
    assert said == {
        "sums": value([a + b for a in range(6) for b in range(10)]),
        "numbers": value(list(range(300))),
        "same connection": value(True),
        "ends": value([]),
    }
    assert len(chat.recorded.connects) == 1
    assert [gone.error for gone in chat.recorded.disconnects] == [None]
