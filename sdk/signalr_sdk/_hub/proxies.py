"""Typed hubs: what `_typed.declarations` has read, bound to a connection.

A connection is anything with `invoke`, `send`, `stream` and `on`: the same code serves the one for tasks and the one
for threads, whose methods have no `await`.
"""

from __future__ import annotations

import functools
import types
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from .._receiving.iterators import Stream
from .._sending.uploads import Upload
from .._typed.declarations import CallKind, EventMethod, HubCall, Style, async_style, read_hub, read_receiver
from .._typed.structure import structure
from ..errors import ResultTypeError
from ..protocols.values import Naming, NamingChoice, resolve_naming

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..interfaces import Converter

R = TypeVar("R")

ASYNC: Final = async_style(Upload, Stream)


class Calls(Protocol):
    """The part of a connection that proxies need; what its methods return is awaited where the style says so."""

    def invoke(self, method: str, *args: Any, result_type: Any) -> Any:
        """Call a method for its result."""

    def send(self, method: str, *args: Any) -> Any:
        """Call a method without an answer."""

    def stream(self, method: str, *args: Any, item_type: Any) -> Any:
        """Call a streaming method."""


# Calling the hub


def make_proxy(hub: Calls, declaration: Any, naming: NamingChoice, style: Style) -> Any:
    """Return an object of a class that derives from the declaration, whose methods call the hub.

    Raises:
        TypeError: the declaration is no class, or a method of it means nothing.
    """
    if not isinstance(declaration, type):
        raise TypeError(f"proxy() takes a class that declares the hub's methods, not {declaration!r:.100}")
    proxy: Any = object.__new__(_proxy_class(declaration, resolve_naming(naming), style))
    # The declaration's own __init__ and __setattr__ have no part in it.
    object.__setattr__(proxy, "_signalr_hub", hub)
    return proxy


@lru_cache(maxsize=256)
def _proxy_class(declaration: Any, naming: Naming, style: Style) -> type:
    """Derive a class, so that a proxy is what it is declared to be at run time too."""
    calls = read_hub(declaration, naming, style)
    make = _async_method if style.is_async else _sync_method
    members: dict[str, Any] = {name: _like(call.function, make(call)) for name, call in calls.items()}
    members |= {"__repr__": _show, "__module__": declaration.__module__, "__doc__": declaration.__doc__}
    return types.new_class(declaration.__name__, (declaration,), exec_body=lambda namespace: namespace.update(members))


def _show(proxy: Any) -> str:
    return f"<{type(proxy).__name__} at {proxy._signalr_hub!r}>"  # noqa: SLF001 - it is a method of the proxy


def _like(function: Callable[..., Any], made: Callable[..., Any]) -> Callable[..., Any]:
    # Without what is in its __dict__: there an abstract method says that it is one.
    return functools.wraps(function, updated=())(made)


def _async_method(call: HubCall) -> Callable[..., Any]:
    name, bind, result = call.name, call.bind, call.result

    async def invoke(self: Any, /, *args: Any, **keywords: Any) -> Any:
        return await self._signalr_hub.invoke(name, *bind(args, keywords), result_type=result)

    async def invoke_without_result(self: Any, /, *args: Any, **keywords: Any) -> None:
        await self._signalr_hub.invoke(name, *bind(args, keywords), result_type=Any)

    async def send(self: Any, /, *args: Any, **keywords: Any) -> None:
        await self._signalr_hub.send(name, *bind(args, keywords))

    if call.kind is CallKind.INVOKE:
        return invoke_without_result if result is None else invoke
    return send if call.kind is CallKind.SEND else _streaming(call)


def _sync_method(call: HubCall) -> Callable[..., Any]:
    name, bind, result = call.name, call.bind, call.result

    def invoke(self: Any, /, *args: Any, **keywords: Any) -> Any:
        return self._signalr_hub.invoke(name, *bind(args, keywords), result_type=result)

    def invoke_without_result(self: Any, /, *args: Any, **keywords: Any) -> None:
        self._signalr_hub.invoke(name, *bind(args, keywords), result_type=Any)

    def send(self: Any, /, *args: Any, **keywords: Any) -> None:
        self._signalr_hub.send(name, *bind(args, keywords))

    if call.kind is CallKind.INVOKE:
        return invoke_without_result if result is None else invoke
    return send if call.kind is CallKind.SEND else _streaming(call)


def _streaming(call: HubCall) -> Callable[..., Any]:
    name, bind, item = call.name, call.bind, call.result

    def stream(self: Any, /, *args: Any, **keywords: Any) -> Any:
        return self._signalr_hub.stream(name, *bind(args, keywords), item_type=item)

    return stream


# Being called by the hub


def register(
    on: Callable[[str, Any], Any],
    converter: Callable[[], Converter],
    receiver: R,
    naming: NamingChoice,
    style: Style,
) -> R:
    """Register methods of an object as handlers; return the object.

    Args:
        on: registers one handler.
        converter: returns the converter; only called if there is something to convert.
        receiver: the object.
        naming: how names of methods become names of events.
        style: whether handlers may be async.

    Raises:
        TypeError: a method cannot be a handler, or there is none.
        LocalProtocolError: arguments are to be converted, and cattrs is missing.
    """
    if isinstance(receiver, type):
        raise TypeError(f"register() takes an object, not the class {receiver.__name__}")
    methods = read_receiver(type(receiver), resolve_naming(naming), style)
    made = [EventHandler(receiver, method, converter() if method.is_typed else None) for method in methods]
    # Only now, so that a wrong method leaves none registered.
    for method, handler in zip(methods, made, strict=True):
        on(method.event, handler)
    return receiver


class EventHandler:
    """A method as a handler. It equals the method and the object that it belongs to, so `off` finds it by either."""

    __slots__ = ("_converter", "_event", "_method", "_receiver", "_rest", "_wanted")

    def __init__(self, receiver: Any, declared: EventMethod, converter: Converter | None) -> None:
        self._receiver = receiver
        self._method: Callable[..., Any] = getattr(receiver, declared.attribute)
        self._event = declared.event
        self._wanted = declared.parameters
        self._rest = declared.rest
        self._converter = converter

    def __call__(self, *arguments: Any) -> Any:
        if self._converter is None:
            return self._method(*arguments)
        wanted = chain(self._wanted, repeat(self._rest))
        return self._method(
            *[
                value if type_ is Any else self._structured(self._converter, value, name, type_)
                for value, (name, type_) in zip(arguments, wanted, strict=False)
            ]
        )

    def _structured(self, converter: Converter, value: Any, name: str, type_: Any) -> Any:
        try:
            return structure(converter, value, type_)
        except ResultTypeError as error:
            raise ResultTypeError(f"the argument '{name}' of '{self._event}': {error}", value, type=type_) from error

    def __eq__(self, other: object) -> bool:
        if isinstance(other, EventHandler):
            return self._method == other._method
        return other is self._receiver or self._method == other

    def __hash__(self) -> int:
        return hash(self._method)

    def __repr__(self) -> str:
        return f"<handler of '{self._event}': {self._method!r}>"
