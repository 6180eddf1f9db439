"""What type checkers must say of the public names. This is never run: test_typing.py has mypy read it.

A wrong use carries `type: ignore` with its code; mypy (strict) complains if there is nothing to ignore.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol, assert_type
from uuid import UUID

import attrs

from signalr_sdk import (
    Connection,
    ConnectionState,
    HubConnection,
    HubEvent,
    JsonProtocol,
    Limits,
    MessagePackProtocol,
    Messages,
    Retry,
    Stream,
    Timeouts,
    TokenProvider,
    TokenRequest,
    Transport,
    Upload,
    classic,
    event,
    method,
    sync,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from signalr_sdk.sync import classic as sync_classic


@attrs.frozen
class Person:
    name: str


class Color(Enum):
    RED = 1


async def results_of_classic_hubs_too(hub: classic.HubProxy, of_threads: sync_classic.HubProxy) -> None:
    assert_type(await hub.invoke("Get", on_progress=print), Any)
    assert_type(await hub.invoke("Get", 1, result_type=int | None, timeout=5), int | None)
    assert_type(await hub.invoke("Get", result_type=list[Person], on_progress=print), list[Person])
    assert_type(hub.messages("event"), Messages)
    assert_type(hub.events("a", "b"), Messages[HubEvent])
    assert_type(hub.state, dict[str, Any])
    assert_type(of_threads.invoke("Get", result_type=Person), Person)
    assert_type(of_threads.messages("event"), sync.Messages)


async def results_have_the_type_that_was_asked_for(hub: HubConnection) -> None:
    assert_type(await hub.invoke("Get"), Any)
    assert_type(await hub.invoke("Get", 1, "two", timeout=5), Any)
    assert_type(await hub.invoke("Get", result_type=int), int)
    assert_type(await hub.invoke("Get", result_type=int | None), int | None)
    assert_type(await hub.invoke("Get", result_type=Person), Person)
    assert_type(await hub.invoke("Get", result_type=Person | None), Person | None)
    assert_type(await hub.invoke("Get", result_type=list[Person]), list[Person])
    assert_type(await hub.invoke("Get", 1, result_type=dict[str, list[int]], timeout=None), dict[str, list[int]])
    assert_type(await hub.invoke("Get", result_type=tuple[int, str]), tuple[int, str])
    assert_type(await hub.invoke("Get", result_type=Color), Color)
    assert_type(await hub.invoke("Get", result_type=UUID), UUID)
    assert_type(await hub.invoke("Get", result_type=Decimal), Decimal)
    assert_type(await hub.invoke("Get", result_type=datetime), datetime)
    await hub.send("Put", Person("Ada"))

    text = await hub.invoke("Get", result_type=str)
    number: int = text  # type: ignore[assignment]
    await hub.invoke(1)  # type: ignore[call-overload]
    await hub.invoke("Get", timeout="5")  # type: ignore[call-overload]
    await hub.invoke("Get", result_type=5)  # type: ignore[call-overload]
    await hub.send("Put", result_type=int)  # type: ignore[call-arg]
    hub.invoke("Get")  # type: ignore[unused-coroutine]
    assert number


async def streams_have_the_type_of_their_items(hub: HubConnection) -> None:
    assert_type(hub.stream("Count", 10), Stream[Any])
    assert_type(hub.stream("Count", 10, item_type=int), Stream[int])
    assert_type(hub.stream("People", item_type=Person | None, buffer=10), Stream[Person | None])
    async for number in hub.stream("Count", item_type=int):
        assert_type(number, int)
    async with hub.stream("People", item_type=list[Person]) as people:
        assert_type(people, Stream[list[Person]])
        assert_type(await people.next(timeout=1), list[Person])
        assert_type(await anext(people), list[Person])
        await people.cancel()

    await hub.stream("Count")  # type: ignore[misc]
    for _ in hub.stream("Count"):  # type: ignore[attr-defined]
        pass


def handlers_keep_their_type(hub: HubConnection) -> None:
    @hub.on("Shown")
    def show(user: str, text: str) -> int:
        return len(user) + len(text)

    @hub.on("Asked")
    async def answer(question: str) -> bool:
        return bool(question)

    def later(number: int) -> None:
        del number

    assert_type(show("a", "b"), int)
    assert_type(hub.on("Later", later)(1), None)
    show(1, "b")  # type: ignore[arg-type]
    kept: Callable[[str], Awaitable[bool]] = answer
    hub.off("Asked", kept)
    hub.off(handler=later)
    hub.on("Never", 5)  # type: ignore[call-overload]
    hub.on(5)  # type: ignore[call-overload]


def lifecycle_handlers_keep_their_type(hub: HubConnection) -> None:
    @hub.on_connected
    async def connected(connection_id: str | None) -> None:
        del connection_id

    @hub.on_reconnecting
    @hub.on_closed
    @hub.on_error
    def failed(error: Exception | None) -> str:
        return str(error)

    @hub.on_any
    def anything(event: str, args: list[Any]) -> None:
        del event, args

    assert_type(failed(None), str)
    hub.on_reconnected(connected)
    hub.off(handler=anything)
    hub.on_closed("no handler")  # type: ignore[type-var]


async def events_come_as_tuples(hub: HubConnection) -> None:
    assert_type(hub.messages("Trade", buffer=10, overflow="drop_oldest"), Messages)
    async for arguments in hub.messages("Trade"):
        assert_type(arguments, tuple[Any, ...])
    assert_type(await hub.wait_for("Trade", timeout=5), tuple[Any, ...])
    hub.messages("Trade", overflow="newest")  # type: ignore[arg-type]


async def several_events_come_with_their_names(hub: HubConnection) -> None:
    events = hub.events("Trade", "Price", buffer=10, overflow="drop_oldest")
    assert_type(events, Messages[HubEvent])
    async for name, arguments in hub.events():
        assert_type(name, str)
        assert_type(arguments, tuple[Any, ...])
    async with events as same:
        assert_type(await same.next(timeout=1), HubEvent)
    hub.events("Trade", 5)  # type: ignore[arg-type]
    hub.events("Trade", overflow="newest")  # type: ignore[arg-type]


async def uploads_are_arguments(hub: HubConnection) -> None:
    upload = Upload[int]()
    await upload.send(1)
    upload.close()
    await hub.invoke("Sum", upload, Upload([1, 2]), result_type=int)


class ChatHub(Protocol):
    """A hub."""

    async def add(self, a: int, b: int = 0) -> int: ...
    async def person(self) -> Person | None: ...
    async def clear(self) -> None: ...
    def counter(self, count: int) -> AsyncIterator[int]: ...
    def people(self) -> Stream[Person]: ...
    async def total(self, numbers: AsyncIterator[int]) -> int: ...
    @method("Log", send=True)
    async def log(self, text: str) -> None: ...


class AbstractHub(ABC):
    """Another."""

    @abstractmethod
    async def add(self, a: int, b: int) -> int: ...


async def numbers() -> AsyncIterator[int]:
    yield 1


async def proxies_are_what_was_declared(hub: HubConnection) -> None:
    chat = hub.proxy(ChatHub)
    assert_type(chat, ChatHub)
    assert_type(hub.proxy(AbstractHub, naming="camel"), AbstractHub)
    assert_type(await chat.add(1, b=2), int)
    assert_type(await chat.person(), Person | None)
    async for number in chat.counter(10):
        assert_type(number, int)
    async with chat.people() as people:
        assert_type(await people.next(timeout=1), Person)
    assert_type(await chat.total(numbers()), int)
    await chat.clear()
    await chat.log("text")

    await chat.add("1")  # type: ignore[arg-type]
    await chat.total([1, 2])  # type: ignore[arg-type]
    await chat.log(1)  # type: ignore[arg-type]
    chat.clear()  # type: ignore[unused-coroutine]
    await chat.unknown()  # type: ignore[attr-defined]
    hub.proxy(5)  # type: ignore[arg-type]
    hub.proxy(ChatHub, naming="kebab")  # type: ignore[arg-type]


class Receiver:
    """Handles events."""

    @event
    def receive_message(self, user: str, text: str) -> int:
        return len(user) + len(text)

    @event("user-joined")
    async def joined(self, user: str) -> str:
        return user


async def receivers_keep_their_type(hub: HubConnection) -> None:
    receiver = hub.register(Receiver())
    assert_type(receiver, Receiver)
    assert_type(receiver.receive_message("a", "b"), int)
    assert_type(await receiver.joined("a"), str)
    hub.off(handler=receiver)
    receiver.receive_message(1, "b")  # type: ignore[arg-type]
    event(5)  # type: ignore[call-overload]
    method(send="yes")  # type: ignore[arg-type]


async def options_are_checked() -> None:
    async def token() -> str | None:
        return None

    hub = HubConnection(
        "https://example.com/chat",
        transports=(Transport.WEBSOCKETS, "LongPolling"),
        access_token=token,
        protocol=MessagePackProtocol(naming=None),
        reconnect=Retry.delays(0, 2, 10, 30),
        timeouts=Timeouts(server=None),
        limits=Limits(messages=10),
    )
    async with hub as same:
        assert_type(same, HubConnection)
    assert_type(hub.state, ConnectionState)
    assert_type(hub.transport, Transport | None)
    assert_type(hub.connection_id, str | None)
    HubConnection("https://example.com/chat", access_token=lambda: "text", protocol=JsonProtocol())
    HubConnection("https://example.com/chat", protocol="xml")  # type: ignore[arg-type]
    HubConnection("https://example.com/chat", reconnect=5)  # type: ignore[arg-type]
    HubConnection("https://example.com/chat", access_token=lambda: 5)  # type: ignore[arg-type]
    hub.state = ConnectionState.CONNECTED  # type: ignore[misc]


def a_token_provider_may_take_a_request() -> None:
    async def token(request: TokenRequest) -> str | None:
        assert_type(request.reason, Literal["connect", "refused", "refresh"])
        assert_type(request.refused, str | None)
        assert_type(request.attempt, int)
        return request.refused

    def token_now(request: TokenRequest, scope: str = "hub") -> str:
        return f"{request.reason} {scope}"

    def another(text: str) -> str:
        return text

    provider: TokenProvider = token
    HubConnection("https://example.com/chat", access_token=provider)
    HubConnection("https://example.com/chat", access_token=token_now, reconnect=Retry.forever())
    HubConnection("https://example.com/chat", access_token=lambda request: request.refused)
    HubConnection("https://example.com/chat", access_token=another)  # type: ignore[arg-type]
    Connection("https://example.com/chat", access_token=token)
    sync.HubConnection("https://example.com/chat", access_token=token_now)
    sync.HubConnection("https://example.com/chat", access_token=token)  # type: ignore[arg-type]
    sync.Connection("https://example.com/chat", access_token=token_now)
    TokenRequest("other")  # type: ignore[arg-type]
    TokenRequest("refused", "token")  # type: ignore[call-arg]


def threads_have_the_same_types(hub: sync.HubConnection) -> None:
    assert_type(hub.invoke("Get"), Any)
    assert_type(hub.invoke("Get", 1, result_type=int | None, timeout=5), int | None)
    assert_type(hub.invoke("Get", result_type=list[Person]), list[Person])
    assert_type(hub.stream("Count", 10), sync.Stream[Any])
    for number in hub.stream("Count", item_type=int):
        assert_type(number, int)
    with hub.stream("People", item_type=Person, buffer=10) as people:
        assert_type(people.next(timeout=1), Person)
    assert_type(hub.wait_for("Event", timeout=1), tuple[Any, ...])
    assert_type(hub.messages("Event"), sync.Messages)
    for arguments in hub.messages("Event"):
        assert_type(arguments, tuple[Any, ...])
    for told in hub.events("Event", "Other"):
        assert_type(told, HubEvent)
        assert_type(told.arguments, tuple[Any, ...])

    @hub.on("Shown")
    def show(user: str) -> int:
        return len(user)

    assert_type(show("Ada"), int)
    upload: sync.Upload[int] = sync.Upload()
    upload.send("text")  # type: ignore[arg-type]

    async def token() -> str:
        return "secret"

    sync.HubConnection("https://example.com/chat", access_token=token)  # type: ignore[arg-type]
