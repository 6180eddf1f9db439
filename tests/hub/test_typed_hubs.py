"""Proxies and receivers at work: on the test server, and for threads on a double."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from tests.thread_hub import ThreadHub, ThreadStream, ThreadUpload

from signalr_sdk import HubConnection, HubError, LocalProtocolError, ResultTypeError, Stream, Upload, event, method
from signalr_sdk._hub.proxies import make_proxy
from signalr_sdk._hub.receivers import EventHandler, register
from signalr_sdk._typed.declarations import sync_style
from signalr_sdk._typed.structure import default_converter
from signalr_sdk.protocols.values import camel
from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    import logging

    from signalr_sdk import Converter

SYNC = sync_style(ThreadUpload, ThreadStream)


@attrs.frozen
class Order:
    order_id: int
    due: date
    parts: list[UUID]


ORDER = Order(7, date(2026, 2, 3), [UUID(int=1)])


class ShopServer(Hub):
    said: list[str]

    async def place(self, order: Order, comment: str) -> Order:
        self.said.append(comment)
        return attrs.evolve(order, order_id=order.order_id + 1)

    async def note(self, text: str) -> int:
        self.said.append(text)
        return len(text)

    async def numbers(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async def total(self, start: int, left: AsyncIterator[int], right: AsyncIterator[int]) -> int:
        return start + sum([n async for n in left]) + sum([n async for n in right])

    async def tell(self, name: str, arguments: list[Any]) -> None:
        await self.clients.caller.send(name, *arguments)

    async def ask(self, name: str, arguments: list[Any]) -> Any:
        return await self.clients.caller.invoke(name, *arguments)


class Shop(Protocol):
    """The shop's hub."""

    async def place(self, order: Order, comment: str = "no comment") -> Order:
        """Place an order."""
        ...

    async def note(self, text: str) -> None: ...
    @method("Note", send=True)
    async def note_quickly(self, text: str) -> None: ...
    @method("Note")
    async def note_wrongly(self, text: str) -> list[int]: ...
    def numbers(self, count: int) -> Stream[int]: ...
    @method("Numbers")
    async def generated(self, count: int = 2) -> AsyncIterator[int]:
        yield 0

    async def total(self, start: int, left: AsyncIterator[int] | Upload[int], right: AsyncIterator[int]) -> int: ...
    async def tell(self, name: str, arguments: list[Any]) -> None: ...
    async def ask(self, name: str, arguments: list[Any]) -> Any: ...


async def some(*numbers: int) -> AsyncIterator[int]:
    for number in numbers:
        yield number


@asynccontextmanager
async def shop(
    protocol: Literal["json", "messagepack"] = "json", converter: Converter | None = None
) -> AsyncIterator[tuple[HubConnection, Shop, list[str]]]:
    said: list[str] = []
    served = type("Served", (ShopServer,), {"said": said})
    async with (
        HubServer({"/shop": served}, detailed_errors=True) as server,
        HubConnection(server.url("/shop"), protocol=protocol, converter=converter, reconnect=False) as hub,
    ):
        yield hub, hub.proxy(Shop), said


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_calls_have_their_types(protocol: Literal["json", "messagepack"]) -> None:
    async with shop(protocol) as (_hub, calls, said):
        assert await calls.place(ORDER) == Order(8, ORDER.due, ORDER.parts)
        assert await calls.place(comment="soon", order=ORDER) == Order(8, ORDER.due, ORDER.parts)
        await calls.note("noted")
        assert said == ["no comment", "soon", "noted"]
        assert [n async for n in calls.numbers(count=3)] == [0, 1, 2]
        assert [n async for n in calls.generated()] == [0, 1]
        upload = Upload[int]()
        call = asyncio.create_task(calls.total(100, upload, right=some(1, 2)))
        await upload.send(10)
        upload.close()
        assert await call == 113


async def test_a_stream_is_the_connections_own() -> None:
    async with shop() as (_hub, calls, _said), calls.numbers(1000) as numbers:
        assert isinstance(numbers, Stream)
        assert await numbers.next(timeout=5) == 0


async def test_a_method_without_a_result_leaves_it_alone_and_is_waited_for() -> None:
    async with shop() as (_hub, calls, said):
        assert await cast("Any", calls).note("a") is None  # the hub said 1
        assert said == ["a"]
        with pytest.raises(HubError):
            await calls.note(cast("Any", 5))


async def test_what_is_sent_asks_for_no_answer() -> None:
    async with shop() as (_hub, calls, said):
        await calls.note_quickly(cast("Any", 5))  # an error that nobody is told
        await calls.note_quickly(text="quick")
        await calls.note("last")
        assert said == ["quick", "last"]


async def test_a_result_that_does_not_fit() -> None:
    async with shop() as (hub, calls, _said):
        with pytest.raises(ResultTypeError, match="the value 3 is no list"):
            await calls.note_wrongly("abc")
        assert hub.state == "connected"


