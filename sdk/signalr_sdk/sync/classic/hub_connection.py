"""`HubConnection` for threads: one connection to all hubs of a classic server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import attrs

from ...classic import HubConnection as AsyncHubConnection
from ...interfaces import Handler
from ...options import Limits, Timeouts
from ..dispatcher import check_set_up
from ..http_client import ClientFactory, LazyClient
from ..managed_connection import ManagedConnection
from ..on_threads import OnThreads
from ..token_providers import token_provider
from ..twins import twin_of
from .dispatcher import ThreadHubEvents
from .hub_proxy import HubProxy

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Iterable, Mapping

    from ...classic.hub_proxy import ProxyHome
    from ...interfaces import Converter, RetryPolicy, TokenRequest
    from ...protocols.values import NamingChoice

H = TypeVar("H", bound=Handler)


class _AsyncHubs(AsyncHubConnection, OnThreads):
    """An asyncio `HubConnection` that calls the user's handlers on threads."""

    _dispatcher_class = ThreadHubEvents

    def _home(self) -> ProxyHome:
        return attrs.evolve(super()._home(), check_loop=self._check_call)

    def _check_call(self) -> None:
        self._check_loop()
        check_set_up(self)


@twin_of(AsyncHubConnection)
class HubConnection(ManagedConnection[_AsyncHubs]):
    """A connection to the hubs of a server of classic ASP.NET SignalR 2.x.

    Works like `signalr_sdk.classic.HubConnection`, without `await`. Many threads may use one connection at the same
    time. What is not said here is as in `signalr_sdk.sync.HubConnection`.

    After a loss, the same connection is taken up again if the server still knows it: its id and groups stay, and the
    messages that were sent meanwhile arrive once and in order. Meanwhile the state is `RECONNECTING`. Otherwise a new
    connection is made, and the `on_setup` and `on_connected` handlers are called again.

    Args:
        url: the http(s) URL of all hubs, mostly `https://host/signalr` (ws(s) means the same). Its query is part of
            every request.
        transports: the transports to use: one or several members of `Transport`, or their names. By default all, tried
            in the order WebSockets, Server-Sent Events, long polling. This order cannot be changed.
        access_token: a bearer token, or a plain function that returns a token (or `None`). The function is called on a
            daemon thread for each attempt to connect. A function with exactly one required positional parameter gets a
            `TokenRequest`.
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
        converter: converts between JSON values and typed objects; by default cattrs (extra `typed`).
        naming: how attribute names of attrs classes and dataclasses are written and read: `"pascal"` (as .NET declares
            them), `"camel"`, `None` for unchanged, or a function.
        reconnect: when to reconnect after a loss: `True` for the default policy, `False` or `None` for never, or a
            `RetryPolicy`. It also gives the delays between the attempts to take up the same connection again; with
            `False`, this is tried once, at once.
        retry_start: when `start()` tries again: `True` for the policy of `reconnect` (if `reconnect` is off, for the
            default policy), `False` or `None` for never, or a `RetryPolicy`.
        ping: seconds between requests that keep a login cookie or session alive; `None` for no such requests.
        handler_errors: what happens after an exception of a handler: `"report"` or `"raise"`, as for
            `signalr_sdk.HubConnection`.
        timeouts: time limits, see `Timeouts`. Where the server promises a shorter silence than `server`, that counts.
            `keep_alive` and `pause` have no meaning: classic clients send no pings, and reading never pauses.
        limits: limits of sizes and numbers, see `Limits`. Events that wait for slow handlers are bounded by
            `buffered_bytes` alone.

    Raises:
        ValueError: an argument is invalid.
        TypeError: `access_token` is an async function, or `http` is no function.

    Example:
        ```python
        connection = HubConnection("https://example.com/signalr")
        chat = connection.hub("Chat")
        with connection:
            print(chat.invoke("Add", 1, 2))
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
        connection = _AsyncHubs(
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
        self._hubs: dict[str, HubProxy] = {}

    def hub(self, name: str) -> HubProxy:
        proxy = self._registry.change(self._hub.hub, name)
        return self._hubs.setdefault(name.lower(), HubProxy(proxy, self, self._loop_use, self._registry))

    def on_connection_slow(self, handler: H) -> H:
        return self._registry.register(self._hub.on_connection_slow, handler)
