"""Ten times as much costs no more than ten times: one unit among many costs what it costs among few."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import pytest
from tests.bench.measuring import ratio, settled
from tests.bench.samples import dispatcher_of, session_of
from tests.core.arrivals import Recorder

from signalr_sdk import HubConnection, JsonProtocol, MessagePackProtocol
from signalr_sdk._receiving.backlog import Backlog
from signalr_sdk._receiving.handlers import Handlers
from signalr_sdk._receiving.queues import StreamQueue
from signalr_sdk.messages import Completion, StreamItem
from signalr_sdk.protocols.framing import BinaryFraming, TextFraming
from signalr_sdk.testing import HubServer
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalr_sdk import HubProtocol

pytestmark = pytest.mark.timeout(60)

FEW, MANY = 100, 1000
# A search in line would make it ten; caches and a larger heap make it a little more than one.
MOST = 3.0
PROTOCOLS = [pytest.param(JsonProtocol(), id="json"), pytest.param(MessagePackProtocol(), id="messagepack")]


def growth(work: Callable[[int], Callable[[], object]]) -> float:
    """Return what one unit costs among many, beside one among few.

    Args:
        work: prepares so many; what it returns goes through all of them.
    """
    many, few = work(MANY), work(FEW)

    def few_often() -> None:
        for _ in range(MANY // FEW):
            few()

    return settled(lambda: ratio(many, few_often, rounds=10), MOST)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pending_calls(protocol: HubProtocol) -> None:
    def work(count: int) -> Callable[[], object]:
        def run() -> None:
            session = session_of(protocol)
            sink = Recorder()
            names = [session.invoke("Add", [1, 2], sink)[0] for _ in range(count)]
            answers = [protocol.encode(Completion(name, 3, has_result=True)) for name in reversed(names)]
            for answer in answers:
                assert len(session.receive(answer, 0.0)) == 1

        return run

    assert growth(work) <= MOST


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_open_streams(protocol: HubProtocol) -> None:
    def work(count: int) -> Callable[[], object]:
        session, backlog = session_of(protocol), Backlog(1 << 30)
        queues = [StreamQueue(backlog, 10, "Counter") for _ in range(count)]
        items = []
        for queue in queues:
            backlog.join(queue)
            name, _data = session.invoke("Counter", [], queue, stream=True)
            items.append(protocol.encode(StreamItem(name, 1)))

        def run() -> None:
            for item in items:
                for hand_on, arguments in session.receive(item, 0.0):
                    hand_on(*arguments)
            for queue in queues:
                queue.take()

        return run

    assert growth(work) <= MOST


def test_handlers() -> None:
    def work(count: int) -> Callable[[], object]:
        dispatcher = dispatcher_of(Handlers())
        subscribed = [
            dispatcher.subscribe((f"event{number}",), 10, named=False, newest=False, loop=lambda: None)
            for number in range(count)
        ]

        def run() -> None:
            for number in range(count):
                dispatcher.events([f"event{number}"], [[number]], [1])
            for each in subscribed:
                each._queue.take()

        return run

    assert growth(work) <= MOST


@pytest.mark.parametrize("framing", [TextFraming, BinaryFraming])
def test_size_of_a_message_that_comes_in_pieces(framing: type[TextFraming | BinaryFraming]) -> None:
    def work(count: int) -> Callable[[], object]:
        piece = b"x" * 200  # more, and the system's price of large blocks is measured
        length = count * len(piece)
        prefix = b"" if framing is TextFraming else bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
        end = b"\x1e" if framing is TextFraming else b""

        def run() -> None:
            stream = framing(1 << 30)
            stream.feed(prefix + piece)
            for _ in range(count - 2):
                stream.feed(piece)
            assert len(stream.feed(piece + end)) == 1

        return run

    assert growth(work) <= MOST


def test_connections() -> None:
    few, many = 20, 200

    async def last_few_of(count: int) -> float:
        async with (
            HubServer({"/hub": DemoHub}) as server,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
            AsyncExitStack() as stack,
        ):

            async def connect() -> None:
                await stack.enter_async_context(HubConnection(server.url("/hub"), http=session))

            for _ in range(count - few):
                await connect()
            begin = time.process_time()
            for _ in range(few):
                await connect()
            return time.process_time() - begin

    def measure() -> float:
        return asyncio.run(last_few_of(many)) / asyncio.run(last_few_of(few))

    assert settled(measure, MOST) <= MOST
