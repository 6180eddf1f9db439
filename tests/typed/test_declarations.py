"""What a class can say of a hub's methods, or an object of its handlers, and what is refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, Self, TypeVar

import pytest
from tests.thread_hub import ThreadStream, ThreadUpload
from typing_extensions import TypeAliasType

from signalr_sdk import HubConnection, Stream, Upload, event, method
from signalr_sdk._typed.declarations import CallKind, HubCall, async_style, read_hub, read_receiver, sync_style
from signalr_sdk.protocols.values import pascal

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

T = TypeVar("T")
ASYNC = async_style(Upload, Stream)
SYNC = sync_style(ThreadUpload, ThreadStream)


def read(declaration: type, naming: Callable[[str], str] = pascal) -> dict[str, HubCall]:
    return read_hub(declaration, naming, ASYNC)


class Everything(Protocol):
    async def add_up(self, a: int, b: int = 2) -> int: ...
    async def nothing(self) -> None: ...
    async def anything(self, value: Any, /) -> Any: ...
    def counter(self, n: int) -> AsyncIterator[int]: ...
    def iterable(self) -> AsyncIterable[list[str]]: ...
    def handle(self) -> Stream[bytes]: ...
    def untyped(self) -> AsyncIterator: ...  # type: ignore[type-arg]
    async def generator(self) -> AsyncGenerator[str, None]:
        yield ""

    async def total(self, first: AsyncIterator[int], start: int, last: AsyncIterable[int] | Upload[int]) -> int: ...
    @method("other-name")
    async def named(self) -> Annotated[int, "noted"]: ...
    @method(send=True)
    async def told(self, text: Literal["a", "b"]) -> None: ...
    @method("_Hidden", send=True)
    async def _hidden(self) -> None: ...
    async def _helper(self, no_annotation): ...  # type: ignore[no-untyped-def]


def test_names_kinds_and_results() -> None:
    calls = {name: (call.name, call.kind, call.result) for name, call in read(Everything).items()}
    assert calls == {
        "add_up": ("AddUp", CallKind.INVOKE, int),
        "nothing": ("Nothing", CallKind.INVOKE, None),
        "anything": ("Anything", CallKind.INVOKE, Any),
        "counter": ("Counter", CallKind.STREAM, int),
        "iterable": ("Iterable", CallKind.STREAM, list[str]),
        "handle": ("Handle", CallKind.STREAM, bytes),
        "untyped": ("Untyped", CallKind.STREAM, Any),
        "generator": ("Generator", CallKind.STREAM, str),
        "total": ("Total", CallKind.INVOKE, int),
        "named": ("other-name", CallKind.INVOKE, Annotated[int, "noted"]),
        "told": ("Told", CallKind.SEND, None),
        "_hidden": ("_Hidden", CallKind.SEND, None),
    }


def test_which_parameters_are_uploaded() -> None:
    assert {name: call.uploads for name, call in read(Everything).items() if call.uploads} == {"total": (0, 2)}


Numbers = TypeAliasType("Numbers", AsyncIterator[int])


def test_a_stream_may_have_a_name() -> None:
    class Named(Protocol):
        def counter(self, more: Numbers) -> Numbers: ...

    call = read(Named)["counter"]
    assert (call.kind, call.result, call.uploads) == (CallKind.STREAM, int, (0,))


def test_arguments_are_bound_by_the_declaration() -> None:
    call = read(Everything)["add_up"]
    assert call.bind((1, 5), {}) == [1, 5]
    assert call.bind((1,), {}) == [1, 2]
    assert call.bind((), {"b": 7, "a": 6}) == [6, 7]
    with pytest.raises(TypeError, match=r"^Everything\.add_up: missing a required argument: 'a'$"):
        call.bind((), {"b": 7})
    with pytest.raises(TypeError, match=r"^Everything\.add_up: too many positional arguments$"):
        call.bind((1, 2, 3), {})
    with pytest.raises(TypeError, match=r"^Everything\.add_up: got an unexpected keyword argument 'c'$"):
        call.bind((1,), {"c": 3})


def test_uploads_must_be_streams() -> None:
    call = read(Everything)["total"]
    upload = Upload([1])
    assert call.bind((upload, 1, upload), {}) == [upload, 1, upload]
    with pytest.raises(
        TypeError, match=r"^Everything\.total: the argument 3 is uploaded: an async iterable or .* list$"
    ):
        call.bind((upload, 1, [1]), {})


def test_another_naming_leaves_given_names_alone() -> None:
    calls = read(Everything, lambda name: f"x-{name}")
    assert (calls["add_up"].name, calls["named"].name) == ("x-add_up", "other-name")


def test_what_a_class_inherits_counts_and_can_be_overridden() -> None:
    class Base(ABC):
        @abstractmethod
        @method("first")
        async def one(self) -> int: ...
        async def two(self) -> int:
            return 0

    class Derived(Base):
        async def one(self) -> int:  # keeps the name that the base gave it
            return 1

        def two(self) -> AsyncIterator[int]: ...  # type: ignore[override, empty-body]

    calls = read(Derived)
    assert (calls["one"].name, calls["one"].function) == ("first", Derived.one)
    assert calls["two"].kind is CallKind.STREAM


# Each of these declares one method `m`.


class NoAsync(Protocol):
    def m(self) -> int: ...


class NoParameterType(Protocol):
    async def m(self, a) -> int: ...  # type: ignore[no-untyped-def]


class NoResultType(Protocol):
    async def m(self, a: int): ...  # type: ignore[no-untyped-def]


class UnknownType(Protocol):
    async def m(self, a: Decimal) -> int: ...


class VariablePositional(Protocol):
    async def m(self, *args: int) -> int: ...


class VariableKeywords(Protocol):
    async def m(self, **kwargs: int) -> int: ...


class KeywordOnly(Protocol):
    async def m(self, *, a: int) -> int: ...


class NoSelf(Protocol):
    async def m() -> int: ...  # type: ignore[misc]


class SelfAmongOthers(Protocol):
    async def m(*args: int) -> int: ...


class EllipsisDefault(Protocol):
    async def m(self, a: int = ...) -> int: ...


class AwaitedStream(Protocol):
    async def m(self) -> AsyncIterator[int]: ...


class YieldsNoStream(Protocol):
    async def m(self) -> int:  # type: ignore[misc]
        yield 1


class SyncStream(Protocol):
    def m(self) -> Iterator[int]: ...


class OptionalUpload(Protocol):
    async def m(self, a: AsyncIterator[int] | None) -> int: ...


class UploadWithDefault(Protocol):
    async def m(self, a: AsyncIterable[int] = Upload([])) -> int: ...  # noqa: B008


class NestedStream(Protocol):
    async def m(self) -> dict[str, AsyncIterator[int]]: ...


class UploadOfStreams(Protocol):
    async def m(self, a: AsyncIterator[AsyncIterator[int]]) -> int: ...


class UploadAsResult(Protocol):
    async def m(self) -> Upload[int]: ...


class SyncUpload(Protocol):
    async def m(self, a: Iterator[int]) -> int: ...


class AnythingGoes(ABC, Generic[T]):
    @abstractmethod
    async def m(self, a: T) -> int: ...


class ItsOwn(Protocol):
    async def m(self) -> list[Self]: ...


class SentForAResult(Protocol):
    @method(send=True)
    async def m(self) -> int: ...


class SentForAStream(Protocol):
    @method(send=True)
    def m(self) -> AsyncIterator[int]: ...


class AProperty(Protocol):
    @property
    def m(self) -> int: ...


class AnAttribute(Protocol):
    m: int


class AStaticMethod(Protocol):
    @staticmethod
    async def m(a: int) -> int: ...


@pytest.mark.parametrize(
    ("declaration", "why"),
    [
        (NoAsync, "NoAsync.m: it must be async def, or def ... -> AsyncIterator[...] for a stream"),
        (NoParameterType, "NoParameterType.m: the parameter 'a': it has no annotation"),
        (NoResultType, "NoResultType.m: its result has no annotation (-> None for none)"),
        (
            UnknownType,
            "UnknownType.m: its annotations cannot be looked up (name 'Decimal' is not defined): their names",
        ),
        (VariablePositional, "VariablePositional.m: the parameter 'args': arguments of a hub go by position"),
        (VariableKeywords, "VariableKeywords.m: the parameter 'kwargs': arguments of a hub go by position"),
        (KeywordOnly, "KeywordOnly.m: the parameter 'a': arguments of a hub go by position"),
        (NoSelf, "NoSelf.m: it has no parameter self"),
        (SelfAmongOthers, "SelfAmongOthers.m: it has no parameter self"),
        (EllipsisDefault, "EllipsisDefault.m: the parameter 'a': its default is sent, and '...' is no value"),
        (AwaitedStream, "AwaitedStream.m: a stream is declared with plain def: def m(...) -> AsyncIterator[...]"),
        (YieldsNoStream, "YieldsNoStream.m: it yields, so its result is a stream: -> AsyncIterator[...]"),
        (SyncStream, "SyncStream.m: it must be async def, or def ... -> AsyncIterator[...] for a stream"),
        (OptionalUpload, "OptionalUpload.m: the parameter 'a': it is uploaded, so it must always be given"),
        (UploadWithDefault, "UploadWithDefault.m: the parameter 'a': it is uploaded, so it must always be given"),
        (
            NestedStream,
            "NestedStream.m: its result: AsyncIterator cannot stand here: a stream is AsyncIterator[...] by",
        ),
        (UploadOfStreams, "UploadOfStreams.m: the parameter 'a': AsyncIterator cannot stand here"),
        (UploadAsResult, "UploadAsResult.m: its result: Upload cannot stand here"),
        (SyncUpload, "SyncUpload.m: the parameter 'a': Iterator cannot stand here"),
        (AnythingGoes, "AnythingGoes.m: the parameter 'a': ~T does not say what it is"),
        (ItsOwn, "ItsOwn.m: its result: typing.Self does not say what it is"),
        (SentForAResult, "SentForAResult.m: with send=True nothing comes back, so it must be -> None"),
        (SentForAStream, "SentForAStream.m: with send=True nothing comes back, so it must be -> None"),
        (AProperty, "AProperty.m: it is no method, and a hub has nothing else"),
        (AnAttribute, "AnAttribute.m: it is no method, and a hub has nothing else"),
        (AStaticMethod, "AStaticMethod.m: it is no method, and a hub has nothing else"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_no_hub_has_is_refused_when_the_proxy_is_made(declaration: type, why: str) -> None:
    hub = HubConnection("http://localhost/hub")
    with pytest.raises(TypeError) as caught:
        hub.proxy(declaration)
    assert str(caught.value).startswith(why)


def test_what_is_no_declaration_at_all() -> None:
    class Empty(Protocol):
        _private: int

    class Some(Generic[T]):
        async def m(self) -> int:
            return 1

    hub = HubConnection("http://localhost/hub")
    with pytest.raises(TypeError, match=r"^Empty declares no method of a hub$"):
        hub.proxy(Empty)
    with pytest.raises(
        TypeError, match=r"^proxy\(\) takes a class that declares the hub's methods, not .*Some\[int\]$"
    ):
        hub.proxy(Some[int])
    with pytest.raises(TypeError, match=r"^proxy\(\) takes a class .*, not <Everything at <HubConnection "):
        hub.proxy(hub.proxy(Everything))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="naming must be"):
        hub.proxy(Everything, naming="kebab")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", 5, b"x"])
def test_marks_take_names_only(name: Any) -> None:
    with pytest.raises(TypeError, match=r"^@method\(\.\.\.\) takes a name on the hub"):
        method(name)
    with pytest.raises(TypeError, match=r"^@event\(\.\.\.\) takes a name on the hub"):
        event(name)
    with pytest.raises(TypeError, match=r"^@method"):
        method(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^a property cannot be marked, only a method can$"):
        event("x")(property())  # type: ignore[type-var]


# For threads


class ForThreads(Protocol):
    def add(self, a: int, b: list[int]) -> int: ...
    def counter(self, n: int) -> Iterator[int]: ...
    def generator(self) -> Iterator[int]:
        yield 1

    def handle(self) -> ThreadStream[int]: ...
    def total(self, numbers: Iterator[int], more: ThreadUpload[int]) -> int: ...
    @method(send=True)
    def told(self) -> None: ...


def test_declarations_for_threads_are_plain() -> None:
    calls = read_hub(ForThreads, pascal, SYNC)
    assert {name: (call.kind, call.result) for name, call in calls.items()} == {
        "add": (CallKind.INVOKE, int),
        "counter": (CallKind.STREAM, int),
        "generator": (CallKind.STREAM, int),
        "handle": (CallKind.STREAM, int),
        "total": (CallKind.INVOKE, int),
        "told": (CallKind.SEND, None),
    }
    assert calls["total"].uploads == (0, 1)


class AmbiguousParameter(Protocol):
    def m(self, a: Iterable[int]) -> int: ...


class AmbiguousResult(Protocol):
    def m(self) -> Iterable[int]: ...


class YieldsNothingDeclared(Protocol):
    def m(self) -> int:  # type: ignore[misc]
        yield 1


@pytest.mark.parametrize(
    ("declaration", "why"),
    [
        (Everything, "Everything.add_up: a hub for threads is declared with plain def"),
        (
            AmbiguousParameter,
            "AmbiguousParameter.m: the parameter 'a': Iterable cannot stand here: a stream is Iterator",
        ),
        (AmbiguousResult, "AmbiguousResult.m: its result: Iterable cannot stand here"),
        (YieldsNothingDeclared, "YieldsNothingDeclared.m: it yields, so its result is a stream: -> Iterator[...]"),
    ],
)
def test_what_is_refused_for_threads(declaration: type, why: str) -> None:
    with pytest.raises(TypeError) as caught:
        read_hub(declaration, pascal, SYNC)
    assert str(caught.value).startswith(why)


# Handlers


class Open:
    """All public methods are handlers."""

    limit = 5

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @property
    def count(self) -> int:
        raise AssertionError("reading a property is not for us")

    def user_joined(self, name: str, age: int | None = None, *rest: float) -> None: ...
    async def asked(self, question, /, *, hint: str = "") -> str: ...  # type: ignore[no-untyped-def, empty-body]
    @staticmethod
    def told(value: object, more: Any, **others: int) -> None: ...
    @classmethod
    def shown(cls, value: bytes) -> None: ...
    def _private(self) -> None: ...


def test_public_methods_are_handlers() -> None:
    methods = read_receiver(Open, pascal, ASYNC)
    assert [(each.attribute, each.event, each.parameters, each.rest) for each in methods] == [
        ("user_joined", "UserJoined", (("name", str), ("age", int | None)), ("rest", float)),
        ("asked", "Asked", (("question", Any),), ("", Any)),
        ("told", "Told", (("value", Any), ("more", Any)), ("", Any)),
        ("shown", "Shown", (("value", bytes),), ("", Any)),
    ]
    assert [each.is_typed for each in methods] == [True, False, False, True]


def test_marked_methods_alone_are_handlers_if_there_are_any() -> None:
    class Marked(Open):
        @event
        def one(self) -> None: ...
        @event("second-event")
        @staticmethod
        def two() -> None: ...
        @event("third")
        def _three(self) -> None: ...

    class Derived(Marked):
        def one(self) -> None: ...

    names = [(each.attribute, each.event) for each in read_receiver(Derived, pascal, ASYNC)]
    assert names == [("one", "One"), ("two", "second-event"), ("_three", "third")]


class Yields:
    async def m(self) -> AsyncIterator[int]:
        yield 1


class WantsAStream:
    def m(self, numbers: AsyncIterator[int]) -> None: ...


class WantsAKeyword:
    def m(self, a: int, *, b: int) -> None: ...


class WantsTheUnknown:
    def m(self, a: Decimal) -> None: ...


class Nothing:
    size = 1


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Yields, "Yields.m: it yields, and a handler only returns"),
        (WantsAStream, "WantsAStream.m: the parameter 'numbers': AsyncIterator cannot stand here"),
        (WantsAKeyword, "WantsAKeyword.m: arguments of an event go by position, so 'b' would never be given"),
        (WantsTheUnknown, "WantsTheUnknown.m: its annotations cannot be looked up (name 'Decimal' is not defined)"),
        (Nothing, "Nothing has no public method, and none marked with @event"),
    ],
)
def test_what_cannot_handle_events_is_refused(cls: type, why: str) -> None:
    hub = HubConnection("http://localhost/hub")
    with pytest.raises(TypeError) as caught:
        hub.register(cls())
    assert str(caught.value).startswith(why)
    with pytest.raises(TypeError, match=rf"^register\(\) takes an object, not the class {cls.__name__}$"):
        hub.register(cls)


def test_async_handlers_are_refused_for_threads() -> None:
    with pytest.raises(TypeError, match=r"^Open\.asked: a handler of a connection for threads is a plain function$"):
        read_receiver(Open, pascal, SYNC)
