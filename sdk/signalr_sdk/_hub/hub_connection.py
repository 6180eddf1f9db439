"""`HubConnection`: the object that users hold. `ManagedConnection`, its base class, starts, reconnects and stops it."""

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
from .._receiving.iterators import Messages, Stream, StreamCall
from .._receiving.queues import StreamQueue
from .._sending.uploads import close_source, split
from .._typed.unstructure import ConvertingProtocol
from ..errors import ConnectionClosedError, InvocationTimeoutError
from ..interfaces import Converter, Handler, HttpClient, HubProtocol, RetryPolicy, TokenProvider
from ..options import UNSET, AuthenticationRefresh, Limits, Timeouts, Unset, is_count
from ..protocols import JsonProtocol, MessagePackProtocol
from .link import HubLink, open_link

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    import aiohttp
    import httpx
    from typing_extensions import TypeForm

    from ..protocols.values import NamingChoice

T = TypeVar("T")
H = TypeVar("H", bound=Handler)
R = TypeVar("R")


@functools.cache
def _named_protocol(name: str) -> HubProtocol:
    """Return the protocol of this name. All connections share it, since a protocol has no state."""
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


class HubConnection(ManagedConnection[HubLink]):
    """A connection to a hub of ASP.NET Core SignalR or Azure SignalR Service.

    One object lasts for the life of a program: it can be started, lost, reconnected, stopped and started again.
    Creating it does no I/O and needs no running event loop. Everything else belongs to the event loop of `start`.

    Args:
        url: the hub's http(s) URL (ws(s) means the same); its query is kept on every request.
        transports: one or several of `Transport`, as members or names; all by default. The order of preference is
            always WebSockets, Server-Sent Events, long polling.
        skip_negotiation: open a WebSocket without negotiation, which some servers allow.
        access_token: a bearer token, or a sync or async callable without arguments that returns one (or `None`),
            called for each connection attempt. A sync callable runs on the event loop: it must not block.
        access_token_in: `"query"` puts the token into the query of WebSocket and SSE requests, for servers that look
            for the token only there. An `Authorization` among `headers` stays; the token is then in the query of every
            request.
        headers: sent with every HTTP request and the WebSocket upgrade to the hub's own origin.
        cookies: sent like `headers`.
        forward_headers: names of `headers` that may go along to another origin after a redirect.
        proxy: the URL of a proxy; without it the proxies of the environment are used.
        ssl: an `ssl.SSLContext` (own CA, client certificate), `True` to verify, `False` not to.
        http: an `aiohttp.ClientSession` to share between connections, an `httpx.AsyncClient` (no WebSockets then), or
            any `HttpClient`. The connection never closes it.
        protocol: `"json"`, `"messagepack"`, or a `HubProtocol`.
        converter: converts typed values both ways; cattrs by default (extra `typed`).
        reconnect: `True` for the default policy, `False` or `None` for none, or a `RetryPolicy`.
        retry_start: the same for `start()`; `True` for the policy of `reconnect`, or the default policy without one.
        stateful_reconnect: ask the server for stateful reconnect, with which a WebSocket that is cut for some seconds
            loses nothing. It changes nothing where the server does not offer it.
        authentication_refresh: refresh the token on the live connection where the server says how long it lives (since
            .NET 11); an `AuthenticationRefresh` says when, `False` leaves it to `refresh_authentication()`.
        timeouts: see `Timeouts`.
        limits: see `Limits`.

    Raises:
        ValueError: an argument makes no sense.

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
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        limits: Limits = Limits(),  # noqa: B008 - immutable
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
        )
        self._converter = converter
        self._typed: tuple[ModuleType, Converter] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def refresh_authentication(self) -> float | None:
        """Ask the access token provider for a token, and send it to the server for the live connection (since .NET 11).

        Returns:
            The seconds that the new token lives; `None` if the server does not say it.

        Raises:
            AuthenticationRefreshError: the server refused, or has no refresh; the connection stays as it was.
            NotConnectedError: there is no connection.
        """
        self._check_loop()
        link = self._life.link or await self._life.ready()
        return await link.refresh_authentication()

    # Calling the hub

    @overload
    async def invoke(
        self, method: str, *args: Any, timeout: float | Unset | None = UNSET, result_type: TypeForm[T]
    ) -> T: ...
    @overload
    async def invoke(self, method: str, *args: Any, timeout: float | Unset | None = UNSET) -> Any: ...
    async def invoke(
        self, method: str, *args: Any, timeout: float | Unset | None = UNSET, result_type: Any = Any
    ) -> Any:
        """Call a hub method and return its result. Cancelling it sends CancelInvocation.

        Args:
            method: the method's name.
            args: its arguments. Async iterables and `Upload`s among them are uploaded as streams.
            timeout: seconds for all of it: the connection, room in the outgoing buffer, the answer; `None` for no
                limit; `Timeouts.invoke` by default.
            result_type: the type that the result is converted to; by default it is returned as it was decoded.

        Raises:
            HubError: the method failed; `str()` is the server's text.
            InvocationTimeoutError: it took longer than `timeout`.
            ConnectionClosedError: the connection ended; the method may or may not have run.
            NotConnectedError: there is no connection, and none came within `Timeouts.ready`.
            LocalProtocolError: an argument cannot be encoded; nothing was sent.
            ResultTypeError: the result does not fit `result_type`.
        """
        life = self._life
        # `get_running_loop` alone would cost a fifth of a `send` on Python 3.11 (tests/bench/test_end_to_end.py).
        if get_ident() != life.thread or life.loop is None or current_task(life.loop) is None:
            self._check_loop()
        limit = self._timeouts.invoke if timeout is UNSET else timeout
        arguments, uploads = self._prepare(method, args)
        link = self._life.link
        if limit is None and link is not None and uploads is None and result_type is Any:
            # Most calls end here. One coroutine more would cost a twentieth of the time of a call
            # (tests/bench/test_end_to_end.py, `invoke-concurrent`).
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
            exact, convert = (False, None) if result_type is Any else await self._converting(result_type)
            link = self._life.link or await self._life.ready()
            result = await link.calls.invoke(method, arguments, uploads, exact=exact)
        except BaseException:
            if uploads:
                await self._close_sources(uploads)
            raise
        return result if convert is None else convert(result)

    async def send(self, method: str, *args: Any) -> None:
        """Call a hub method without asking for an answer; return when the message is in the outgoing buffer.

        `send` waits while the buffer is full. A cancelled `send` has sent nothing.

        Raises:
            ConnectionClosedError: the connection ended while waiting for room.
            NotConnectedError: there is no connection, and none came within `Timeouts.ready`.
            LocalProtocolError: an argument cannot be encoded; nothing was sent.
        """
        life = self._life
        # `get_running_loop` alone would cost a fifth of a `send` on Python 3.11 (tests/bench/test_end_to_end.py).
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
        """Return the items of a streaming hub method. The call is sent when the first item is asked for.

        Args:
            method: the method's name.
            args: as for `invoke`.
            item_type: the type that each item is converted to; by default it is returned as it was decoded.
            buffer: items that may wait before reading pauses; `Limits.stream_items` by default.
        """
        arguments, uploads = self._prepare(method, args)
        convert: Callable[[Any], Any] | None = None
        if item_type is not Any:
            convert = functools.partial(self._convert, item_type)
        queue = StreamQueue(self._backlog, self._mark(buffer, self._limits.stream_items), method)

        async def open_() -> Callable[[], None]:
            self._check_loop()
            exact = item_type is not Any and (await self._converting(item_type))[0]
            link = self._life.link or await self._life.ready()
            return await link.calls.stream(queue, method, arguments, uploads, exact=exact)

        def discard() -> None:
            if uploads:
                _ = spawn(self._close_sources(uploads), "close upload sources", self._closing)

        return Stream(StreamCall(queue, open_, discard), convert)

    def proxy(self, declaration: TypeForm[T], *, naming: NamingChoice = "pascal") -> T:
        """Return an object that has a hub's methods as a class declares them, and calls the hub.

        Args:
            declaration: a class, best a `typing.Protocol`. Its public methods are `async def` with a result type
                (`None` for none), or `def` with `AsyncIterator[T]` as their result: a stream. Parameters annotated as
                `AsyncIterable`, `AsyncIterator` or `Upload` are uploaded. `method` names a method otherwise, or has it
                sent without asking for an answer.
            naming: how names of methods are written on the hub: `"pascal"`, `"camel"`, `None` to leave them, or a
                function.

        Raises:
            TypeError: a method of the class says too little, or what no hub has.

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
        # Imported at the first use, since few programs need it: `import signalr_sdk` stays light.
        from .proxies import ASYNC, make_proxy

        return cast("T", make_proxy(self, declaration, naming, ASYNC))

    def _prepare(self, method: str, args: tuple[Any, ...]) -> tuple[list[Any], list[Any] | None]:
        if not isinstance(method, str):
            raise TypeError(f"the name of a hub method is a str, not {type(method).__name__}")
        return split(args)

    async def _converting(self, type_: Any) -> tuple[bool, Callable[[Any], Any]]:
        """Return whether the type needs numbers decoded without losing a digit, and what converts a value to it."""
        if self._typed is None:
            # In a thread, since the imports of the first typed call would stop the event loop for many milliseconds.
            await asyncio.to_thread(self._load_typed)
        return self._load_typed()[0].needs_exact(type_), functools.partial(self._convert, type_)

    def _load_typed(self) -> tuple[ModuleType, Converter]:
        """Return the module for typed values, and the converter."""
        if self._typed is None:
            # Imported at the first use, as in `proxy`.
            from .._typed import structure

            self._typed = structure, self._converter or structure.default_converter(self._protocol.naming)
        return self._typed

    def _convert(self, type_: Any, value: Any) -> Any:
        typed, converter = self._load_typed()
        return typed.structure(converter, value, type_)

    def _need_converter(self) -> Converter:
        return self._load_typed()[1]

    @staticmethod
    def _mark(buffer: int | None, default: int) -> int:
        if buffer is None:
            return default
        if not is_count(buffer):
            raise ValueError(f"buffer must be a positive integer, not {buffer!r}")
        return buffer

    async def _close_sources(self, uploads: list[Any]) -> None:
        """Close the sources of uploads that did not begin. Closing goes on if the caller is cancelled."""
        await asyncio.wait({spawn(self._close_source(source), "close an upload", self._closing) for source in uploads})

    async def _close_source(self, source: Any) -> None:
        limit, whose = self._timeouts.close, "the source of an upload"
        try:
            await bounded(close_source(source, None), limit, whose=whose, patience=0.5, log=self._options.logs.hub)
        except BaseException as raised:  # noqa: BLE001 - the user's source may raise anything
            self._dispatcher.push_error(error_of(raised, whose))

    # Being called by the hub

    @overload
    def on(self, event: str, handler: H) -> H: ...
    @overload
    def on(self, event: str, handler: None = None) -> Callable[[H], H]: ...
    def on(self, event: str, handler: H | None = None) -> H | Callable[[H], H]:
        """Register a handler for an event. If the server asks for a client result, the handler's return value is sent.

        Args:
            event: the event's name, in any case.
            handler: sync or async; gets the event's arguments. Without it, `on` is a decorator.

        Returns:
            The handler.
        """
        if not isinstance(event, str):
            raise TypeError(f"the name of an event is a str, not {type(event).__name__}")

        def register(handler: H) -> H:
            self._handlers.add(event, handler)
            return handler

        return register if handler is None else register(handler)

    def off(self, event: str | None = None, handler: object | None = None) -> None:
        """Unregister: all handlers of an event, one of them, or one handler wherever it is registered.

        Args:
            event: the event's name.
            handler: the handler; without an event it is unregistered everywhere, lifecycle events included. An object
                that was given to `register` stands for all of its methods.
        """
        if event is None and handler is None:
            raise TypeError("off() needs an event, a handler, or both")
        self._handlers.remove(event, handler)

    def register(self, receiver: R, *, naming: NamingChoice = "pascal") -> R:
        """Register an object's methods as handlers, each for the event of its name; `off(handler=...)` undoes it.

        Args:
            receiver: the object. Its public methods are handlers, or only those marked with `event` if there is one;
                sync or async, as for `on`. Arguments are converted to the types of the parameters; an argument that
                does not fit is an error of the handler.
            naming: how names of methods become those of events, as for `proxy`. Their case does not matter.

        Returns:
            The object.

        Raises:
            TypeError: a method cannot be a handler, or there is none.
            LocalProtocolError: arguments are to be converted, and cattrs is missing.

        Example:
            ```python
            class Chat:
                async def receive_message(self, user: str, text: str) -> None:
                    print(user, text)

            hub.register(Chat())
            ```
        """
        # Imported at the first use, as in `proxy`.
        from .proxies import ASYNC
        from .receivers import register

        return register(self.on, self._need_converter, receiver, naming, ASYNC)

    def on_any(self, handler: H) -> H:
        """Register `handler(event, args)` for all events that have neither a handler nor a `messages` iterator."""
        self._handlers.add_any(handler)
        return handler

    def on_authentication_refreshed(self, handler: H) -> H:
        """Register `handler(lifetime)`, called when the server has taken a new token; seconds, or `None` if unknown."""
        return self._on_lifecycle("authentication_refreshed", handler)

    def messages(
        self, event: str, buffer: int | None = None, overflow: Literal["wait", "drop_oldest"] = "wait"
    ) -> Messages:
        """Return an iterator over the argument tuples of an event, subscribed from now on.

        Args:
            event: the event's name, in any case.
            buffer: events that may wait; `Limits.messages` by default.
            overflow: what happens when more come: `"wait"` pauses reading, `"drop_oldest"` keeps the newest.
        """
        if overflow not in ("wait", "drop_oldest"):
            raise ValueError(f"overflow must be 'wait' or 'drop_oldest', not {overflow!r}")
        mark = self._mark(buffer, self._limits.messages)
        return self._dispatcher.subscribe(event, mark, newest=overflow == "drop_oldest", loop=lambda: self._life.loop)

    async def wait_for(self, event: str, timeout: float | None = None) -> tuple[Any, ...]:
        """Return the arguments of the next event of this name.

        Args:
            event: the event's name, in any case.
            timeout: seconds; `None` for no limit.

        Raises:
            TimeoutError: no event came in time.
            ConnectionClosedError: the connection ended first.
        """
        async with self.messages(event) as messages:
            try:
                return await messages.next(timeout)
            except StopAsyncIteration:
                closed = self._life.closed
                error = closed.result() if closed is not None and closed.done() else None
                raise ConnectionClosedError(f"the connection ended before '{event}' came") from error
