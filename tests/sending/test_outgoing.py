"""The outgoing buffer: order, joining, bounds, ends."""

from __future__ import annotations

import asyncio
import logging

import pytest

from signalr_sdk._sending.outgoing import Outgoing
from signalr_sdk.errors import ConnectionClosedError, SignalRError


class Gate:
    """A transport whose writes wait until the test lets them pass."""

    def __init__(self, *, open_: bool = True) -> None:
        self.writes: list[bytes] = []
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.error: SignalRError | None = None
        self.flushes = 0
        if open_:
            self.gate.set()

    async def send(self, data: bytes, /) -> None:
        self.entered.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.writes.append(data)

    def send_now(self, _data: bytes, /) -> bool:
        return False

    async def flush(self) -> None:
        self.flushes += 1


def make(transport: Gate, limit: int = 100) -> tuple[Outgoing, list[SignalRError]]:
    failures: list[SignalRError] = []
    return Outgoing(transport, limit, writing=lambda: None, failed=failures.append), failures


async def test_what_gathers_in_one_turn_leaves_in_one_write() -> None:
    transport = Gate()
    outgoing, _failures = make(transport)
    for data in (b"a", b"b", b"c"):
        outgoing.put_now(data)
    await outgoing.flush()
    assert transport.writes == [b"abc"]
    assert transport.flushes == 1
    assert outgoing.unsent == 0


class PromptGate(Gate):
    """A transport that can take a message at once, while it is open."""

    def send_now(self, data: bytes, /) -> bool:
        if not self.gate.is_set():
            return False
        self.writes.append(data)
        return True


async def test_what_follows_a_message_that_came_alone_leaves_at_once_and_the_rest_joined() -> None:
    transport = PromptGate()
    outgoing, _failures = make(transport)
    outgoing.eager = True
    outgoing.put_now(b"a")
    assert transport.writes == [b"a"]
    assert outgoing.unsent == 0
    for data in (b"b", b"c"):
        outgoing.put_now(data)
    assert outgoing.unsent == 2
    # The writer has something already: nothing may overtake it.
    outgoing.eager = True
    outgoing.put_now(b"d")
    await outgoing.flush()
    assert transport.writes == [b"a", b"bcd"]


async def test_one_that_waited_for_room_and_leaves_at_once_keeps_nobody_waiting() -> None:
    transport = PromptGate(open_=False)
    outgoing, _failures = make(transport, limit=1)
    outgoing.put_now(b"first")
    senders = [asyncio.create_task(outgoing.put(str(n).encode())) for n in range(4)]
    await transport.entered.wait()
    outgoing.eager = True
    transport.gate.set()
    await asyncio.gather(*senders)
    await outgoing.flush()
    assert b"".join(transport.writes) == b"first0123"


@pytest.mark.parametrize("transport", [Gate(open_=False), PromptGate(open_=False)])
async def test_what_cannot_leave_at_once_waits_for_the_writer(transport: Gate) -> None:
    transport.gate, transport.entered = asyncio.Event(), asyncio.Event()
    outgoing, _failures = make(transport)
    outgoing.eager = True
    outgoing.put_now(b"a")
    outgoing.put_now(b"b")
    assert outgoing.unsent == 2
    transport.gate.set()
    await outgoing.flush()
    assert transport.writes == [b"ab"]


async def test_senders_wait_for_room_and_leave_in_the_order_of_their_calls() -> None:
    transport = Gate(open_=False)
    outgoing, _failures = make(transport, limit=10)
    outgoing.put_now(b"0" * 10)
    senders = [asyncio.create_task(outgoing.put(str(n).encode())) for n in range(1, 6)]
    await transport.entered.wait()
    assert outgoing.full
    assert not any(sender.done() for sender in senders)
    transport.gate.set()
    await asyncio.gather(*senders)
    await outgoing.flush()
    assert b"".join(transport.writes) == b"000000000012345"


async def test_a_cancelled_sender_has_sent_nothing() -> None:
    transport = Gate(open_=False)
    outgoing, _failures = make(transport, limit=1)
    outgoing.put_now(b"first")
    waiting = asyncio.create_task(outgoing.put(b"never"))
    last = asyncio.create_task(outgoing.put(b"last"))
    await transport.entered.wait()
    waiting.cancel()
    transport.gate.set()
    await last
    await outgoing.flush()
    assert transport.writes == [b"first", b"last"]


async def test_flush_waits_for_what_was_sent_before_it_only() -> None:
    transport = Gate(open_=False)
    outgoing, _failures = make(transport)
    outgoing.put_now(b"before")
    flush = asyncio.create_task(outgoing.flush())
    await transport.entered.wait()
    later = asyncio.create_task(outgoing.flush())
    outgoing.put_now(b"after")
    assert not flush.done()
    transport.gate.set()
    await asyncio.gather(flush, later)
    await outgoing.flush()
    assert transport.writes == [b"before", b"after"]


async def test_the_end_tells_all_that_wait_and_drops_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    transport = Gate(open_=False)
    outgoing, _failures = make(transport, limit=1)
    outgoing.put_now(b"stuck")
    waiting = asyncio.create_task(outgoing.put(b"x"))
    flush = asyncio.create_task(outgoing.flush())
    gone = asyncio.create_task(outgoing.put(b"y"))
    await transport.entered.wait()
    gone.cancel()
    cause = ConnectionClosedError("over")
    outgoing.end(cause)
    outgoing.end(ConnectionClosedError("twice"))
    for task in (waiting, flush):
        with pytest.raises(ConnectionClosedError, match="over") as caught:
            await task
        assert caught.value.__cause__ is cause
    outgoing.put_now(b"z")
    for refused in (outgoing.put(b"z"), outgoing.flush()):
        with pytest.raises(ConnectionClosedError):
            await refused
    assert outgoing.unsent == 1
    await outgoing.close()
    await outgoing.close()
    assert transport.writes == []


async def test_a_transport_that_fails_is_reported_once() -> None:
    transport = Gate()
    transport.error = ConnectionClosedError("reset")
    outgoing, failures = make(transport)
    outgoing.put_now(b"x")
    await transport.entered.wait()
    await asyncio.sleep(0)
    assert failures == [transport.error]
