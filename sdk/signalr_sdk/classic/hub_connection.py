"""`HubConnection` of classic SignalR: one connection to all hubs of a server.

The base class, `ManagedConnection`, has the methods for starting, reconnecting and stopping.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import attrs

from .._hub.typed_values import TypedValues
from ..errors import StateError
from ..options import ConnectionState, Limits, Timeouts
from .calls import HubCalls
from .connection import ClassicConnection, checked_ping, options_of
from .hub_events import HubEvents
from .hub_proxy import HubProxy, ProxyHome
from .json_codec import ClassicJson
from .link import ClassicLink, open_link
from .session import HUB_END, ClassicSession, HubMessages

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping

    import aiohttp
    import httpx

    from .._connecting.options import ConnectionOptions
    from .._life.attempts import Attempts
    from .._receiving.dispatcher import Dispatcher
    from ..interfaces import Converter, HttpClient, RetryPolicy, TokenProvider
    from ..protocols.values import NamingChoice


@attrs.define(eq=False)
class _Hubs:
    """The hubs of one connection.

    Attributes:
        json: encodes and decodes.
        proxies: a dict from the name of each hub in lower case to its proxy.
    """

    json: ClassicJson
    proxies: dict[str, HubProxy] = attrs.field(factory=dict)

    async def open(
        self, options: ConnectionOptions, ping: float | None, dispatcher: Dispatcher, attempts: Attempts
    ) -> ClassicLink[HubCalls]:
        """Make one attempt to connect."""
        proxies = tuple(self.proxies.values())
        messages = HubMessages(dispatcher, {proxy.name.lower(): proxy.state for proxy in proxies})
        return await open_link(
            options,
            tuple(proxy.name for proxy in proxies),
            ClassicSession(messages, self.json),
            lambda channel: HubCalls(messages, self.json, dispatcher, channel),
            json=self.json,
            ping=ping,
            dispatcher=dispatcher,
            attempts=attempts,
        )


class HubConnection(ClassicConnection[HubCalls]):
    """A connection to the hubs of a server of classic ASP.NET SignalR 2.x.

    For servers of ASP.NET Core SignalR, another protocol, use `signalr_sdk.HubConnection`. What is not said here is as
    there: one object can be used for the whole life of a program, creating it does no I/O, and all methods must be
    called on the event loop on which `start` was called.

    After a loss, the same connection is taken up again if the server still knows it: its id and groups stay, and the
    messages that were sent meanwhile arrive once and in order. Meanwhile the state is `RECONNECTING`. Otherwise a new
    connection is made, and the `on_setup` and `on_connected` handlers are called again.

    Args:
        url: the http(s) URL of all hubs, mostly `https://host/signalr` (ws(s) means the same). Its query is part of
            every request.
        transports: the transports to use: one or several members of `Transport`, or their names. By default all, tried
            in the order WebSockets, Server-Sent Events, long polling. This order cannot be changed.
        access_token: a bearer token, or a sync or async function that returns a token (or `None`). The function is
            called for each attempt to connect. A function with exactly one required positional parameter gets a
            `TokenRequest`. A sync function runs on the event loop and must not block.
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

    Example:
        ```python
        connection = HubConnection("https://example.com/signalr")
        chat = connection.hub("Chat")
        async with connection:
            print(await chat.invoke("Add", 1, 2))
        ```
    """

    _dispatcher_class: type[Dispatcher] = HubEvents

    def __init__(
        self,
        url: str,
        *,
        transports: str | Iterable[str] | None = None,
        access_token: str | TokenProvider | None = None,
        access_token_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        forward_headers: Iterable[str] = (),
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None = None,
        converter: Converter | None = None,
        naming: NamingChoice = "pascal",
        reconnect: RetryPolicy | bool | None = True,
        retry_start: RetryPolicy | bool | None = False,
        ping: float | None = None,
        handler_errors: Literal["report", "raise"] = "report",
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - the default value is immutable
        limits: Limits = Limits(),  # noqa: B008 - the default value is immutable
    ) -> None:
        options = options_of(locals())
        self._hubs = _Hubs(ClassicJson(naming=naming, converter=converter))
        super().__init__(
            options,
            functools.partial(self._hubs.open, options, checked_ping(ping)),
            reconnect=reconnect,
            retry_start=retry_start,
            handler_errors=handler_errors,
        )
        self._values = TypedValues(converter, self._hubs.json.naming)

    def hub(self, name: str) -> HubProxy:
        """Return one of the server's hubs; always the same object for a name, in upper or lower case.

        Name all hubs before `start`: a server sends events only of the hubs that were named when the connection was
        made. The server checks the rights of the user for all of them.

        Args:
            name: the name of the hub.

        Raises:
            StateError: the hub is a new one, and the connection is not `DISCONNECTED`.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a hub is a str, not {type(name).__name__}")
        if not name or HUB_END in name:
            raise ValueError(f"this cannot be the name of a hub: {name!r}")
        known = self._hubs.proxies.get(name.lower())
        if known is not None:
            return known
        if self.state is not ConnectionState.DISCONNECTED:
            raise StateError(
                f"the hub '{name}' was not named before start(): the server learns only there which hubs are wanted"
            )
        return self._hubs.proxies.setdefault(name.lower(), HubProxy(name, self._home()))

    def _home(self) -> ProxyHome:
        return ProxyHome(
            connection=self,
            life=lambda: self._life,
            dispatcher=lambda: self._dispatcher,
            check_loop=self._check_loop,
            values=self._values,
            json=self._hubs.json,
            timeouts=self._timeouts,
            limits=self._limits,
            handlers=self._handlers,
        )