def test_a_proxy_is_what_it_was_declared_to_be() -> None:
    class Base(ABC):
        def __init__(self) -> None:
            raise AssertionError("the declaration is not made")

        @abstractmethod
        async def add(self, a: int, b: int) -> int:
            """Add."""

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

        async def _twice(self, a: int) -> int:
            return await self.add(a, a)

    hub = HubConnection("http://localhost/hub?token=secret")
    proxy = hub.proxy(Base)
    assert isinstance(proxy, Base)
    assert type(proxy) is type(hub.proxy(Base))
    assert repr(proxy) == "<Base at <HubConnection http://localhost/hub disconnected>>"
    assert inspect.iscoroutinefunction(proxy.add)
    assert (proxy.add.__doc__, str(inspect.signature(proxy.add))) == ("Add.", "(a: 'int', b: 'int') -> 'int'")
    proxy._twice(1).close()


async def test_naming_of_a_hub() -> None:
    class Renamed(Protocol):
        async def get_all(self) -> Any: ...

    class Recorder:
        async def invoke(self, name: str, *_args: Any, result_type: Any) -> Any:
            return name, result_type

    hub = HubConnection("http://localhost/hub")
    for naming, name in (("pascal", "GetAll"), ("camel", "getAll"), (None, "get_all"), (str.upper, "GET_ALL")):
        proxy = hub.proxy(Renamed, naming=cast("Any", naming))
        object.__setattr__(proxy, "_signalr_hub", Recorder())
        assert await proxy.get_all() == (name, Any)


# Being called


class Receiver:
    def __init__(self) -> None:
        self.seen: asyncio.Queue[Any] = asyncio.Queue()

    def order_placed(self, order: Order, comment: str = "none", *more: date) -> None:
        self.seen.put_nowait((order, comment, *more))

    async def count(self, number: int) -> int:
        self.seen.put_nowait(number)
        return number + 1

    def plain(self, anything) -> None:  # type: ignore[no-untyped-def]
        self.seen.put_nowait(anything)


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_events_have_their_types(protocol: Literal["json", "messagepack"]) -> None:
    async with shop(protocol) as (hub, calls, _said):
        receiver = hub.register(Receiver())
        await calls.tell("OrderPlaced", [ORDER])
        assert await receiver.seen.get() == (ORDER, "none")
        await calls.tell("orderplaced", [ORDER, "now", ORDER.due, ORDER.due])
        assert await receiver.seen.get() == (ORDER, "now", ORDER.due, ORDER.due)
        await calls.tell("Plain", [{"a": 1}])
        assert await receiver.seen.get() == {"a": 1}
        assert await calls.ask("Count", [5]) == 6


async def test_what_does_not_fit_is_an_error_of_the_handler(expected_errors: list[logging.LogRecord]) -> None:
    async with shop() as (hub, calls, _said):
        receiver = hub.register(Receiver())
        errors: asyncio.Queue[Exception] = asyncio.Queue()
        hub.on_error(errors.put_nowait)
        await calls.tell("Count", ["five"])
        error = await errors.get()
        assert isinstance(error, ResultTypeError)
        assert (error.value, error.type) == ("five", int)
        assert str(error) == ("the argument 'number' of 'Count': the value 'five' is no int: str where int is wanted")
        await calls.tell("Count", [])
        assert isinstance(await errors.get(), TypeError)
        await calls.tell("Count", [1, 2])
        assert isinstance(await errors.get(), TypeError)
        with pytest.raises(HubError, match="the argument 'number' of 'Count': the value 'six' is no int"):
            await calls.ask("Count", ["six"])
        assert receiver.seen.empty()
        await calls.tell("Count", [1])
        assert await receiver.seen.get() == 1
    assert len(expected_errors) == 3


async def test_a_receiver_counts_once_and_is_taken_back() -> None:
    async with shop() as (hub, calls, _said):
        receiver, other = hub.register(Receiver()), hub.register(Receiver())
        hub.register(receiver)
        hub.on("Count", receiver.count)  # is registered already
        await calls.tell("Count", [1])
        await calls.tell("Plain", [2])
        assert [await receiver.seen.get(), await receiver.seen.get()] == [1, 2]

        hub.off("Count", receiver)
        hub.off(handler=other)
        await calls.tell("Count", [3])
        await calls.tell("Plain", [4])
        assert await receiver.seen.get() == 4
        hub.off(handler=receiver.plain)
        await calls.tell("Plain", [5])
        await calls.tell("OrderPlaced", [ORDER])
        assert await receiver.seen.get() == (ORDER, "none")
        assert other.seen.qsize() == 2


def test_a_wrong_method_leaves_none_registered() -> None:
    class Wrong:
        def right(self) -> None: ...
        def wrong(self, *, a: int) -> None: ...

    hub = HubConnection("http://localhost/hub")
    with pytest.raises(TypeError):
        hub.register(Wrong())
    assert hub._handlers.events == {}


