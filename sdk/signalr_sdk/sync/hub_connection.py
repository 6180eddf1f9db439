"""`HubConnection` for programs without asyncio: it calls the asyncio `HubConnection` on the event loop's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast, overload

from .._hub.proxies import make_proxy
from ..interfaces import Converter, Handler, HubProtocol, RetryPolicy, TokenRequest
from ..options import UNSET, AuthenticationRefresh, Limits, Timeouts, Unset
from .async_hub import AsyncHub
from .event_methods import STYLE, EventMethods
from .http_client import ClientFactory, LazyClient
from .iterators import Stream
from .managed_connection import ManagedConnection
from .send_buffer import SendBuffer
from .token_providers import token_provider
from .twins import twin_of
from .uploads import queue_uploads

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import TypeForm

    from ..protocols.values import NamingChoice

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", bound=Handler)
R = TypeVar("R")


@twin_of(AsyncHub)
class HubConnection(ManagedConnection[AsyncHub], EventMethods):
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
        handler_errors: what happens after an exception of a handler of an event, of `on_any` or of a lifecycle event.
            `"report"`: the exception is logged and passed to the `on_error` handlers, and the connection goes on.
            `"raise"`: the first exception also ends the connection. No further handler is called, and `run`,
            `wait_closed`, `wait_for` and iterators raise the exception. Client results, `on_setup`, `on_error` and
            `on_closed` handlers are always as with `"report"`.
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
        client = LazyClient(http)
        hub = AsyncHub(
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
            http=client.source,
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
        super().__init__(hub, client)
        self._target = hub
        self._send_buffer = SendBuffer(self._hub, self._loop_use, limit=limits.outgoing_bytes)
        self._loop_use.first = self._send_buffer.drain

    # Calling the hub

    def refresh_authentication(self) -> float | None:
        return self._loop_use.call(self._hub.refresh_authentication)

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
        return cast("T", make_proxy(self, declaration, naming, STYLE))

    def on_authentication_refreshed(self, handler: H) -> H:
        return self._registry.register(self._hub.on_authentication_refreshed, handler)


def asyncio_hub(hub: HubConnection) -> AsyncHub:
    """Return the asyncio connection that a connection runs on the event loop's thread."""
    return hub._hub  # noqa: SLF001 - of this module
