"""Each call that the official JavaScript client was seen to make, and what it got: ours gets the same."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from signalr_sdk import (
    ClassicServerError,
    ConnectionClosedError,
    ConnectionFailedError,
    HandshakeError,
    HubError,
    NegotiationError,
    Transport,
)

from .conftest import Combination
from .hubs import Address, Person, hub_at, items_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from signalr_sdk import HubConnection

    from .hub_server import HubServer

TRANSCRIPT = Path(__file__).parent / "official-js-client.txt"
MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
OTHER_MOMENT = datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
BORN = {"json": datetime(1815, 12, 10, tzinfo=UTC), "messagepack": datetime(1970, 1, 1, tzinfo=UTC)}
HOME = {"json": Address("s", None), "messagepack": None}


async def failing_source() -> AsyncIterator[int]:
    yield 1
    raise ValueError("client failed")


async def stream(hub: HubConnection, method: str, *arguments: Any) -> Any:
    items: list[Any] = []
    try:
        async for item in hub.stream(method, *arguments):
            items.append(item)  # noqa: PERF401  # a comprehension would lose them with the error
    except HubError as error:
        return f"Error: after {in_javascript(items)}: {error}"
    return items


async def ask(hub: HubConnection, *handlers: Callable[[str], str]) -> Any:
    for handler in handlers:
        hub.on("Ask", handler)
    return await hub.invoke("AskCaller", "Ask", "hi")


def refuse(_question: str) -> str:
    raise ValueError("Error: no")  # JavaScript's text of an error begins like this


async def groups(hub: HubConnection) -> list[Any]:
    hub.on("Number", lambda a, b: a + b)
    await hub.invoke("JoinGroup", "official")
    events = hub.messages("Event")
    await hub.invoke("SendToGroup", "official", "Event", {"n": 1})
    return [*await events.next(timeout=5), await hub.invoke("AskCallerForNumber", "Number", 1, 2)]


async def flood(hub: HubConnection) -> int:
    async with hub.messages("Flood") as events:
        await hub.invoke("Flood", "Flood", 1000, 1)
        return len([await events.next(timeout=5) for _ in range(1000)])


async def abort(hub: HubConnection) -> str:
    with pytest.raises(ConnectionClosedError):
        await hub.invoke("AbortMe")
    await hub.wait_closed()
    return "no error"


# The calls that stand in the transcript without their arguments.
CALLS: dict[str, Callable[[HubConnection, str], Awaitable[Any]]] = {
    "EchoBytes": lambda hub, _: hub.invoke("EchoBytes", b"\x00\x01\x02\xff"),
    "EchoDecimal": lambda hub, _: hub.invoke("EchoDecimal", Decimal("12345.6789")),
    "EchoDateTime": lambda hub, _: hub.invoke("EchoDateTime", MOMENT),
    "EchoDateTimeOffset": lambda hub, _: hub.invoke("EchoDateTimeOffset", OTHER_MOMENT),
    "EchoDateOnly": lambda hub, _: hub.invoke("EchoDateOnly", date(2026, 2, 3)),
    "EchoTimeSpan": lambda hub, protocol: hub.invoke(
        "EchoTimeSpan", timedelta(hours=1, minutes=2, seconds=3) if protocol == "json" else timedelta(hours=1)
    ),
    "EchoGuid": lambda hub, _: hub.invoke("EchoGuid", UUID("01234567-89ab-cdef-0123-456789abcdef")),
    "EchoPerson": lambda hub, protocol: hub.invoke(
        "EchoPerson", Person("Ada", 36, 1.65, True, BORN[protocol], ["a"], HOME[protocol])
    ),
    "stream Counter": lambda hub, _: stream(hub, "Counter", 4, 0),
    "stream CounterChannel": lambda hub, _: stream(hub, "CounterChannel", 4),
    "stream CounterThenThrow": lambda hub, _: stream(hub, "CounterThenThrow", 3, "oops"),
    "stream Missing": lambda hub, _: stream(hub, "Missing"),
    "stream Add": lambda hub, _: stream(hub, "Add", 1, 2),
    "stream People": lambda hub, _: stream(hub, "People", 2),
    "upload Sum": lambda hub, _: hub.invoke("Sum", items_of([1, 2, 3, 4])),
    "upload error": lambda hub, _: hub.invoke("Sum", failing_source()),
    "upload SumFrom": lambda hub, _: hub.invoke("SumFrom", 10, items_of([1, 2, 3, 4])),
    "TakeThenThrow": lambda hub, _: hub.invoke("TakeThenThrow", items_of(range(10)), 2),
    "AskCaller ok": lambda hub, _: ask(hub, lambda question: question + "!"),
    "AskCaller throws": lambda hub, _: ask(hub, refuse),
    "AskCaller missing": lambda hub, _: ask(hub),
    "groups": lambda hub, _: groups(hub),
    "Flood": lambda hub, _: flood(hub),
    "AbortMe": lambda hub, _: abort(hub),
}
# What is another for each client and connection.
OWN = ("ConnectionId", "Header")


def lines() -> list[list[str]]:
    if not TRANSCRIPT.is_file():
        return []
    return [line.split("\t") for line in TRANSCRIPT.read_text(encoding="utf-8").split("\n") if "\t" in line]


def _calls() -> list[Any]:
    found = []
    for what, result, *_ in lines():
        protocol, _space, call = what.partition(" ")
        if protocol in ("json", "messagepack") and not call.startswith(OWN):
            found.append(pytest.param(protocol, call, result, id=f"{protocol} {call}"[:60]))
    return found


async def make(hub: HubConnection, protocol: str, call: str) -> Any:
    if call in CALLS:
        return await CALLS[call](hub, protocol)
    method, _space, arguments = call.partition(" ")
    if method == "Length":  # cut off in the transcript
        return await hub.invoke(method, "x" * 100_000)
    return await hub.invoke(method, *json.loads(arguments))


def _default(value: Any) -> str:
    assert isinstance(value, datetime), value
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def in_javascript(value: Any) -> str:
    """Return the value as the transcript writes it."""
    if isinstance(value, bytes):
        return f"bytes {value.hex()}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_default)


@pytest.mark.parametrize(("protocol", "call", "result"), _calls())
async def test_calls_end_as_they_do_in_javascript(protocol: Any, call: str, result: str, hub_server: HubServer) -> None:
    async with hub_at(hub_server, Combination(Transport.WEBSOCKETS, protocol)) as hub:
        try:
            value = await make(hub, protocol, call)
        except HubError as error:
            value = f"Error: {error}"
    seen = value if isinstance(value, str) and value.startswith("Error: ") else in_javascript(value)
    assert seen == result


# Starting

REFUSED: dict[str, tuple[type[Exception], str]] = {
    "/hub-all-blocked": (ConnectionFailedError, "403"),
    "/hub-json-only": (HandshakeError, "The protocol 'messagepack' is not supported"),
    "/hub-messagepack-only": (HandshakeError, "The protocol 'json' is not supported"),
    "/hub-sse": (ConnectionFailedError, "ServerSentEvents"),
    "/hub-refusing": (ConnectionFailedError, "HubException: no entry"),
    "/hub-auth": (NegotiationError, "401"),
    "/redirect-loop": (NegotiationError, "redirect"),
    "/negotiate-error": (NegotiationError, "This connection is not allowed"),
    "/negotiate-html": (NegotiationError, "JSON"),
    "/negotiate-empty": (ConnectionFailedError, ""),
    "/negotiate-500": (NegotiationError, "500"),
    "/negotiate-503": (NegotiationError, "503"),
    "/negotiate-classic": (ClassicServerError, "ASP.NET"),
    "/negotiate-unknown-transports": (ConnectionFailedError, "CarrierPigeon"),
    "/app-throttled": (NegotiationError, "429"),
    "/app-not-connected": (NegotiationError, "not connected yet"),
    "/client?hub=chat": (NegotiationError, "401"),
    "/nothing-here": (NegotiationError, "404"),
    "/hub-refresh": (NegotiationError, "401"),
}
# The refusal may come after the handshake: test_lifetime.py has it.
ELSEWHERE = ("/hub-refusing",)


def _starts() -> list[Any]:
    found = []
    for what, result, *_ in lines():
        kind, path, *options = [*what.split(" "), ""]
        if kind == "start" and path not in ELSEWHERE:
            protocol = "messagepack" if "msgpack" in "".join(options) else "json"
            found.append(pytest.param(protocol, path, result, id=f"{path} {protocol}"))
    return found


@pytest.mark.parametrize(("protocol", "path", "result"), _starts())
async def test_starts_end_as_they_do_in_javascript(
    protocol: str, path: str, result: str, hub_server: HubServer
) -> None:
    hub = hub_at(hub_server, None, path, protocol=protocol)
    if result.startswith("["):
        async with hub:
            assert [hub.transport, await hub.invoke("User")] == json.loads(result)
        return
    kind, text = REFUSED[path]
    with pytest.raises(kind) as caught:
        async with asyncio.timeout(5):
            await hub.start()
    assert text in str(caught.value)
