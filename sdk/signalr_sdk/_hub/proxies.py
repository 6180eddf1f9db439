"""Proxies: objects with typed methods that call the hub. A class of the user declares the methods.

`_typed.declarations` reads the class. The asyncio client and `signalr_sdk.sync` share this module: proxy methods are
async for the asyncio client, and plain functions for `signalr_sdk.sync`.
"""

from __future__ import annotations

import functools
import types
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from .._receiving.iterators import Stream
from .._sending.uploads import Upload
from .._typed.declarations import CallKind, HubCall, Style, async_style, read_hub
from ..protocols.values import Naming, NamingChoice, resolve_naming

if TYPE_CHECKING:
    from collections.abc import Callable

ASYNC: Final = async_style(Upload, Stream)
ASYNC_CLASSIC: Final = attrs.evolve(ASYNC, has_streams=False)


class Calls(Protocol):
    """The methods of a hub connection that proxies use. In the asyncio client, `invoke` and `send` are async.

    If the style of a declaration has streams, `stream` is used too: it calls a streaming hub method, and returns an
    iterator over its items.
    """

    def invoke(self, method: str, *args: Any, result_type: Any) -> Any:
        """Call a hub method and wait for its result."""

    def send(self, method: str, *args: Any) -> Any:
        """Call a hub method without waiting for an answer."""


def make_proxy(hub: Calls, declaration: Any, naming: NamingChoice, style: Style) -> Any:
    """Return a proxy: an object whose methods call the hub. `isinstance(proxy, declaration)` is true.

    Args:
        hub: the connection to the hub.
        declaration: the user's class that declares the methods.
        naming: how Python names become names of hub methods, as for `HubConnection.proxy`.
        style: says whether the methods are async: yes for the asyncio client, no for `signalr_sdk.sync`.

    Raises:
        TypeError: `declaration` is not a class, or one of its methods cannot be a hub method.
    """
    if not isinstance(declaration, type):
        raise TypeError(f"proxy() takes a class that declares the hub's methods, not {declaration!r:.100}")
    proxy: Any = object.__new__(_proxy_class(declaration, resolve_naming(naming), style))
    # Use `object.__new__` and `object.__setattr__`: an `__init__` or `__setattr__` of the user's class must not run.
    object.__setattr__(proxy, "_signalr_hub", hub)
    return proxy


@lru_cache(maxsize=256)
def _proxy_class(declaration: Any, naming: Naming, style: Style) -> type:
    """Return the class of the proxies: a subclass of `declaration`, the user's class."""
    members: dict[str, Any] = {}
    for name, call in read_hub(declaration, naming, style).items():
        # `updated=()`: do not copy the `__dict__` of the user's function. If the function is abstract, its `__dict__`
        # contains `__isabstractmethod__`, and the class of the proxies would be abstract too.
        members[name] = functools.wraps(call.function, updated=())(_method(call, is_async=style.is_async))
    members |= {"__repr__": _show, "__module__": declaration.__module__, "__doc__": declaration.__doc__}
    return types.new_class(declaration.__name__, (declaration,), exec_body=lambda namespace: namespace.update(members))


def _show(proxy: Any) -> str:
    return f"<{type(proxy).__name__} at {proxy._signalr_hub!r}>"  # noqa: SLF001 - `_show` is a method of the proxy


def _method(call: HubCall, *, is_async: bool) -> Callable[..., Any]:
    """Return the function for one method of a proxy: async if `is_async`, but always a plain function for a stream."""
    name, bind, result = call.name, call.bind, call.result
    type_ = Any if result is None else result

    def stream(self: Any, /, *args: Any, **keywords: Any) -> Any:
        return self._signalr_hub.stream(name, *bind(args, keywords), item_type=result)

    def invoke(self: Any, /, *args: Any, **keywords: Any) -> Any:
        answer = self._signalr_hub.invoke(name, *bind(args, keywords), result_type=type_)
        return None if result is None else answer

    def send(self: Any, /, *args: Any, **keywords: Any) -> None:
        self._signalr_hub.send(name, *bind(args, keywords))

    async def invoke_async(self: Any, /, *args: Any, **keywords: Any) -> Any:
        answer = await self._signalr_hub.invoke(name, *bind(args, keywords), result_type=type_)
        return None if result is None else answer

    async def send_async(self: Any, /, *args: Any, **keywords: Any) -> None:
        await self._signalr_hub.send(name, *bind(args, keywords))

    if call.kind is CallKind.INVOKE:
        return invoke_async if is_async else invoke
    if call.kind is CallKind.SEND:
        return send_async if is_async else send
    return stream
