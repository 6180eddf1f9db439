"""`HubConnection`, the asyncio client: calling the hub, and handling its events.

The base class, `ManagedConnection`, has the methods for starting, reconnecting and stopping.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio import current_task
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from .._connecting.options import ConnectionOptions
from .._guard.foreign import bounded, error_of
from .._guard.tasks import spawn
from .._life.managed_connection import ManagedConnection
from .._receiving.iterators import Stream, StreamCall
from .._receiving.queues import StreamQueue
from .._sending.uploads import close_source, split
from .._typed.unstructure import ConvertingProtocol
from ..errors import InvocationTimeoutError
from ..interfaces import Converter, Handler, HttpClient, HubProtocol, RetryPolicy, TokenProvider
from ..options import UNSET, AuthenticationRefresh, Limits, Timeouts, Unset
from ..protocols import JsonProtocol, MessagePackProtocol
from .event_methods import EventMethods, mark_of
from .link import HubLink, open_link
from .typed_values import TypedValues

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Iterable, Mapping

    import aiohttp
    import httpx
    from typing_extensions import TypeForm

    from ..protocols.values import NamingChoice

T = TypeVar("T")
H = TypeVar("H", bound=Handler)
R = TypeVar("R")


@functools.cache
def _named_protocol(name: str) -> HubProtocol:
    """Return the built-in protocol with this name. All connections share the object, since a protocol has no state."""
    if name == "json":
        return JsonProtocol()
    if name == "messagepack":
        return MessagePackProtocol()
    raise ValueError(f"protocol must be 'json', 'messagepack' or a HubProtocol, not {name!r}")


def _protocol(value: str | HubProtocol, converter: Converter | None) -> HubProtocol:
    protocol = _named_protocol(value) if isinstance(value, str) else value
    return protocol if converter is None else ConvertingProtocol(protocol, converter)


def _refresh(value: AuthenticationRefresh | bool) -> AuthenticationRefresh | None:
    if isinstance(value, bool):
        return AuthenticationRefresh() if value else None
    if isinstance(value, AuthenticationRefresh):
        return value
    raise ValueError(f"authentication_refresh must be True, False or an AuthenticationRefresh, not {value!r}")


class HubConnection(ManagedConnection[HubLink], EventMethods):
    """A connection to a hub of ASP.NET Core SignalR or Azure SignalR Service.

    One object can be used for the whole life of a program: after `stop`, the connection can be started again. Creating
    the object does no I/O and needs no running event loop. All other methods must be called on the event loop on which
    `start` was called.

    Args:
        url: the hub's http(s) URL (ws(s) means the same); its query is part of every request.
        transports: the transports to use: one or several members of `Transport`, or their names. By default all, tried
            in the order WebSockets, Server-Sent Events, long polling. This order cannot be changed.
        skip_negotiation: open a WebSocket without a negotiate request. The server must allow this.
        access_token: a bearer token, or a sync or async function that returns a token (or `None`). The function is
            called for each attempt to connect. A function with exactly one required positional parameter gets a
            `TokenRequest`, which tells why a token is needed and which token the server refused; any other function is
            called without arguments. A sync function runs on the event loop and must not block.
        access_token_in: `"query"` puts the token into the query of WebSocket and SSE requests, for servers that look
            for the token only there. If `headers` has an `Authorization`, that header is kept, and the token is put
            into the query of every request.
        headers: sent with every HTTP request and WebSocket upgrade, but only to the origin of `url`.
        cookies: sent like `headers`.
        forward_headers: names of `headers` that are also sent to another origin after a redirect.
        proxy: the URL of a proxy; by default the proxy settings of the environment are used.
        ssl: an `ssl.SSLContext` (own CA, client certificate); `True` to verify the certificate, `False` not to.
        http: the HTTP client to use: an `aiohttp.ClientSession`, an `httpx.AsyncClient` (without WebSockets), or any
            `HttpClient`. Several connections may share the client; a connection never closes the client.
        protocol: the hub protocol: `"json"`, `"messagepack"`, or a `HubProtocol`.
        converter: converts between JSON or MessagePack values and typed objects; by default cattrs (extra `typed`).
        reconnect: when to reconnect after a loss: `True` for the default policy, `False` or `None` for never, or a
            `RetryPolicy`.
        retry_start: when `start()` tries again: `True` for the policy of `reconnect` (if `reconnect` is off, for the
            default policy), `False` or `None` for never, or a `RetryPolicy`.
        stateful_reconnect: use stateful reconnect if the server offers this: if a WebSocket is cut for some seconds, no
            message is lost.
        authentication_refresh: whether to refresh the access token of the live connection before the token expires, if
            the server sends the lifetime (since .NET 11). An `AuthenticationRefresh` sets the time. With `False`, call
            `refresh_authentication()`.
        handler_errors: what happens after an exception of a handler of an event, of `on_any` or of a lifecycle event.
            `"report"`: the exception is logged and passed to the `on_error` handlers, and the connection goes on.
            `"raise"`: the first exception also ends the connection. No further handler is called, and `run`,
            `wait_closed`, `wait_for` and iterators raise the exception. Client results, `on_setup`, `on_error` and
            `on_closed` handlers are always as with `"report"`.
        timeouts: time limits, see `Timeouts`.
        limits: limits of sizes and numbers, see `Limits`.

    Raises:
        ValueError: an argument is invalid.

    Example:
        ```python
        async with HubConnection("https://example.com/chat") as hub:
            print(await hub.invoke("Add", 1, 2))
        ```
    """

    def __init__(
        self,
        url: str,
        *,
        transports: str | Iterable[str] | None = None,
        skip_negotiation: bool = False,
        access_token: str | TokenProvider | None = None,
        access_token_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        forward_headers: Iterable[str] = (),
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None = None,
        protocol: Literal["json", "messagepack"] | HubProtocol = "json",
        converter: Converter | None = None,
        reconnect: RetryPolicy | bool | None = True,
        retry_start: RetryPolicy | bool | None = False,
        stateful_reconnect: bool = False,
        authentication_refresh: AuthenticationRefresh | bool = True,
        handler_errors: Literal["report", "raise"] = "report",
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - the default value is immutable
        limits: Limits = Limits(),  # noqa: B008 - the default value is immutable
    ) -> None:
        self._protocol = _protocol(protocol, converter)
        options = ConnectionOptions.of(
            locals(), transfer_format=self._protocol.transfer_format, stateful=stateful_reconnect
        )
        super().__init__(
            options,
            functools.partial(open_link, options, self._protocol, _refresh(authentication_refresh)),
            reconnect=reconnect,
            retry_start=retry_start,
            handler_errors=handler_errors,
        )
        self._values = TypedValues(converter, self._protocol.naming)

    async def refresh_authentication(self) -> float | None:
        """Get a new token from `access_token`, and send it to the server for the live connection (since .NET 11).

        Returns:
            The lifetime of the new token in seconds; `None` if the server does not send the lifetime.

        Raises:
            AuthenticationRefreshError: the server refused the token, or cannot refresh tokens. The connection stays up.
            NotConnectedError: there is no connection.
        """
        self._check_loop()
        link = self._life.link or await self._life.ready()
        return await link.refresh_authentication()

    # Methods that call the hub

    @overload
    async def invoke(
        self, method: str, *args: Any, timeout: float | Unset | None = UNSET, result_type: TypeForm[T]
    ) -> T: ...
    @overload
    async def invoke(self, method: str, *args: Any, timeout: float | Unset | None = UNSET) -> Any: ...
    async def invoke(
        self, method: str, *args: Any, timeout: float | Unset | None = UNSET, result_type: Any = Any
    ) -> Any:
        """Call a hub method and return its result. If `invoke` is cancelled, the hub is asked to cancel the method.

        Args:
            method: the name of the hub method.
            args: the arguments of the hub method. Async iterables and `Upload`s are sent as streams.
            timeout: seconds for the whole call, including waiting for a connection and for room in the outgoing buffer;
                `None` for no limit; `Timeouts.invoke` by default.
            result_type: the type to which the result is converted; by default the result is not converted.

        Raises:
            HubError: the hub method failed. `str()` of the error is the server's text.
            InvocationTimeoutError: the call took longer than `timeout`.
            ConnectionClosedError: the connection ended during the call. The hub method may or may not have run.
            NotConnectedError: there was no connection within `Timeouts.ready`.
            LocalProtocolError: an argument cannot be encoded; nothing was sent.
            ResultTypeError: the result does not fit `result_type`.
        """
        life = self._life
        # Do not call `get_running_loop` for this check: the same check in `send` would make `send` 20 % slower (Python
        # 3.11, tests/bench/test_end_to_end.py).
        if get_ident() != life.thread or life.loop is None or current_task(life.loop) is None:
            self._check_loop()
        limit = self._timeouts.invoke if timeout is UNSET else timeout
        arguments, uploads = self._prepare(method, args)
        link = self._life.link
        if limit is None and link is not None and uploads is None and result_type is Any:
            # Most calls have no timeout, no uploads and no result type, and find a live connection. Skip the coroutine
            # `_invoke`, which would make such a call 5 % slower (tests/bench/test_end_to_end.py, `invoke-concurrent`).
            return await link.calls.invoke(method, arguments, None, exact=False)
        if limit is None:
            return await self._invoke(method, arguments, uploads, result_type)
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                return await self._invoke(method, arguments, uploads, result_type)
        except TimeoutError:
            if not scope.expired():
                raise
            raise InvocationTimeoutError(f"'{method}' did not end within {limit:g} s; it was cancelled") from None

    async def _invoke(self, method: str, arguments: list[Any], uploads: list[Any] | None, result_type: Any) -> Any:
        try:
            exact = result_type is not Any and await self._values.needs_exact(result_type)
            link = self._life.link or await self._life.ready()
            result = await link.calls.invoke(method, arguments, uploads, exact=exact)
        except BaseException:
            if uploads:
                await self._close_sources(uploads)
            raise
        return result if result_type is Any else self._values.convert(result_type, result)

    async def send(self, method: str, *args: Any) -> None:
        """Call a hub method without waiting for an answer. Return when the message is in the outgoing buffer.

        `send` waits while the outgoing buffer is full. If `send` is cancelled, nothing was sent.

        Raises:
            ConnectionClosedError: the connection ended while `send` was waiting for room.
            NotConnectedError: there was no connection within `Timeouts.ready`.
            LocalProtocolError: an argument cannot be encoded; nothing was sent.
        """
        life = self._life
        # Do not call `get_running_loop` for this check: `send` would be 20 % slower (Python 3.11,
        # tests/bench/test_end_to_end.py).
        if get_ident() != life.thread or life.loop is None or current_task(life.loop) is None:
            self._check_loop()
        arguments, uploads = self._prepare(method, args)
        try:
            calls = (self._life.link or await self._life.ready()).calls
            if uploads or not calls.send_now(method, arguments):
                await calls.send(method, arguments, uploads)
        except BaseException:
            if uploads:
                await self._close_sources(uploads)
            raise

    @overload
    def stream(self, method: str, *args: Any, item_type: TypeForm[T], buffer: int | None = None) -> Stream[T]: ...
    @overload
    def stream(self, method: str, *args: Any, buffer: int | None = None) -> Stream[Any]: ...
    def stream(self, method: str, *args: Any, item_type: Any = Any, buffer: int | None = None) -> Stream[Any]:
        """Call a streaming hub method. The call is sent when you begin to iterate over the returned `Stream`.

        Args:
            method: the name of the hub method.
            args: the arguments of the hub method, as for `invoke`.
            item_type: the type to which each item is converted; by default items are not converted.
            buffer: the number of waiting items above which the connection stops reading for a while;
                `Limits.stream_items` by default.
        """
        arguments, uploads = self._prepare(method, args)
        convert = None if item_type is Any else functools.partial(self._values.convert, item_type)
        queue = StreamQueue(self._backlog, mark_of(buffer, self._limits.stream_items), method)

        async def open_() -> Callable[[], None]:
            self._check_loop()
            exact = item_type is not Any and await self._values.needs_exact(item_type)
            link = self._life.link or await self._life.ready()
            return await link.calls.stream(queue, method, arguments, uploads, exact=exact)

        def discard() -> None:
            if uploads:
                _ = spawn(self._close_sources(uploads), "close upload sources", self._closing)

        return Stream(StreamCall(queue, open_, discard), convert)

    def proxy(self, declaration: TypeForm[T], *, naming: NamingChoice = "pascal") -> T:
        """Return an object with typed methods that call the hub. A class declares the methods.

        Args:
            declaration: a class, best a `typing.Protocol`. Its public methods are `async def` with a result type
                (`None` for no result), or `def` with the result type `AsyncIterator[T]` for a streaming hub method.
                Parameters annotated as `AsyncIterable`, `AsyncIterator` or `Upload` are sent as streams. The decorator
                `method` gives a method another name on the hub, or makes the method send without waiting for an answer.
            naming: how Python names become names of hub methods: `"pascal"`, `"camel"`, `None` for no change, or a
                function.

        Raises:
            TypeError: a method of the class lacks a type, or is declared in a way that no hub method can have.

        Example:
            ```python
            class ChatHub(Protocol):
                async def add(self, a: int, b: int) -> int: ...
                def counter(self, count: int) -> AsyncIterator[int]: ...

            chat = hub.proxy(ChatHub)
            assert await chat.add(1, b=2) == 3
            async for number in chat.counter(10):
                print(number)
            ```
        """
        # Import at the first use, so that `import signalr_sdk` is fast: few programs need proxies.
        from .proxies import ASYNC, make_proxy

        return cast("T", make_proxy(self, declaration, naming, ASYNC))

    def _prepare(self, method: str, args: tuple[Any, ...]) -> tuple[list[Any], list[Any] | None]:
        if not isinstance(method, str):
            raise TypeError(f"the name of a hub method is a str, not {type(method).__name__}")
        return split(args)

    async def _close_sources(self, uploads: list[Any]) -> None:
        """Close the sources of uploads whose call was never sent. Cancelling this method does not stop the closing."""
        await asyncio.wait({spawn(self._close_source(source), "close an upload", self._closing) for source in uploads})

    async def _close_source(self, source: Any) -> None:
        limit, whose = self._timeouts.close, "the source of an upload"
        try:
            await bounded(close_source(source, None), limit, whose=whose, patience=0.5, log=self._options.logs.hub)
        except BaseException as raised:  # noqa: BLE001 - the user's source may raise anything
            self._dispatcher.push_error(error_of(raised, whose))

    # Events

    def on_authentication_refreshed(self, handler: H) -> H:
        """Register `handler(lifetime)`, called after each token refresh. `lifetime` is in seconds or `None`."""
        return self._on_lifecycle("authentication_refreshed", handler)
