"""`HubConnection` for programs without asyncio: it calls the asyncio `HubConnection` on the event loop's thread."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, Self, TypeVar, cast, overload

from .._core import urls
from .._guard.copying import Uncopied
from .._hub.proxies import make_proxy
from .._hub.receivers import register
from .._typed.declarations import sync_style
from ..interfaces import Converter, Handler, HubProtocol, RetryPolicy, TokenRequest
from ..options import UNSET, AuthenticationRefresh, ConnectionState, Limits, Timeouts, Transport, Unset
from .async_hub import AsyncHub
from .http_client import ClientFactory, LazyClient
from .iterators import Messages, Stream
from .loop_use import LoopUse
from .plain_functions import plain
from .send_buffer import SendBuffer
from .token_providers import token_provider
from .twins import twin_of
from .uploads import Upload, queue_uploads

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import TypeForm

    from .._receiving.iterators import HubEvent
    from ..protocols.values import NamingChoice

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", bound=Handler)
R = TypeVar("R")

# `_change_handlers` waits this many seconds for its lock, and then changes the handlers without the lock. A change
# takes microseconds: a thread that holds the lock so long was interrupted by a signal handler.
_STUCK = 0.1

_STYLE: Final = sync_style(Upload, Stream)


@twin_of(AsyncHub)
class HubConnection(Uncopied):
    """A connection to a hub, for programs without asyncio. Works like `signalr_sdk.HubConnection`, without `await`.

    Many threads may use one connection at the same time. Ctrl-C interrupts and cancels a method that waits. Event
    handlers run on one daemon thread of the connection, in the order of the events. Handlers of client results run on
    other threads. Handlers are plain functions, and may call the hub and stop the connection. The constructor does no
    I/O and starts no thread.

    Args:
        url: the hub's http(s) URL (ws(s) means the same); its query is part of every request.
        transports: the transports to use: one or several members of `Transport`, or their names. By default all, tried
            in the order WebSockets, Server-Sent Events, long polling. This order cannot be changed.
        skip_negotiation: open a WebSocket without a negotiate request. The server must allow this.
        access_token: a bearer token, or a plain function that returns a token (or `None`). The function is called on a
            daemon thread for each attempt to connect. A function with exactly one required positional parameter gets a
            `TokenRequest`, which tells why a token is needed and which token the server refused; any other function is
            called without arguments.
        access_token_in: `"query"` puts the token into the query of WebSocket and SSE requests, for servers that look
            for the token only there. If `headers` has an `Authorization`, that header is kept, and the token is put
            into the query of every request.
        headers: sent with every HTTP request and WebSocket upgrade, but only to the origin of `url`.
        cookies: sent like `headers`.
        forward_headers: names of `headers` that are also sent to another origin after a redirect.
        proxy: the URL of a proxy; by default the proxy settings of the environment are used.
        ssl: an `ssl.SSLContext` (own CA, client certificate); `True` to verify the certificate, `False` not to.
        http: a function that makes the HTTP client: an `aiohttp.ClientSession`, an `httpx.AsyncClient` (without
            WebSockets), or any `HttpClient`. The function is called on the event loop's thread for each `start`. The
            client is closed when the connection has ended.
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
        timeouts: time limits, see `Timeouts`.
        limits: limits of sizes and numbers, see `Limits`; `Limits.handlers` has no effect.

    Raises:
        ValueError: an argument is invalid.
        TypeError: `access_token` is an async function, or `http` is no function.

    Example:
        ```python
        with HubConnection("https://example.com/chat") as hub:
            print(hub.invoke("Add", 1, 2))
        ```
    """

    def __init__(
        self,
        url: str,
        *,
        transports: str | Iterable[str] | None = None,
        skip_negotiation: bool = False,
        access_token: str | Callable[[], str | None] | Callable[[TokenRequest], str | None] | None = None,
        access_token_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        forward_headers: Iterable[str] = (),
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        http: ClientFactory | None = None,
        protocol: Literal["json", "messagepack"] | HubProtocol = "json",
        converter: Converter | None = None,
        reconnect: RetryPolicy | bool | None = True,
        retry_start: RetryPolicy | bool | None = False,
        stateful_reconnect: bool = False,
        authentication_refresh: AuthenticationRefresh | bool = True,
        handler_errors: Literal["report", "raise"] = "report",
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self._http = LazyClient(http)
        self._hub = AsyncHub(
            url,
            transports=transports,
            skip_negotiation=skip_negotiation,
            access_token=token_provider(access_token),
            access_token_in=access_token_in,
            headers=headers,
            cookies=cookies,
            forward_headers=forward_headers,
            proxy=proxy,
            ssl=ssl,
            http=self._http.source,
            protocol=protocol,
            converter=converter,
            reconnect=reconnect,
            retry_start=retry_start,
            stateful_reconnect=stateful_reconnect,
            authentication_refresh=authentication_refresh,
            handler_errors=handler_errors,
            timeouts=timeouts,
            limits=limits,
        )
        self._loop_use = LoopUse()
        self._send_buffer = SendBuffer(self._hub, self._loop_use, limit=limits.outgoing_bytes)
        self._loop_use.first = self._send_buffer.drain
        self._registering = threading.RLock()

    # State

    @property
    def state(self) -> ConnectionState:
        return self._hub.state

    @property
    def connection_id(self) -> str | None:
        return self._hub.connection_id

    @property
    def transport(self) -> Transport | None:
        return self._hub.transport

    @property
    def url(self) -> str:
        return self._hub.url

    def __repr__(self) -> str:
        return f"<signalr_sdk.sync.HubConnection {urls.without_query(self.url)} {self.state}>"

    # Starting and stopping

    def start(self) -> None:
        """Connect to the server; return when the hub can be called.

        If Ctrl-C interrupts `start`, the connection is closed, and the state is `DISCONNECTED`.

        Raises:
            ConnectionFailedError: the attempts failed.
            ConnectionClosedError: `stop()` was called before the connection was up.
            StateError: the state is not `DISCONNECTED`, or a parent of this process has started the connection.
        """
        self._loop_use.call(self._start)

    async def _start(self) -> None:
        try:
            await self._hub.start()
        except BaseException:
            await self._free_client()
            raise
        self._loop_use.keep_loop_for(self._live(), self._stop)

    async def _live(self) -> None:
        await self._hub.wait_ended()
        await self._free_client()

    async def _stop(self) -> None:
        # Send the messages of `send` that still wait in the send buffer. If the user calls `stop`, `LoopUse.first` has
        # sent these messages already. But the exit of the interpreter calls `_stop` directly, and the messages would be
        # lost.
        self._send_buffer.drain()
        await self._hub.stop()

    async def _free_client(self) -> None:
        # Close the HTTP client only if the connection is down: another `start` of the user may use the client already.
        if self._hub.state is ConnectionState.DISCONNECTED:
            await self._http.close()

    def stop(self) -> None:
        """End the connection and everything that belongs to it, in good order if `Timeouts.close` is long enough.

        `stop` may be called in any state, any number of times, from any thread and inside any handler. Messages of
        `send` are still sent. Pending calls end with `ConnectionClosedError`. Events that no handler has got yet are
        discarded. A running handler goes on to its end on its thread; `stop` does not wait for handlers.
        """
        self._loop_use.call(self._stop)

    def run(self) -> None:
        """Start the connection, wait until it is closed, and stop it. Ctrl-C stops the connection.

        Raises:
            ConnectionFailedError: the attempts to connect failed.
            SignalRError: an error has ended the connection; this error is raised.
        """
        with self:
            self.wait_closed()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def wait_closed(self) -> None:
        self._loop_use.call(self._hub.wait_closed)

    def wait_connected(self, timeout: float | None = None) -> None:
        self._loop_use.call(self._hub.wait_connected, timeout)

    def reconnect(self) -> None:
        """Give up the connection, and return when a new connection is up.

        A Close message is sent, without waiting for an answer. Pending calls and streams end with
        `ConnectionClosedError`, even if a stateful reconnect could have kept them. The first attempt is made at once,
        without asking the retry policy, also with `reconnect=False`; the policy decides about further attempts.

        While a new connection is being made, `reconnect` ends the wait before the next attempt, or waits for the
        running attempt. Several callers at the same time share one new connection. If Ctrl-C interrupts `reconnect`,
        nothing changes for the connection.

        Raises:
            SignalRError: the error that ended the connection, if the policy gives up.
            ConnectionClosedError: `stop()` was called.
            StateError: the connection is disconnected or is being stopped, or the caller is an `on_setup` handler.

        Example:
            ```python
            def on_network_change() -> None:
                hub.reconnect()
            ```
        """
        self._loop_use.call(self._hub.reconnect)

    def flush(self) -> None:
        self._loop_use.call(self._hub.flush)

    def refresh_authentication(self) -> float | None:
        return self._loop_use.call(self._hub.refresh_authentication)

    # Calling the hub

    @overload
    def invoke(self, method: str, *args: Any, timeout: float | Unset | None = UNSET, result_type: TypeForm[T]) -> T: ...
    @overload
    def invoke(self, method: str, *args: Any, timeout: float | Unset | None = UNSET) -> Any: ...
    def invoke(self, method: str, *args: Any, timeout: float | Unset | None = UNSET, result_type: Any = Any) -> Any:
        """Call a hub method and return its result. Ctrl-C cancels the call: CancelInvocation is sent to the server.

        Args:
            method: the name of the hub method.
            args: the arguments of the hub method. Generators and `Upload`s are sent as streams.
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
        args = queue_uploads(args, self._hub.report)
        return self._loop_use.call(self._hub.invoke, method, *args, timeout=timeout, result_type=result_type)

    def send(self, method: str, *args: Any) -> None:
        """Call a hub method without waiting for an answer. Return when the message is in the outgoing buffer.

        `send` waits while the outgoing buffer is full. If Ctrl-C interrupts this wait, nothing was sent.

        Raises:
            ConnectionClosedError: the connection ended while `send` was waiting for room.
            NotConnectedError: there was no connection within `Timeouts.ready`.
            LocalProtocolError: an argument cannot be encoded; nothing was sent.
        """
        given = queue_uploads(args, self._hub.report)
        at_once = given is args and self._hub.up
        if not at_once or not self._send_buffer.put(self._hub.encode(method, args)):
            self._loop_use.call(self._hub.send, method, *given)

    @overload
    def stream(self, method: str, *args: Any, item_type: TypeForm[T], buffer: int | None = None) -> Stream[T]: ...
    @overload
    def stream(self, method: str, *args: Any, buffer: int | None = None) -> Stream[Any]: ...
    def stream(self, method: str, *args: Any, item_type: Any = Any, buffer: int | None = None) -> Stream[Any]:
        args = queue_uploads(args, self._hub.report)
        stream = self._loop_use.call(self._hub.stream, method, *args, item_type=item_type, buffer=buffer)
        return Stream(stream, self._loop_use)

    def proxy(self, declaration: TypeForm[T], *, naming: NamingChoice = "pascal") -> T:
        """Return an object with typed methods that call the hub. A class declares the methods.

        Args:
            declaration: a class, best a `typing.Protocol`. Its public methods are plain `def` with a result type
                (`None` for no result, `Iterator[T]` for a streaming hub method). Parameters annotated as `Iterator` or
                `Upload` are sent as streams. The decorator `method` gives a method another name on the hub, or makes
                the method send without waiting for an answer.
            naming: how Python names become names of hub methods: `"pascal"`, `"camel"`, `None` for no change, or a
                function.

        Raises:
            TypeError: a method of the class lacks a type, or is declared in a way that no hub method can have.
        """
        return cast("T", make_proxy(self, declaration, naming, _STYLE))

    # Being called by the hub

    @overload
    def on(self, event: str, handler: H) -> H: ...
    @overload
    def on(self, event: str, handler: None = None) -> Callable[[H], H]: ...
    def on(self, event: str, handler: H | None = None) -> H | Callable[[H], H]:
        """Register a handler for an event. If the server asks for a client result, the handler's return value is sent.

        Args:
            event: the name of the event, in upper or lower case.
            handler: a plain function, called with the event's arguments. Without `handler`, `on` returns a decorator.

        Returns:
            The handler.

        Raises:
            TypeError: the handler is async.
        """
        return functools.partial(self._register, self._hub.on(event)) if handler is None else self.on(event)(handler)

    def register(self, receiver: R, *, naming: NamingChoice = "pascal") -> R:
        """Register each method of an object as the handler of the event with its name.

        `off(handler=receiver)` removes the handlers.

        Args:
            receiver: the object. All public methods are registered; if a method is marked with the decorator `event`,
                only marked methods are registered. The methods are plain functions, as for `on`. Arguments are
                converted to the types of the parameters; if an argument does not fit, the handler fails.
            naming: how names of methods become names of events, as for `proxy`. Upper and lower case are the same.

        Returns:
            The object.

        Raises:
            TypeError: a method cannot be a handler, or the object has no methods to register.
            LocalProtocolError: a parameter has a type, but cattrs is not installed.
        """
        return register(self.on, self._hub.wanted_converter, receiver, naming, _STYLE)

    def off(self, event: str | None = None, handler: object | None = None) -> None:
        self._change_handlers(self._hub.off, event, handler)

    def on_any(self, handler: H) -> H:
        return self._register(self._hub.on_any, handler)

    def on_setup(self, handler: H) -> H:
        """Register `handler(connection_id)`, which must succeed before a new connection counts as up.

        Log in, join groups and fetch snapshots in such a handler. The handlers run in order on each new connection,
        before `start` returns, before calls that wait are sent, and before `on_connected` handlers. They do not run
        when a stateful reconnect has resumed the connection. The handlers run on a thread of their own. Meanwhile,
        calls on this thread are sent at once. Events wait until the handlers have succeeded; an iterator that the
        handler makes gets the events at once.

        If a handler raises, or the handlers take longer than `Timeouts.setup`, the connection is closed, and the
        attempt counts as failed with `SetupError`, about which the retry policy decides. The thread of a handler that
        takes too long is abandoned. A handler may call `stop()`, but `start()`, `reconnect()` and `wait_connected()`
        raise `StateError` there.

        Example:
            ```python
            @hub.on_setup
            def join(connection_id: str | None) -> None:
                hub.invoke("Join", "blue")
            ```
        """
        return self._register(self._hub.on_setup, handler)

    def on_connected(self, handler: H) -> H:
        return self._register(self._hub.on_connected, handler)

    def on_reconnecting(self, handler: H) -> H:
        return self._register(self._hub.on_reconnecting, handler)

    def on_reconnected(self, handler: H) -> H:
        return self._register(self._hub.on_reconnected, handler)

    def on_closed(self, handler: H) -> H:
        return self._register(self._hub.on_closed, handler)

    def on_error(self, handler: H) -> H:
        return self._register(self._hub.on_error, handler)

    def on_authentication_refreshed(self, handler: H) -> H:
        return self._register(self._hub.on_authentication_refreshed, handler)

    def _register(self, register: Callable[[H], H], handler: H) -> H:
        return self._change_handlers(register, plain(handler, "a handler"))

    def _change_handlers(self, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `change`, which adds or removes handlers, while no other thread adds or removes handlers."""
        # Do not wait for ever: a signal handler may have interrupted the thread that holds the lock. The lock stays
        # held until the signal handler returns, and the signal handler may wait for this call.
        locked = self._registering.acquire(timeout=_STUCK)
        try:
            return change(*args, **kwargs)
        finally:
            if locked:
                self._registering.release()

    def messages(
        self, event: str, buffer: int | None = None, overflow: Literal["wait", "drop_oldest"] = "wait"
    ) -> Messages:
        return Messages(self._loop_use.call(self._hub.messages, event, buffer, overflow), self._loop_use)

    def events(
        self, *names: str, buffer: int | None = None, overflow: Literal["wait", "drop_oldest"] = "wait"
    ) -> Messages[HubEvent]:
        """Return one iterator over events of several names that arrive after this call, in the order received.

        Events with one of the names are not passed to `on_any` handlers. Without names, the iterator gets all events:
        `on_any` handlers get the same events as without the iterator, and the log has no warning about events without
        a handler until the iterator ends. The iterator gets no lifecycle events, and no requests for a client result.

        Args:
            names: the names of the events, in upper or lower case; without names, all events.
            buffer: the largest number of waiting events before `overflow` applies; `Limits.messages` by default.
            overflow: with `"wait"`, the connection stops reading for a while; with `"drop_oldest"`, the oldest events
                are dropped.

        Raises:
            TypeError: a name is not a `str`.
            ValueError: `buffer` or `overflow` is invalid.

        Example:
            ```python
            for name, arguments in hub.events("ReceiveMessage", "Price"):
                print(name, *arguments)
            ```
        """
        events = self._loop_use.call(self._hub.events, *names, buffer=buffer, overflow=overflow)
        return Messages(events, self._loop_use)

    def wait_for(self, event: str, timeout: float | None = None) -> tuple[Any, ...]:
        return self._loop_use.call(self._hub.wait_for, event, timeout)


def asyncio_hub(hub: HubConnection) -> AsyncHub:
    """Return the asyncio connection that a connection runs on the event loop's thread."""
    return hub._hub  # noqa: SLF001 - of this module