def test_handlers_that_stand_for_methods_equal_them() -> None:
    hub = HubConnection("http://localhost/hub")
    receiver = hub.register(Receiver())
    handler, same = (cast("EventHandler", hub._handlers.events[name][0]) for name in ("count", "count"))
    assert handler == same == receiver.count
    assert hash(handler) == hash(receiver.count)
    assert handler != hub._handlers.events["plain"][0]
    assert handler != Receiver()
    assert repr(handler).startswith("<handler of 'Count': <bound method Receiver.count of ")


def test_a_missing_cattrs_is_told_at_once_if_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Untyped:
        def said(self, text) -> None: ...  # type: ignore[no-untyped-def]

    monkeypatch.setitem(sys.modules, "cattrs", None)
    default_converter.cache_clear()
    hub = HubConnection("http://localhost/hub")
    hub.register(Untyped())
    with pytest.raises(LocalProtocolError, match="cattrs"):
        hub.register(Receiver())
    assert list(hub._handlers.events) == ["said"]


# Other converters, as the page on typed hubs has them


class PydanticOrder(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=camel, populate_by_name=True)

    order_id: int
    due: date
    parts: list[UUID]


class PydanticConverter:
    def structure(self, obj: Any, cl: Any) -> Any:
        return pydantic.TypeAdapter(cl).validate_python(obj)

    def unstructure(self, obj: Any) -> Any:
        return obj.model_dump(by_alias=True) if isinstance(obj, pydantic.BaseModel) else obj


class MsgspecOrder(msgspec.Struct, rename=camel):
    order_id: int
    due: date
    parts: list[UUID]


class MsgspecConverter:
    def structure(self, obj: Any, cl: Any) -> Any:
        return msgspec.convert(obj, cl)

    def unstructure(self, obj: Any) -> Any:
        return msgspec.to_builtins(obj) if isinstance(obj, msgspec.Struct) else obj


@pytest.mark.parametrize(
    ("model", "converter"), [(PydanticOrder, PydanticConverter()), (MsgspecOrder, MsgspecConverter())]
)
async def test_other_converters(model: Callable[..., Any], converter: Converter) -> None:
    order = model(order_id=7, due=ORDER.due, parts=ORDER.parts)
    namespace = {"Any": Any, "Model": model}
    exec(  # the annotations differ from case to case
        "class Typed:\n"
        "    async def place(self, order: Model, comment: str) -> Model | None: ...\n"
        "class Receiver:\n"
        "    def order_placed(self, order: Model) -> None:\n"
        "        self.seen(order)\n",
        namespace,
    )
    async with shop(converter=converter) as (hub, calls, _said):
        placed = await hub.proxy(cast("Any", namespace["Typed"])).place(order, "soon")
        assert placed == model(order_id=8, due=ORDER.due, parts=ORDER.parts)
        seen: asyncio.Queue[Any] = asyncio.Queue()
        receiver = cast("Any", namespace["Receiver"])()
        receiver.seen = seen.put_nowait
        hub.register(receiver)
        await calls.tell("OrderPlaced", [order])
        assert await seen.get() == order


# For threads


class ForThreads(Protocol):
    def add(self, a: int, b: int = 2) -> int: ...
    def clear(self) -> None: ...
    @method(send=True)
    def log(self, text: str) -> None: ...
    def counter(self, n: int) -> Iterator[int]: ...
    def total(self, numbers: Iterator[int], more: ThreadUpload[int]) -> int: ...


def test_a_proxy_for_threads() -> None:
    hub = ThreadHub(3, "not asked for", [1, 2], 6)
    proxy: ForThreads = make_proxy(hub, ForThreads, "pascal", SYNC)
    assert proxy.add(1) == 3
    assert cast("Any", proxy).clear() is None
    proxy.log(text="t")
    assert list(proxy.counter(2)) == [1, 2]
    upload = ThreadUpload([4])
    assert proxy.total(iter([1, 2, 3]), upload) == 6
    *others, (_kind, _name, (wrapped, same), _type) = hub.called
    assert others == [
        ("invoke", "Add", (1, 2), int),
        ("invoke", "Clear", (), Any),
        ("send", "Log", ("t",)),
        ("stream", "Counter", (2,), int),
    ]
    assert list(wrapped.source) == [1, 2, 3]
    assert same is upload
    with pytest.raises(
        TypeError, match=r"^ForThreads\.total: the argument 1 is uploaded: 'int' object is not iterable"
    ):
        proxy.total(cast("Any", 5), upload)


def test_a_receiver_for_threads() -> None:
    class Listener:
        def __init__(self) -> None:
            self.seen: list[date] = []

        @event
        def day_over(self, day: date) -> int:
            self.seen.append(day)
            return len(self.seen)

    hub = ThreadHub()
    listener = Listener()
    assert register(hub.on, lambda: default_converter(camel), listener, "pascal", SYNC) is listener
    assert hub.handlers["DayOver"]("2026-02-03") == 1
    assert listener.seen == [date(2026, 2, 3)]


# What it costs those who do not use it


def test_importing_the_package_loads_no_converter() -> None:
    program = "import sys, signalr_sdk; print(sorted({'cattrs', 'pydantic', 'msgspec'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
