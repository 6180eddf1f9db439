"""A payload of many messages is handled in slices: the event loop gets turns meanwhile, and nothing else changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk._hub import link
from signalr_sdk.protocols import framing
from signalr_sdk.protocols.framing import BinaryFraming, TextFraming, frame_binary, frame_text

if TYPE_CHECKING:
    from tests.scripted import ScriptedServer

PING = b'{"type":6}\x1e'
MANY = 20_000


def event(number: int) -> bytes:
    return b'{"type":1,"target":"Tick","arguments":[%d]}\x1e' % number


async def turns_until(done: asyncio.Event) -> int:
    """Count the turns of the event loop."""
    turns = 0
    while not done.is_set():
        await asyncio.sleep(0)
        turns += 1
    return turns


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every slice take too long, however fast the machine is."""
    monkeypatch.setattr(link, "_SLICE", -1.0)


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize("flood", [PING, b'{"type":99}\x1e', b'{"type":3,"invocationId":"no one"}\x1e', event(0)])
async def test_the_event_loop_gets_turns_during_a_flood(server: ScriptedServer, flood: bytes) -> None:
    hub, done = server.hub(), asyncio.Event()
    hub.on("Done", done.set)
    hub.on("Tick", lambda _number: None)
    socket = await server.accept(hub)
    socket.say(flood * MANY + b'{"type":1,"target":"Done","arguments":[]}\x1e')
    assert await turns_until(done) > len(flood) * MANY // framing._SLICE
    await hub.stop()


@pytest.mark.usefixtures("no_time")
async def test_order_and_answers_are_as_ever(server: ScriptedServer) -> None:
    hub = server.hub()
    seen: list[int] = []
    hub.on("Tick", seen.append)
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Ask"))
    asked = await socket.next()
    answer = b'{"type":3,"invocationId":"%s","result":7}\x1e' % asked["invocationId"].encode()
    socket.say(b"".join(map(event, range(MANY))) + answer + b"".join(map(event, range(MANY, 2 * MANY))))
    assert await call == 7
    socket.say(b'{"type":7}\x1e')
    await hub.wait_closed()
    assert seen == list(range(2 * MANY))


async def test_what_follows_a_close_message_is_not_read(server: ScriptedServer) -> None:
    hub = server.hub()
    seen: list[Any] = []
    hub.on_any(lambda *event: seen.append(event))
    socket = await server.accept(hub)
    socket.say(PING * MANY + b'{"type":7}\x1e' + event(1) * MANY)
    await hub.wait_closed()
    assert seen == []


async def test_a_flood_behind_the_handshake_is_read_too(server: ScriptedServer) -> None:
    hub = server.hub()
    last = asyncio.Event()
    hub.on("Tick", lambda number: last.set() if number == MANY - 1 else None)
    await server.accept(hub, b"".join(map(event, range(MANY))))
    await last.wait()
    await hub.stop()


@pytest.mark.parametrize(("kind", "frame"), [(TextFraming, frame_text), (BinaryFraming, frame_binary)])
def test_no_slice_has_more_than_it_may(kind: Any, frame: Any) -> None:
    splitter = kind(1 << 20)
    payload = frame(b"12") * 100_000
    frames, slices = splitter.feed(payload), 1
    assert len(frames) <= framing._SLICE
    while splitter.unread:
        more = splitter.feed(b"")
        assert 0 < len(more) <= framing._SLICE
        frames += more
        slices += 1
    assert (len(frames), splitter.error, splitter.pending) == (100_000, None, 0)
    assert slices >= len(payload) // framing._SLICE


@pytest.mark.parametrize(("kind", "frame"), [(TextFraming, frame_text), (BinaryFraming, frame_binary)])
def test_a_payload_that_comes_before_the_last_one_is_read_loses_nothing(kind: Any, frame: Any) -> None:
    splitter = kind(1 << 20)
    payload = frame(b"12") * 50_000
    frames = splitter.feed(payload + frame(b"cut")[:2]) + splitter.feed(frame(b"cut")[2:] + frame(b"end"))
    while splitter.unread:
        frames += splitter.feed(b"")
    assert frames == [b"12"] * 50_000 + [b"cut", b"end"]
