"""Reads the classes in which users declare the methods of a hub, or the handlers of a client.

A class is read only once, in the same way for asyncio and for threads. `_hub.proxies` then calls the declared hub
methods over a connection, and `_hub.receivers` registers the handlers.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, Union, get_args, get_origin

import attrs

from .annotations import annotations_of, read_function
from .marks import EVENT_MARK, METHOD_MARK, Mark, mark_of

if TYPE_CHECKING:
    from ..protocols.values import Naming

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_UNKNOWN_TYPES: Final = (TypeVar, typing.ParamSpec, typing.TypeVarTuple)


# The styles of declarations: for asyncio, and for threads


@attrs.frozen(eq=False)
class Style:
    """The rules for hub methods and handlers in users' classes: one style for asyncio, one style for threads.

    Attributes:
        is_async: whether hub methods must be `async def` if they do not return a stream.
        streams: the types that mean a stream, in the annotation of a result or of a parameter that is uploaded
            (streamed to the hub).
        upload: the class `Upload` of this style. It annotates uploaded parameters, never results.
        foreign: types that are refused in annotations: they belong to the other style, or could mean a stream or a
            list.
        to_upload: turns the argument of an uploaded parameter into an object that the connection uploads. Raises
            TypeError for an argument that cannot be uploaded.
        has_streams: whether the hub's protocol has streams and uploads. Classic SignalR has none.
    """

    is_async: bool
    streams: tuple[Any, ...]
    upload: type
    foreign: tuple[Any, ...]
    to_upload: Callable[[Any], Any]
    has_streams: bool = True

    @property
    def stream_name(self) -> str:
        """The annotation of a stream that error texts recommend, such as `AsyncIterator[...]`."""
        return f"{self.streams[0].__name__}[...]"


def async_style(upload: type, stream: type) -> Style:
    """Return the style for asyncio. Pass the classes `Upload` and `Stream` of the asyncio API."""

    def to_upload(value: Any) -> Any:
        if not hasattr(value, "__aiter__"):
            raise TypeError(f"an async iterable or an Upload is wanted, not {type(value).__name__}")
        return value

    streams = (AsyncIterator, AsyncIterable, AsyncGenerator, stream)
    return Style(True, streams, upload, (Iterator, Generator), to_upload)


def sync_style(upload: type, stream: type) -> Style:
    """Return the style for threads. Pass the classes `Upload` and `Stream` of `signalr_sdk.sync`."""

    def to_upload(value: Any) -> Any:
        return value if isinstance(value, upload) else upload(value)

    foreign = (Iterable, AsyncIterator, AsyncIterable, AsyncGenerator)
    return Style(False, (Iterator, Generator, stream), upload, foreign, to_upload)


# Reading the declared methods of a hub, which the client calls


class CallKind(Enum):
    """How a hub method is called: with `invoke` for a result, with `send` without an answer, or with `stream`."""

    INVOKE = auto()
    SEND = auto()
    STREAM = auto()


@attrs.frozen(eq=False)
class HubCall:
    """A hub method that a user's class declares, with all that is needed to call it.

    Attributes:
        where: names of the class and the method for error texts, such as `ChatHub.send`.
        function: the declared method of the user's class.
        name: name of the method on the hub.
        kind: with which method of a connection the hub method is called.
        signature: the signature of `function` without `self`. All parameters can be passed by position.
        uploads: indexes of the parameters that are uploaded (streamed to the hub), without counting `self`.
        to_upload: see `Style`.
        result: type of the result, or of each item; `None` if there is no result.
    """

    where: str
    function: Callable[..., Any]
    name: str
    kind: CallKind
    signature: inspect.Signature
    uploads: tuple[int, ...]
    to_upload: Callable[[Any], Any]
    result: Any

    def bind(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> list[Any]:
        """Return the list of arguments for the hub, in the order of the parameters.

        Defaults are filled in, and uploaded arguments are converted by `to_upload`.

        Raises:
            TypeError: the arguments do not fit the declaration.
        """
        arguments = list(args)
        if keywords or len(args) != len(self.signature.parameters):
            try:
                bound = self.signature.bind(*args, **keywords)
            except TypeError as error:
                raise TypeError(f"{self.where}: {error}") from None
            bound.apply_defaults()
            arguments = list(bound.args)
        for index in self.uploads:
            try:
                arguments[index] = self.to_upload(arguments[index])
            except TypeError as error:
                raise TypeError(f"{self.where}: the argument {index + 1} is uploaded: {error}") from None
        return arguments


def read_hub(declaration: type, naming: Naming, style: Style) -> dict[str, HubCall]:
    """Return the hub methods that a class declares, as a dict from their Python names.

    Raises:
        TypeError: a declaration is wrong, or the class declares no method.
    """
    calls = {}
    for name, member in (_annotated(declaration) | _members(declaration, METHOD_MARK)).items():
        where = f"{declaration.__name__}.{name}"
        if not isinstance(member, types.FunctionType):
            _refuse(where, "it is no method, and a hub has nothing else (names that begin with _ are ignored)")
        mark = mark_of(declaration, name, METHOD_MARK) or Mark()
        calls[name] = _read_call(where, member, mark.name or naming(name), style, send=mark.send)
    if not calls:
        raise TypeError(f"{declaration.__name__} declares no method of a hub")
    return calls


def _read_call(where: str, function: types.FunctionType, name: str, style: Style, *, send: bool) -> HubCall:
    hints, parameters = read_function(where, function)
    if not parameters or parameters.pop(0).kind not in _POSITIONAL:
        _refuse(where, "it has no parameter self")
    uploads = tuple(
        index
        for index, parameter in enumerate(parameters)
        if _is_uploaded(f"{where}: the parameter '{parameter.name}'", parameter, hints, style)
    )
    kind, result = _read_result(where, function, hints, style, send=send)
    if not style.has_streams and (uploads or kind is CallKind.STREAM):
        _refuse(where, "it has a stream, and classic SignalR has none")
    return HubCall(where, function, name, kind, inspect.Signature(parameters), uploads, style.to_upload, result)


def _is_uploaded(where: str, parameter: inspect.Parameter, hints: dict[str, Any], style: Style) -> bool:
    if parameter.kind not in _POSITIONAL:
        _refuse(
            where,
            "arguments of a hub go by position, so *args, **kwargs and keyword-only parameters cannot be declared",
        )
    if parameter.name not in hints:
        _refuse(where, "it has no annotation")
    if parameter.default is ...:
        _refuse(where, "its default is sent, and '...' is no value that can be sent")
    hint = hints[parameter.name]
    members = _members_of_union(hint)
    streams = [member for member in members if _origin(member) in (*style.streams, style.upload)]
    if not streams:
        _check_value(where, hint, style)
        return False
    if len(streams) < len(members) or parameter.default is not parameter.empty:
        _refuse(where, "it is uploaded, so it must always be given, and be annotated with a stream only")
    for member in streams:
        _check_value(where, _item(member), style)
    return True


def _read_result(
    where: str, function: types.FunctionType, hints: dict[str, Any], style: Style, *, send: bool
) -> tuple[CallKind, Any]:
    if "return" not in hints:
        _refuse(where, "its result has no annotation (-> None for none)")
    result = _bare(hints["return"])
    is_stream = _origin(result) in style.streams
    _check_form(where, function, style, is_stream=is_stream)
    _check_value(f"{where}: its result", _item(result) if is_stream else result, style)
    if send and result is not type(None):
        _refuse(where, "with send=True nothing comes back, so it must be -> None")
    if is_stream:
        return CallKind.STREAM, _item(result)
    return CallKind.SEND if send else CallKind.INVOKE, None if result is type(None) else hints["return"]


def _check_form(where: str, function: types.FunctionType, style: Style, *, is_stream: bool) -> None:
    is_coroutine = inspect.iscoroutinefunction(function)
    yields = inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)
    if yields and not is_stream:
        _refuse(where, f"it yields, so its result is a stream: -> {style.stream_name}")
    if not style.is_async and (is_coroutine or inspect.isasyncgenfunction(function)):
        _refuse(where, "a hub for threads is declared with plain def")
    if style.is_async and is_stream and is_coroutine:
        _refuse(where, f"a stream is declared with plain def: def {function.__name__}(...) -> {style.stream_name}")
    if style.is_async and not is_stream and not is_coroutine:
        _refuse(where, f"it must be async def, or def ... -> {style.stream_name} for a stream")


# Reading the handlers of a client, which the hub's events call


@attrs.frozen(eq=False)
class EventMethod:
    """A method of a user's class that handles an event of the hub.

    Attributes:
        attribute: Python name of the method.
        event: name of the event.
        parameters: a tuple (name, type) for each positional parameter. Arguments for the type `Any` are not converted.
        rest: name and type of the parameter `*args`; `("", Any)` if the method has no such parameter.
    """

    attribute: str
    event: str
    parameters: tuple[tuple[str, Any], ...]
    rest: tuple[str, Any]

    @property
    def is_typed(self) -> bool:
        """Whether any argument of the event must be converted before the method is called."""
        return any(wanted is not Any for _name, wanted in (*self.parameters, self.rest))


def read_receiver(cls: type, naming: Naming, style: Style) -> list[EventMethod]:
    """Return the methods of a class that handle events: those marked with `@event`, or if there are none, all public.

    Raises:
        TypeError: a method cannot be a handler, or the class has no handler.
    """
    kinds = (types.FunctionType, staticmethod, classmethod)
    members = {name: each for name, each in _members(cls, EVENT_MARK).items() if isinstance(each, kinds)}
    marks = {name: mark for name in members if (mark := mark_of(cls, name, EVENT_MARK)) is not None}
    methods = []
    for name in marks or members:
        mark = marks.get(name, Mark())
        methods.append(_read_handler(f"{cls.__name__}.{name}", name, members[name], mark.name or naming(name), style))
    if not methods:
        raise TypeError(f"{cls.__name__} has no public method, and none marked with @event")
    return methods


def _read_handler(where: str, name: str, member: Any, event_name: str, style: Style) -> EventMethod:
    function = getattr(member, "__func__", member)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        _refuse(where, "it yields, and a handler only returns")
    if inspect.iscoroutinefunction(function) and not style.is_async:
        _refuse(where, "a handler of a connection for threads is a plain function")
    hints, parameters = read_function(where, function)
    wanted: list[tuple[str, Any]] = []
    rest: tuple[str, Any] = ("", Any)
    for parameter in parameters if isinstance(member, staticmethod) else parameters[1:]:
        hint = hints.get(parameter.name, Any)
        pair = (parameter.name, Any if hint is object else hint)
        if parameter.kind in _POSITIONAL:
            wanted.append(pair)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            rest = pair
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            _refuse(where, f"arguments of an event go by position, so '{parameter.name}' would never be given")
    for each, hint in (*wanted, rest):
        _check_value(f"{where}: the parameter '{each}'", hint, style)
    return EventMethod(name, event_name, tuple(wanted), rest)


# Reading the members of users' classes


def _refuse(where: str, why: str) -> NoReturn:
    raise TypeError(f"{where}: {why}")


def _members(cls: type, mark: str) -> dict[str, Any]:
    """Return a dict of the members of a class and its bases that are public or have the mark of a decorator."""
    members = {name: member for base in reversed(cls.__mro__) for name, member in vars(base).items()}
    return {
        name: member
        for name, member in members.items()
        if not name.startswith("_") or mark_of(cls, name, mark) is not None
    }


def _annotated(cls: type) -> dict[str, None]:
    names = (name for base in cls.__mro__ for name in annotations_of(base))
    return {name: None for name in names if not name.startswith("_")}


# Reading the types in users' annotations


def _bare(hint: Any) -> Any:
    """Return the type that an annotation means, without `Annotated` around the type and without `type` aliases."""
    while True:
        if get_origin(hint) is typing.Annotated:
            hint = hint.__origin__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def _origin(hint: Any) -> Any:
    hint = _bare(hint)
    return get_origin(hint) or hint


def _item(stream: Any) -> Any:
    return next(iter(get_args(_bare(stream))), Any)


def _members_of_union(hint: Any) -> tuple[Any, ...]:
    hint = _bare(hint)
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _check_value(where: str, hint: Any, style: Style) -> None:
    """Raise TypeError for an annotation that names no type, such as a `TypeVar`, or that holds a stream or `Upload`."""
    for part in _parts(hint):
        if isinstance(part, _UNKNOWN_TYPES) or part is typing.Self:
            _refuse(where, f"{part} does not say what it is")
        origin = _origin(part)
        if any(origin is each for each in (*style.streams, *style.foreign, style.upload)):
            name = getattr(origin, "__name__", origin)
            _refuse(where, f"{name} cannot stand here: a stream is {style.stream_name} by itself, a list is list[...]")


def _parts(hint: Any) -> Iterator[Any]:
    hint = _bare(hint)
    yield hint
    if get_origin(hint) is not typing.Literal:
        for part in get_args(hint):
            yield from _parts(part)
