"""Opening the connection below the hub protocol: negotiate, choose a transport, bring it up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .._core import urls
from .._core.logs import ConnectionLogs
from .._http.choice import choose_client, has_web_sockets
from .._http.negotiator import run_negotiation
from .._http.request_sender import RequestSender
from .._http.token_refresh import Refresher
from .._transports import ActiveTransport, TransportSettings, open_transport
from .._transports.selection import select
from ..errors import (
    ConnectionFailedError,
    NegotiationError,
    TransportError,
)
from ..options import Limits, Timeouts, TransferFormat, Transport

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    import aiohttp
    import httpx

    from .._core.negotiation import Endpoint
    from .._http.aiohttp_client import AiohttpClient
    from ..interfaces import HttpClient, TokenProvider


_ALL = tuple(Transport)


def _transports(value: str | Iterable[str] | None) -> tuple[Transport, ...]:
    if value is None:
        return _ALL
    names = {value} if isinstance(value, str) else set(value)
    try:
        chosen = {Transport(name) for name in names}
    except ValueError:
        allowed = ", ".join(Transport)
        raise ValueError(f"transports must be one or several of {allowed}, not {value!r}") from None
    if not chosen:
        raise ValueError("transports is empty: name at least one, or leave it out for all")
    return tuple(transport for transport in Transport if transport in chosen)


def _names(value: Iterable[str]) -> tuple[str, ...]:
    # Not `tuple` itself: attrs reads the signature of a converter, which takes 2 ms of the import for a class in C.
    return tuple(value)


def _transfer_format(value: str) -> TransferFormat:
    return TransferFormat(value.capitalize())


@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """What connections and hub connections have in common; checked here, once."""

    url: str = attrs.field(converter=urls.hub_url)
    transports: tuple[Transport, ...] = attrs.field(converter=_transports)
    skip_negotiation: bool
    access_token: str | TokenProvider | None = attrs.field(repr=False)
    access_token_in: Literal["header", "query"] = attrs.field(validator=attrs.validators.in_(("header", "query")))
    headers: Mapping[str, str] | None = attrs.field(repr=False)
    cookies: Mapping[str, str] | None = attrs.field(repr=False)
    forward_headers: tuple[str, ...] = attrs.field(converter=_names)
    proxy: str | None = attrs.field(repr=False)
    ssl: ssl_module.SSLContext | bool
    http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None = attrs.field(repr=False)
    timeouts: Timeouts = attrs.field(validator=attrs.validators.instance_of(Timeouts))
    limits: Limits = attrs.field(validator=attrs.validators.instance_of(Limits))
    transfer_format: TransferFormat = attrs.field(converter=_transfer_format)
    stateful: bool = False
    logs: ConnectionLogs = attrs.field(init=False, eq=False, repr=False)

    @logs.default
    def _new_logs(self) -> ConnectionLogs:
        return ConnectionLogs(urls.without_query(self.url))

    @classmethod
    def make(cls, *, transports: str | Iterable[str] | None, skip_negotiation: bool, **rest: Any) -> ConnectionOptions:
        """Return the options, with what one of them implies for another."""
        if skip_negotiation and transports is None:
            transports = Transport.WEBSOCKETS
        return cls(transports=transports, skip_negotiation=skip_negotiation, **rest)

    def __attrs_post_init__(self) -> None:
        if self.skip_negotiation and self.transports != (Transport.WEBSOCKETS,):
            raise ValueError("skip_negotiation works with transports=Transport.WEBSOCKETS only")
        binary = self.transfer_format is TransferFormat.BINARY
        if binary and self.transports == (Transport.SERVER_SENT_EVENTS,):
            raise ValueError("Server-Sent Events carry text only: MessagePack needs WebSockets or long polling")


class OpenConnection:
    """A transport that is up, and what it stands on.

    Attributes:
        transport: the transport.
        endpoint: what negotiate said; `None` if it was skipped.
    """

    def __init__(
        self,
        transport: ActiveTransport,
        route: Route,
        endpoint: Endpoint | None = None,
        own_client: AiohttpClient | None = None,
    ) -> None:
        self.transport = transport
        self.endpoint = endpoint
        self._route = route
        self._own_client = own_client
        self._closed = False

    @property
    def connection_id(self) -> str | None:
        """The id that the server gave; `None` if negotiation was skipped."""
        return self.endpoint.connection_id if self.endpoint else None

    @property
    def logs(self) -> ConnectionLogs:
        """Its loggers."""
        return self._route.sender.logs

    @property
    def refresher(self) -> Refresher | None:
        """See `Route`."""
        return self._route.refresher

    @property
    def stateful(self) -> bool:
        """Whether the server keeps the connection for a while when its transport is lost: see `reopen`."""
        return self.endpoint is not None and self.endpoint.stateful and self.transport.kind is Transport.WEBSOCKETS

    async def reopen(self) -> None:
        """Open another transport for the same connection, with a fresh token. The lost one must be closed.

        Raises:
            ConnectionFailedError: it did not work. Cancelling it leaves nothing open.
        """
        self._route.sender.use_fresh_token()
        self.transport = await self._route.open(self.transport.kind)

    async def close(self) -> None:
        """Close in good order. Cancelling it drops the connection at once."""
        try:
            await self._close_transport()
        finally:
            if self._own_client is not None:
                await self._own_client.close()
        self._closed = True

    async def drop(self) -> None:
        """Close at once; does nothing if it is closed."""
        if not self._closed:
            self._drop_transport()
            await self._at_once(self.close)

    async def drop_transport(self) -> None:
        """Close the transport at once, and keep what is needed for `reopen`."""
        self._drop_transport()
        await self._at_once(self._close_transport)

    def _drop_transport(self) -> None:
        # Not all can; cancelling `close` does the same.
        drop = getattr(self.transport, "drop", None)
        if drop is not None:
            drop()

    async def _close_transport(self) -> None:
        try:
            await self.transport.close()
        except Exception as error:  # noqa: BLE001 - transports of users may raise anything, and it is over anyway
            self.logs.transport.info("the transport did not close in good order: %s", error)

    async def _at_once(self, close: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(0):
                await close()
        except TimeoutError:
            self.logs.transport.debug("dropped the connection")


@attrs.frozen
class Route:
    """Where and how the transports of one connection are opened.

    Attributes:
        sender: sends their requests.
        url: where to, with the connection's `id`.
        settings: what transports need to know.
        refresher: refreshes the token of the connection; `None` if negotiation was skipped.
    """

    sender: RequestSender
    url: str = attrs.field(repr=urls.without_query)
    settings: TransportSettings
    refresher: Refresher | None = None

    async def open(self, kind: Transport) -> ActiveTransport:
        """See `open_transport`."""
        return await open_transport(kind, self.sender, self.url, self.settings, self.refresher)


async def open_connection(options: ConnectionOptions) -> OpenConnection:
    """Negotiate and bring a transport up: the best that both sides have and that works.

    Raises:
        ConnectionFailedError: none works, or negotiation failed. Cancelling it leaves nothing open.
    """
    client, own = choose_client(options.http, proxy=options.proxy, ssl=options.ssl)
    try:
        transport, route, endpoint = await _Opening(options, client).open()
    except BaseException:
        if own is not None:
            await own.close()
        raise
    return OpenConnection(transport, route, endpoint, own)


class _Opening:
    """One attempt to connect: each transport in turn, each with a negotiation of its own."""

    def __init__(self, options: ConnectionOptions, client: HttpClient) -> None:
        self._options = options
        self._client = client
        self._settings = TransportSettings(options.transfer_format, options.limits.message_bytes, options.timeouts)
        self._failed: list[Exception] = []

    async def open(self) -> tuple[ActiveTransport, Route, Endpoint | None]:
        options = self._options
        if options.skip_negotiation:
            return *await self._open_without_negotiation(), None
        wanted = list(options.transports)
        while True:
            # A connection id is good for one try, and so are the token and cookies that came with it.
            sender = self._new_sender()
            endpoint = await self._negotiate(sender, stateful=options.stateful and Transport.WEBSOCKETS in wanted)
            options.logs.note_connection(endpoint.connection_id)
            candidates, skipped = select(
                endpoint.transports,
                wanted,
                options.transfer_format,
                web_sockets_supported=has_web_sockets(self._client),
            )
            if not candidates:
                raise self._no_transport(skipped)
            route = self._route(sender, endpoint)
            transport = await self._try(candidates[0], route)
            if transport is not None:
                return transport, route, endpoint
            if len(candidates) == 1:
                # Another negotiation would open a connection that nobody uses.
                raise self._no_transport(skipped)
            wanted.remove(candidates[0])

    def _route(self, sender: RequestSender, endpoint: Endpoint) -> Route:
        options, token = self._options, endpoint.connection_token
        url = urls.connect_url(endpoint.url, token)
        if token is None:
            return Route(sender, url, self._settings)
        refresher = Refresher(sender, options.url, token, timeout=options.timeouts.request)
        return Route(sender, url, self._settings, refresher)

    async def _open_without_negotiation(self) -> tuple[ActiveTransport, Route]:
        if not has_web_sockets(self._client):
            raise ConnectionFailedError(
                "skip_negotiation needs WebSockets, which the HTTP client given as http= cannot open"
            )
        route = Route(self._new_sender(), self._options.url, self._settings)
        transport = await self._try(Transport.WEBSOCKETS, route)
        if transport is None:
            raise self._no_transport([])
        return transport, route

    def _new_sender(self) -> RequestSender:
        options = self._options
        options.logs.note_connection(None)
        return RequestSender(
            self._client,
            options.url,
            access_token=options.access_token,
            access_token_in=options.access_token_in,
            headers=options.headers,
            cookies=options.cookies,
            forward_headers=options.forward_headers,
            timeouts=options.timeouts,
            logs=options.logs,
        )

    async def _negotiate(self, sender: RequestSender, *, stateful: bool) -> Endpoint:
        options = self._options
        try:
            return await run_negotiation(
                sender,
                options.url,
                redirects=options.limits.redirects,
                timeout=options.timeouts.request,
                stateful=stateful,
            )
        except NegotiationError as error:
            error.attempts = tuple(self._failed)
            raise

    async def _try(self, kind: Transport, route: Route) -> ActiveTransport | None:
        logs = self._options.logs
        logs.note_transport(kind)
        try:
            transport = await route.open(kind)
        except TransportError as error:
            logs.negotiate.info("%s failed to start: %s", kind, error)
            self._failed.append(error)
            return None
        logs.negotiate.debug("%s is up", kind)
        return transport

    def _no_transport(self, skipped: list[TransportError]) -> ConnectionFailedError:
        tried = {error.transport for error in self._failed if isinstance(error, TransportError)}
        attempts = (*self._failed, *(error for error in skipped if error.transport not in tried))
        error = ConnectionFailedError(
            f"unable to connect to {urls.without_query(self._options.url)} with any of the available transports",
            attempts,
        )
        error.__cause__ = next(iter(attempts), None)
        return error
