"""`PersistentConnection` for threads: raw connections of classic SignalR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ...classic import PersistentConnection as AsyncPersistentConnection
from ...interfaces import Handler
from ...options import Limits, Timeouts
from ..dispatcher import ThreadDispatcher
from ..http_client import ClientFactory, LazyClient
from ..iterators import Messages
from ..managed_connection import ManagedConnection
from ..on_threads import OnThreads
from ..token_providers import token_provider
from ..twins import twin_of

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Iterable, Mapping

    from ...interfaces import Converter, RetryPolicy, TokenRequest
    from ...protocols.values import NamingChoice

H = TypeVar("H", bound=Handler)


class _AsyncRaw(AsyncPersistentConnection, OnThreads):
    """An asyncio `PersistentConnection` that calls the user's handlers on threads."""

    _dispatcher_class = ThreadDispatcher


@twin_of(AsyncPersistentConnection)
class PersistentConnection(ManagedConnection[_AsyncRaw]):
    """A raw connection to a server of classic ASP.NET SignalR, for endpoints of `MapSignalR<T>("/raw")`.

    Options, lifecycle and reconnecting are those of `HubConnection`; there are no hubs. Each message is any JSON value.

    Args:
        url: the http(s) URL of the endpoint (ws(s) means the same). Its query is part of every request.
        transports: as for `HubConnection`, like all other arguments.

    Example:
        ```python
        with PersistentConnection("https://example.com/raw") as connection:
            connection.send("hello")
            print(connection.receive())
        ```
    """

    def __init__(
        self,
        url: str,
        *,
        transports: str | Iterable[str] | None = None,
        access_token: str | Callable[[], str | None] | Callable[[TokenRequest], str | None] | None = None,
        access_token_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        forward_headers: Iterable[str] = (),
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        http: ClientFactory | None = None,
        converter: Converter | None = None,
        naming: NamingChoice = "pascal",
        reconnect: RetryPolicy | bool | None = True,
        retry_start: RetryPolicy | bool | None = False,
        ping: float | None = None,
        handler_errors: Literal["report", "raise"] = "report",
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        client = LazyClient(http)
        connection = _AsyncRaw(
            url,
            transports=transports,
            access_token=token_provider(access_token),
            access_token_in=access_token_in,
            headers=headers,
            cookies=cookies,
            forward_headers=forward_headers,
            proxy=proxy,
            ssl=ssl,
            http=client.source,
            converter=converter,
            naming=naming,
            reconnect=reconnect,
            retry_start=retry_start,
            ping=ping,
            handler_errors=handler_errors,
            timeouts=timeouts,
            limits=limits,
        )
        super().__init__(connection, client)

    def start(self) -> None:
        """Connect to the server; return when data can be sent.

        If there is no handler and no iterator yet, all messages wait for `receive`. If Ctrl-C interrupts `start`, the
        connection is closed, and the state is `DISCONNECTED`.

        Raises:
            ConnectionFailedError: no attempt to connect succeeded.
            ConnectionClosedError: `stop()` was called before the connection was up.
            StateError: the state is not `DISCONNECTED`, or a parent of this process has started the connection.
        """
        super().start()

    def send(self, data: Any) -> None:
        self._loop_use.call(self._hub.send, data)

    def on_received(self, handler: H) -> H:
        """Register `handler(value)`, a plain function, called with each message in order."""
        return self._registry.register(self._hub.on_received, handler)

    def off(self, handler: object) -> None:
        self._registry.change(self._hub.off, handler)

    def messages(self, buffer: int | None = None, overflow: Literal["wait", "drop_oldest"] = "wait") -> Messages[Any]:
        return Messages(self._loop_use.call(self._hub.messages, buffer, overflow), self._loop_use)

    def receive(self, timeout: float | None = None) -> Any:
        return self._loop_use.call(self._hub.receive, timeout)

    def on_connection_slow(self, handler: H) -> H:
        return self._registry.register(self._hub.on_connection_slow, handler)
