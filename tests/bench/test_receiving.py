"""What it costs to receive much, beside the bare codec and a bare call, as ratios inside one process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest
from tests.bench.measuring import SLOWED, ratio, settled
from tests.bench.samples import BATCH, EVENT, ITEM, dispatcher_of, session_of
from tests.core.arrivals import Recorder

from signalr_sdk import JsonProtocol, MessagePackProtocol
from signalr_sdk._receiving.handlers import Handlers

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalr_sdk import HubProtocol
    from signalr_sdk.messages import HubMessage

pytestmark = pytest.mark.timeout(60)


class Nobody(Recorder):
    """Takes what comes and forgets it."""

    def items(self, items: list[Any], sizes: list[int]) -> None: ...

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int]) -> None: ...


# Well above what was measured (2.0 to 3.3): they catch a message that is looked at twice, or an object for each.
@pytest.mark.parametrize(
    ("protocol", "loads", "message", "most"),
    [
        pytest.param(JsonProtocol(), orjson.loads, EVENT, 4.6, id="json-event"),
        pytest.param(JsonProtocol(), orjson.loads, ITEM, 4.8, id="json-item"),
        pytest.param(MessagePackProtocol(), msgpack.unpackb, EVENT, 6.0, id="messagepack-event"),
        pytest.param(MessagePackProtocol(), msgpack.unpackb, ITEM, 7.0, id="messagepack-item"),
    ],
)
def test_a_session(protocol: HubProtocol, loads: Any, message: HubMessage, most: float) -> None:
    session = session_of(protocol, Nobody())
    session.invoke("Counter", [], Nobody(), stream=True)
    data = protocol.encode(message)
    frame = data[:-1] if protocol.name == "json" else data[1:]

    def received() -> None:
        for hand_on, arguments in session.receive(data * BATCH, 0.0):
            hand_on(*arguments)

    def bare() -> None:
        for _ in range(BATCH):
            loads(frame)

    assert settled(lambda: ratio(received, bare), most * SLOWED) <= most * SLOWED


def test_a_dispatcher() -> None:
    """An event on its way to a handler costs a few plain calls of it (5 were measured)."""
    handlers = Handlers()
    got: list[object] = []
    handlers.add("message", lambda number, _text: got.append(number))
    (handler,) = handlers.events["message"]
    dispatcher = dispatcher_of(handlers)
    targets, arguments, sizes = ["message"] * 1000, [[7, "x"]] * 1000, [40] * 1000
    loop = asyncio.new_event_loop()
    loop.set_debug(False)  # asyncio's debug mode costs more than what is measured

    async def dispatched() -> None:
        dispatcher.events(targets, arguments, sizes)
        await dispatcher.drained()

    def called() -> None:
        for number, text in arguments:
            handler(number, text)

    try:
        assert settled(lambda: ratio(_in(loop, dispatched), called), 12.0) <= 12.0
    finally:
        loop.close()
    assert len(got) % 1000 == 0


def _in(loop: asyncio.AbstractEventLoop, work: Callable[[], Any]) -> Callable[[], None]:
    return lambda: loop.run_until_complete(work())
