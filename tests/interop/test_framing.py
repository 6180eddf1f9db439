"""What a server says word for word: cut anywhere, joined, early, late, wrong, or too large."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import msgpack
import pytest

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    HandshakeError,
    HubConnection,
    JsonProtocol,
    Limits,
    MessagePackProtocol,
    RemoteProtocolError,
    Retry,
    Timeouts,
    Transport,
)
from signalr_sdk.messages import Completion, HubMessage, Invocation, StreamItem
from signalr_sdk.protocols.framing import frame_binary

from .conftest import COMBINATIONS, Combination

if TYPE_CHECKING:
    from signalr_sdk import Messages

    from .hub_server import HubServer

WS_JSON, WS_MESSAGEPACK = COMBINATIONS[:2]
ACCEPTED = b"{}\x1e"
TEXTS = ["é🚀", "two\x1e\n", ""]

Step = dict[str, Any]
READ: Step = {"read": True}
ABORT: Step = {"abort": True}


def write(data: bytes, **more: int) -> Step:
    return {"bytes": base64.b64encode(data).decode(), **more}


# Accept, and go on when the client is connected: it says so with a ping, or as `Said` has it do over long polling.
CONNECTED = [write(ACCEPTED), READ]


def byte_by_byte(data: bytes) -> list[Step]:
    """Write each byte apart; the delay has the server send it before the next."""
    return [write(data[index : index + 1], delay=1) for index in range(len(data))]


class Said:
    """A client whose server follows a script: it reads the handshake, then does these steps."""

    def __init__(self, server: HubServer, combination: Combination, *steps: Step, **options: Any) -> None:
        text = base64.b64encode(json.dumps([READ, *steps], separators=(",", ":")).encode()).decode()
        self.hub = HubConnection(
            server.url(f"/scripted?script={quote(text, safe='')}"),
            **{"reconnect": False, **combination.options, **options},
        )
        self._events: Messages = self.hub.messages("Event")

    async def __aenter__(self) -> Self:
        await self.hub.start()
        if self.hub.transport is Transport.LONG_POLLING:
            await self.hub.send("Connected")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hub.stop()

    async def arguments(self) -> list[Any]:
        return list(await self._events.next())

    async def hears(self, *expected: list[Any]) -> None:
        assert [await self.arguments() for _ in expected] == list(expected)

    async def ends(self) -> BaseException:
        with pytest.raises((ConnectionClosedError, RemoteProtocolError)) as caught:
            await self.hub.wait_closed()
        assert self.hub.state is ConnectionState.DISCONNECTED
        return caught.value


def encoded(combination: Combination, *messages: HubMessage) -> bytes:
    protocol = JsonProtocol() if combination.protocol == "json" else MessagePackProtocol()
    return b"".join(map(protocol.encode, messages))


def event(*arguments: Any) -> Invocation:
    return Invocation("Event", list(arguments))


def calling(combination: Combination, *answer: HubMessage) -> list[Step]:
    """Say "call" when a call may come, and answer the first one with these."""
    go, then = encoded(combination, event("call")), encoded(combination, *answer)
    return [*CONNECTED, write(go), READ, write(then)]


# Cut anywhere, joined with others


async def test_messages_that_come_byte_by_byte(hub_server: HubServer, combination: Combination) -> None:
    data = encoded(combination, event(TEXTS[0], 1), event(None))
    async with Said(hub_server, combination, write(ACCEPTED), *byte_by_byte(data)) as said:
        await said.hears([TEXTS[0], 1], [None])


async def test_a_handshake_answer_that_comes_byte_by_byte(hub_server: HubServer, combination: Combination) -> None:
    data = ACCEPTED + encoded(combination, event(1))
    async with Said(hub_server, combination, *byte_by_byte(data)) as said:
        await said.hears([1])


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 20, -1])
async def test_a_cut_at_any_place(hub_server: HubServer, combination: Combination, cut: int) -> None:
    data = ACCEPTED + encoded(combination, event(*TEXTS), event(2))
    async with Said(hub_server, combination, write(data[:cut], delay=20), write(data[cut:])) as said:
        await said.hears(TEXTS, [2])


async def test_several_messages_in_one_piece(hub_server: HubServer, combination: Combination) -> None:
    data = encoded(combination, *(event(number) for number in range(50)))
    async with Said(hub_server, combination, write(ACCEPTED), write(data)) as said:
        await said.hears(*([number] for number in range(50)))


async def test_messages_next_to_the_handshake_answer(hub_server: HubServer, combination: Combination) -> None:
    data = ACCEPTED + encoded(combination, event(1), event(2)) + encoded(combination, event(3))[:5]
    rest = encoded(combination, event(3))[5:]
    async with Said(hub_server, combination, write(data, delay=20), write(rest)) as said:
        await said.hears([1], [2], [3])


@pytest.mark.parametrize("transport", list(Transport))
async def test_json_on_several_lines(hub_server: HubServer, transport: Transport) -> None:
    combination = Combination(transport, "json")
    text = b'{\n "type" : 1,\n\n "target":"Event",\n"arguments":\n[ 1 ]\n}\x1e'
    async with Said(hub_server, combination, write(ACCEPTED), write(text), *byte_by_byte(text)) as said:
        await said.hears([1], [1])


async def test_the_members_of_a_handshake_answer_are_ignored(hub_server: HubServer, combination: Combination) -> None:
    answer = b'{"minorVersion":7,"error":null,"future":{"a":[1]}}\x1e'
    async with Said(hub_server, combination, write(answer), write(encoded(combination, event(1)))) as said:
        await said.hears([1])


# The handshake


async def test_a_handshake_that_is_never_answered(hub_server: HubServer, combination: Combination) -> None:
    hub = HubConnection(
        hub_server.url("/scripted"), timeouts=Timeouts(handshake=0.2), reconnect=False, **combination.options
    )
    with pytest.raises(HandshakeError, match=r"did not answer the handshake within 0\.2 s"):
        await hub.start()
    assert hub.state is ConnectionState.DISCONNECTED


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b'{"error":"The protocol is not supported."}\x1e', "The protocol is not supported."),
        (b"garbage\x1e", "is not JSON: 'garbage'"),
        (b"\xff\xfe\x1e", "is not JSON"),
        (b"[]\x1e", "is not a JSON object"),
        (b"\x1e", "is not JSON"),
        (b'{"type":6}\x1e', "a hub message of type 6 came"),
        (b'{"type":7,"error":"go away"}\x1e', "go away"),
        (ACCEPTED + b'{"type":7,"error":"no entry"}\x1e', "no entry"),
    ],
)
async def test_a_handshake_answer_that_is_none(hub_server: HubServer, said: bytes, reason: str) -> None:
    for combination in COMBINATIONS:
        if b"type" in said and combination.protocol == "messagepack":
            continue
        with pytest.raises(HandshakeError) as caught:
            await Said(hub_server, combination, write(said)).hub.start()
        assert reason in str(caught.value)


async def test_more_than_any_handshake_answer(hub_server: HubServer, combination: Combination) -> None:
    with pytest.raises(HandshakeError, match="does not look like a hub"):
        await Said(hub_server, combination, write(b"<p>" * 100, repeat=300)).hub.start()


async def test_a_server_that_hangs_up_instead_of_answering(hub_server: HubServer, combination: Combination) -> None:
    with pytest.raises(HandshakeError):
        await Said(hub_server, combination, ABORT).hub.start()


async def test_a_server_that_hangs_up_within_its_answer(hub_server: HubServer, combination: Combination) -> None:
    with pytest.raises(HandshakeError):
        await Said(hub_server, combination, write(b'{"mi', delay=20), ABORT).hub.start()


# What is not known is ignored

UNKNOWN_JSON: list[dict[str, Any]] = [
    {"type": 42, "future": [1]},
    {"type": 0},
    {"type": -1},
    {"type": 6, "future": 1},
    {"type": 3, "invocationId": "999", "result": 1},
    {"type": 2, "invocationId": "999", "item": 1},
    {"type": 4, "invocationId": "998", "target": "Event", "arguments": ["a stream"]},
    {"type": 5, "invocationId": "999"},
    {"type": 8, "sequenceId": 1},
    {"type": 9, "sequenceId": 1},
    {"type": 1, "target": "Event", "arguments": [1], "future": {"a": 1}, "headers": {"h": "1"}},
    {"arguments": [2], "target": "Event", "type": 1},
]
UNKNOWN_MESSAGEPACK: list[list[Any]] = [
    [42, "future", [1]],
    [0],
    [-1],
    [6, "future"],
    [3, {}, "999", 3, 1],
    [2, {}, "999", 1],
    [4, {}, "998", "Event", ["a stream"], []],
    [5, {}, "999"],
    [8, 1],
    [9, 1],
    [1, {"h": "1"}, None, "Event", [1], [], "future"],
    [1, {}, None, "Event", [2]],
]


async def test_unknown_types_properties_and_ids_are_ignored(hub_server: HubServer, combination: Combination) -> None:
    if combination.protocol == "json":
        frames = [json.dumps(message).encode() + b"\x1e" for message in UNKNOWN_JSON]
    else:
        frames = [frame_binary(msgpack.packb(message)) for message in UNKNOWN_MESSAGEPACK]
    async with Said(hub_server, combination, write(ACCEPTED), *map(write, frames)) as said:
        await said.hears([1], [2])
        assert said.hub.state is ConnectionState.CONNECTED


async def test_an_id_is_completed_once(hub_server: HubServer, combination: Combination) -> None:
    answer = (
        Completion("1", "first", has_result=True),
        Completion("1", "second", has_result=True),
        Completion("1", error="third"),
        StreamItem("1", "fourth"),
        event("end"),
    )
    async with Said(hub_server, combination, *calling(combination, *answer)) as said:
        await said.hears(["call"])
        assert await said.hub.invoke("Anything") == "first"
        await said.hears(["end"])
        assert said.hub.state is ConnectionState.CONNECTED


async def test_a_stream_ends_with_its_first_completion(hub_server: HubServer, combination: Combination) -> None:
    answer = (
        StreamItem("1", "a"),
        StreamItem("2", "of nobody"),
        StreamItem("1", "b"),
        Completion("1"),
        StreamItem("1", "c"),
        Completion("1", error="too late"),
        event("end"),
    )
    async with Said(hub_server, combination, *calling(combination, *answer)) as said:
        await said.hears(["call"])
        assert [item async for item in said.hub.stream("Anything")] == ["a", "b"]
        await said.hears(["end"])


async def test_items_for_a_plain_call_are_not_its_result(hub_server: HubServer, combination: Combination) -> None:
    answer = (Completion("1", None, has_result=True), event("end"))
    async with Said(hub_server, combination, *calling(combination, *answer)) as said:
        await said.hears(["call"])
        assert await said.hub.invoke("Anything") is None
        await said.hears(["end"])


# Garbage


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\x1e",
        b"\xff\xfe\x1e",
        b"\x1e",
        b"[]\x1e",
        b"{}\x1e",
        b"null\x1e",
        b'{"type":"1"}\x1e',
        b'{"type":true}\x1e',
        b'{"type":1}\x1e',
        b'{"type":1,"target":"Event","arguments":{}}\x1e',
        b'{"type":2,"invocationId":"1"}\x1e',
        b'{"type":3,"result":1}\x1e',
        b'{"type":3,"invocationId":"1","result":1,"error":"both"}\x1e',
        b'{"type":7,"error":1}\x1e',
        b"[" * 3000 + b"\x1e",
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)
async def test_json_garbage_ends_the_connection(hub_server: HubServer, garbage: bytes) -> None:
    data = encoded(WS_JSON, event("before")) + garbage + encoded(WS_JSON, event("after"))
    async with Said(hub_server, WS_JSON, *CONNECTED, write(data)) as said:
        assert isinstance(await said.ends(), RemoteProtocolError)
        await said.hears(["before"])
        with pytest.raises(StopAsyncIteration):
            await said.arguments()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00",
        b"\x01\xc1",
        b"\x02\x92\x01",
        b"\xff\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\x07",
        frame_binary(msgpack.packb({"type": 6})),
        frame_binary(msgpack.packb([])),
        frame_binary(msgpack.packb(["6"])),
        frame_binary(msgpack.packb([True])),
        frame_binary(msgpack.packb([1])),
        frame_binary(msgpack.packb([1, {}, None, "Event", {}])),
        frame_binary(msgpack.packb([2, {}, 1, 1])),
        frame_binary(msgpack.packb([3, {}, "1", 9, 1])),
        frame_binary(msgpack.packb([7, 1])),
        frame_binary(msgpack.packb([6]) + b"\x01"),
        frame_binary(b"\x91" * 2000),
        b'{"type":6}\x1e',
    ],
    ids=lambda data: data[:20].hex(),
)
async def test_message_pack_garbage_ends_the_connection(hub_server: HubServer, garbage: bytes) -> None:
    data = encoded(WS_MESSAGEPACK, event("before")) + garbage + encoded(WS_MESSAGEPACK, event("after" * 50))
    async with Said(hub_server, WS_MESSAGEPACK, *CONNECTED, write(data)) as said:
        assert isinstance(await said.ends(), RemoteProtocolError)
        await said.hears(["before"])
        with pytest.raises(StopAsyncIteration):
            await said.arguments()


async def test_garbage_ends_what_is_pending_on_each_transport(hub_server: HubServer, combination: Combination) -> None:
    steps = calling(combination)
    garbage = b"garbage\x1e" if combination.protocol == "json" else b"\x01\xc1"
    async with Said(hub_server, combination, *steps[:-1], write(garbage)) as said:
        await said.hears(["call"])
        with pytest.raises(ConnectionClosedError, match="'Anything'") as caught:
            await said.hub.invoke("Anything")
        assert isinstance(caught.value.__cause__, RemoteProtocolError)
        assert isinstance(await said.ends(), RemoteProtocolError)


async def test_garbage_is_a_loss_that_is_reconnected(hub_server: HubServer) -> None:
    said = Said(hub_server, WS_JSON, *CONNECTED, write(b"garbage\x1e"), reconnect=Retry.delays(0, 0))
    connected: list[str | None] = []
    said.hub.on_connected(connected.append)
    async with said:
        assert isinstance(await said.ends(), RemoteProtocolError)
    assert len(connected) == len(set(connected)) == 3


# Sizes

LIMIT = 1000
LIMITS = Limits(message_bytes=LIMIT)


def of_size(combination: Combination, size: int) -> bytes:
    """Return an event whose message has so many bytes, without what frames it."""
    frame = 1 if combination.protocol == "json" else 2
    text = "x" * 500
    text += "x" * (size - (len(encoded(combination, event(text))) - frame))
    data = encoded(combination, event(text))
    assert len(data) == size + frame
    return data


async def test_a_message_of_the_largest_size(hub_server: HubServer, combination: Combination) -> None:
    data = of_size(combination, LIMIT)
    async with Said(
        hub_server, combination, write(ACCEPTED), write(data), *map(write, (data[:600], data[600:])), limits=LIMITS
    ) as said:
        first, second = await said.arguments(), await said.arguments()
        assert first == second


@pytest.mark.parametrize("cut", [1001, 600])
async def test_a_message_over_the_limit(hub_server: HubServer, combination: Combination, cut: int) -> None:
    data = of_size(combination, LIMIT + 1)
    before = encoded(combination, event("before"))
    async with Said(
        hub_server, combination, *CONNECTED, write(before + data[:cut], delay=20), write(data[cut:]), limits=LIMITS
    ) as said:
        error = await said.ends()
        assert isinstance(error, RemoteProtocolError)
        assert "Limits.message_bytes can raise it" in str(error)
        await said.hears(["before"])


async def test_a_message_over_the_limit_is_not_waited_for(hub_server: HubServer, combination: Combination) -> None:
    endless = [write(b"x" * 100, repeat=20)]
    announced = [write(frame_binary(b"x" * (LIMIT + 1))[:10])]
    steps = endless if combination.protocol == "json" else announced
    async with Said(hub_server, combination, *CONNECTED, *steps, limits=LIMITS) as said:
        assert isinstance(await said.ends(), RemoteProtocolError)


async def test_the_limit_is_for_each_message(hub_server: HubServer, combination: Combination) -> None:
    data = encoded(combination, *(event("x" * 50, number) for number in range(20)))
    assert len(data) > LIMIT
    limits = Limits(message_bytes=200)
    async with Said(hub_server, combination, write(ACCEPTED), write(data), limits=limits) as said:
        await said.hears(*(["x" * 50, number] for number in range(20)))


# The end


@pytest.mark.parametrize("rest", [0, 10], ids=["between", "within"])
async def test_a_server_that_hangs_up(hub_server: HubServer, combination: Combination, rest: int) -> None:
    go, more = encoded(combination, event("call")), encoded(combination, event("never whole"))[:rest]
    async with Said(hub_server, combination, *calling(combination)[:-1], write(go + more, delay=20), ABORT) as said:
        await said.hears(["call"])
        with pytest.raises(ConnectionClosedError, match="may or may not have run"):
            await said.hub.invoke("Anything")
        error = await said.ends()
        assert isinstance(error, ConnectionClosedError)
        assert error.allow_reconnect
        assert error.reason is None
        await said.hears(["call"])
        with pytest.raises(StopAsyncIteration):
            await said.arguments()


CLOSES: list[tuple[dict[str, Any], list[Any], str | None, bool]] = [
    ({"type": 7, "error": "bye"}, [7, "bye"], "bye", False),
    ({"type": 7, "error": "bye", "allowReconnect": True}, [7, "bye", True], "bye", True),
    ({"type": 7, "error": "bye", "future": 1}, [7, "bye", False, "future"], "bye", False),
    ({"type": 7, "allowReconnect": True}, [7, None, True], None, True),
]


@pytest.mark.parametrize("close", CLOSES, ids=lambda close: str(close[1]))
async def test_a_close_message(
    hub_server: HubServer, combination: Combination, close: tuple[dict[str, Any], list[Any], str | None, bool]
) -> None:
    as_json, as_messagepack, reason, allow = close
    data = json.dumps(as_json).encode() + b"\x1e" if combination.protocol == "json" else b""
    data = data or frame_binary(msgpack.packb(as_messagepack))
    after = encoded(combination, event("after"))
    async with Said(hub_server, combination, *CONNECTED, write(data + after)) as said:
        error = await said.ends()
        assert isinstance(error, ConnectionClosedError)
        assert (error.reason, error.allow_reconnect) == (reason, allow)
        with pytest.raises(StopAsyncIteration):
            await said.arguments()


async def test_a_close_message_without_error_is_an_end_in_good_order(
    hub_server: HubServer, combination: Combination
) -> None:
    data = b'{"type":7}\x1e' if combination.protocol == "json" else frame_binary(msgpack.packb([7, None]))
    async with Said(hub_server, combination, *CONNECTED, write(data)) as said:
        await said.hub.wait_closed()
        assert said.hub.state is ConnectionState.DISCONNECTED
