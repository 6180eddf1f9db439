"""Opens the connection below the hub protocol: negotiates, selects a transport, starts the transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import attrs

from .._core import urls
from .._guard.foreign import BoundExceeded, bounded, error_of, forget_locals, is_cancelled
from .._http.client_choice import choose_client, has_web_sockets
from .._http.negotiator import run_negotiation
from .._http.request_sender import RequestSender
from .._http.token_refresh import Refresher
from .._transports.contract import ActiveTransport, TransportSettings
from .._transports.opening import open_transport
from .._transports.selection import select
from ..errors import ConnectionFailedError, HandshakeError, NegotiationError, SignalRError, TransportError
from ..options import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._core.logs import ConnectionLogs
    from .._core.negotiation import Endpoint
    from .._core.path_watch import PathSample
    from .._http.aiohttp_client import AiohttpClient
    from ..interfaces import HttpClient
    from .options import ConnectionOptions

# A dropped transport is closed in a task of its own. If this task does not end within this many seconds, the task is
# left running, and a warning says that the HTTP client does not end.
_PATIENCE = 0.5


class Closable(Protocol):
    """The methods of a transport that end it."""

    async def close(self) -> None:
        """See `ActiveTransport.close`."""

    def drop(self) -> None:
        """See `ActiveTransport.drop`."""


T = TypeVar("T", bound=Closable)


@attrs.define(eq=False, repr=False)
class OpenTransport(Generic[T]):
    """An open transport with its HTTP client. The base class of open connections.

    Attributes:
        transport: the transport in use; `reopen` of the subclass replaces it.
        logs: the loggers of the connection.
        _own_client: the HTTP client, if `close` must close the client too; `None` for a client of the user.
    """

    transport: T
    logs: ConnectionLogs = attrs.field(kw_only=True)
    _own_client: AiohttpClient | None = attrs.field(kw_only=True)
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def sees_paths(self) -> bool:
        """Whether TCP's acknowledgements can be read: only with the package's HTTP client, not with a user's."""
        return self._own_client is not None

    def path_samples(self) -> dict[int, PathSample]:
        """Return a dict from `id(socket)` to a `PathSample`, which says how much the server has not acknowledged.

        The dict is empty with an HTTP client of the user, whose sockets are not known.
        """
        return {} if self._own_client is None else self._own_client.sockets.samples()

    async def replace_transport(self, opening: Coroutine[Any, Any, T]) -> None:
        """Wait for another transport of the same connection, and use it. Cancelling leaves nothing open."""
        transport = await opening
        if is_cancelled():
            # The task was cancelled, but the user's HTTP client has swallowed the cancellation. Drop the new transport:
            # nobody waits for it any more, and another attempt may be running.
            await drop_transport(transport, self.logs)
            raise asyncio.CancelledError
        self.transport = transport

    async def close(self) -> None:
        """Close the transport properly, and the HTTP client. Cancelling `close` drops the connection at once."""
        try:
            await close_transport(self.transport, self.logs)
        finally:
            if self._own_client is not None:
                await self._own_client.close()
        self._closed = True

    async def drop(self) -> None:
        """Close the connection at once, without telling the server. Does nothing after `close`."""
        if not self._closed:
            await drop_transport(self.transport, self.logs, self.close)

    async def drop_transport(self) -> None:
        """Close the transport at once, without telling the server, and keep all that `reopen` needs."""
        await drop_transport(self.transport, self.logs)


@attrs.define(eq=False, repr=False, slots=False)  # without slots: tests replace `reopen` of one connection
class OpenConnection(OpenTransport[ActiveTransport]):
    """A connection with an open transport, below the hub protocol. `reopen` replaces the transport after a loss.

    Attributes:
        _route: opens another transport for this connection.
        endpoint: the result of negotiate; `None` if negotiation was skipped.
        _attempts: the errors of the transports that failed before `transport` was opened.
    """

    _route: Route
    endpoint: Endpoint | None
    _attempts: tuple[Exception, ...] = attrs.field(kw_only=True)

    @property
    def connection_id(self) -> str | None:
        """The connection id from the server's answer to negotiate; `None` if negotiation was skipped."""
        return self.endpoint.connection_id if self.endpoint else None

    @property
    def refresher(self) -> Refresher | None:
        """See `Route`."""
        return self._route.refresher

    def hide_secrets(self, error: SignalRError | None) -> None:
        """Blank out the connection's tokens and keys in the texts of an error, where the server has quoted them."""
        self._route.sender.secrets.hide_in(error)

    def complete(self, error: HandshakeError) -> None:
        """Set the attributes `url`, `transport` and `attempts` of a handshake error; blank out secrets in its texts."""
        error.url, error.transport = urls.without_query(self._route.url), self.transport.kind
        error.attempts = self._attempts
        self.hide_secrets(error)

    @property
    def stateful(self) -> bool:
        """Whether stateful reconnect is agreed on, so that `reopen` may replace a lost transport."""
        return self.endpoint is not None and self.endpoint.stateful and self.transport.kind is Transport.WEBSOCKETS

    async def reopen(self) -> None:
        """Open another transport for the same connection, with a fresh token. Call `drop_transport` before.

        Cancelling leaves nothing open.

        Raises:
            ConnectionFailedError: the new transport could not be opened.
        """
        self._route.sender.token.forget()
        await self.replace_transport(self._route.open(self.transport.kind))


async def close_transport(transport: Closable, logs: ConnectionLogs) -> None:
    """Close a transport properly, and log its error if it raises one. Cancelling drops the transport at once."""
    try:
        await transport.close()
    except BaseException as raised:  # noqa: BLE001 - WebSockets of users may raise anything, and nothing can be done
        error = error_of(raised, "the HTTP client")
        logs.transport.info("the transport did not close in good order: %s", error)


async def drop_transport(
    transport: Closable, logs: ConnectionLogs, close: Callable[[], Coroutine[None, None, None]] | None = None
) -> None:
    """Close a transport at once, without telling the server.

    Args:
        transport: the transport.
        logs: the loggers of the connection.
        close: closes the transport, and more; by default `close_transport`.
    """
    transport.drop()
    closing = close_transport(transport, logs) if close is None else close()
    try:
        # Call `close` to free the resources, but cancel `close` as soon as it waits for the server (time limit 0).
        # The cancellation also drops the connection of a WebSocket that has no method `drop`.
        await bounded(closing, 0, whose="the HTTP client", patience=_PATIENCE, log=logs.transport)
    except BoundExceeded:
        logs.transport.debug("dropped the connection")


@attrs.frozen
class Route:
    """How to open the transports of one connection.

    Attributes:
        sender: sends the requests of the transports.
        url: the URL to connect to, with the connection's `id`.
        settings: formats and limits of the transports.
        refresher: refreshes the token of the connection; `None` if negotiation was skipped.
    """

    sender: RequestSender
    url: str = attrs.field(repr=urls.without_query)
    settings: TransportSettings = attrs.field(kw_only=True)
    refresher: Refresher | None = attrs.field(default=None, kw_only=True)

    async def open(self, kind: Transport) -> ActiveTransport:
        """See `open_transport`. The errors show no secret, neither in a text of the server nor in their frames."""
        try:
            return await open_transport(kind, self.sender, self.url, self.settings, refresher=self.refresher)
        except ConnectionFailedError as error:
            self.sender.secrets.hide_in(error)
            forget_locals(error)
            raise


async def open_connection(options: ConnectionOptions, attempt: Callable[[], int] = lambda: 0) -> OpenConnection:
    """Negotiate, and open the best transport that both sides support and that works. Cancelling leaves nothing open.

    Args:
        options: the options of the connection.
        attempt: returns the present number of the attempt to connect, for the user's token provider.

    Raises:
        ConnectionFailedError: negotiation failed, or no transport works.
    """
    client, own = choose_client(
        options.http, proxy=options.proxy, ssl=options.ssl, server_timeout=options.timeouts.server
    )
    try:
        return await _Opening(options, client, own, attempt).open()
    except BaseException as error:
        forget_locals(error)
        if own is not None:
            await own.close()
        raise


def new_sender(options: ConnectionOptions, client: HttpClient, attempt: Callable[[], int]) -> RequestSender:
    """Return what sends the requests of one attempt to connect.

    Args:
        options: the options of the connection.
        client: the HTTP client.
        attempt: returns the present number of the attempt to connect, for the user's token provider.
    """
    options.logs.note_connection(None)
    return RequestSender(
        client,
        options.url,
        access_token=options.access_token,
        access_token_in=options.access_token_in,
        headers=options.headers,
        cookies=options.cookies,
        forward_headers=options.forward_headers,
        timeouts=options.timeouts,
        logs=options.logs,
        attempt=attempt,
    )


class _Opening:
    """One attempt to connect: tries one transport after another, each after a negotiation of its own.

    Attributes:
        failed: the errors of the transports that were tried so far.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        client: HttpClient,
        own_client: AiohttpClient | None,
        attempt: Callable[[], int],
    ) -> None:
        self._options = options
        self._attempt = attempt
        self._client = client
        self._own_client = own_client
        self._settings = TransportSettings(options.transfer_format, options.limits.message_bytes)
        self.failed: list[Exception] = []

    async def open(self) -> OpenConnection:
        options = self._options
        if options.skip_negotiation:
            return await self._open_without_negotiation()
        wanted = list(options.transports)
        while True:
            # Negotiate anew for each transport: connection id, token and cookies are valid for only one transport.
            sender = new_sender(options, self._client, self._attempt)
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
            connection = await self._try(candidates[0], route, endpoint)
            if connection is not None:
                return connection
            if len(candidates) == 1:
                # The last transport that the server offers has failed. Do not negotiate again: the server would then
                # keep a connection that is never used.
                raise self._no_transport(skipped)
            wanted.remove(candidates[0])

    def _route(self, sender: RequestSender, endpoint: Endpoint) -> Route:
        token = endpoint.connection_token
        url = urls.connect_url(endpoint.url, token)
        if token is None:
            return Route(sender, url, settings=self._settings)
        refresher = Refresher(sender, self._options.url, connection_token=token)
        return Route(sender, url, settings=self._settings, refresher=refresher)

    async def _open_without_negotiation(self) -> OpenConnection:
        sender = new_sender(self._options, self._client, self._attempt)
        if not has_web_sockets(self._client):
            raise ConnectionFailedError(
                "skip_negotiation needs WebSockets, which the HTTP client given as http= cannot open"
            )
        route = Route(sender, self._options.url, settings=self._settings)
        connection = await self._try(Transport.WEBSOCKETS, route, None)
        if connection is None:
            raise self._no_transport([])
        return connection

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
            error.attempts = tuple(self.failed)
            raise

    async def _try(self, kind: Transport, route: Route, endpoint: Endpoint | None) -> OpenConnection | None:
        logs = self._options.logs
        logs.note_transport(kind)
        try:
            transport = await route.open(kind)
        except TransportError as error:
            logs.negotiate.info("%s failed to start: %s", kind, error)
            self.failed.append(error)
            return None
        logs.negotiate.debug("%s is up", kind)
        return OpenConnection(
            transport,
            route,
            endpoint,
            attempts=tuple(self.failed),
            logs=self._options.logs,
            own_client=self._own_client,
        )

    def _no_transport(self, skipped: list[TransportError]) -> ConnectionFailedError:
        tried = {error.transport for error in self.failed if isinstance(error, TransportError)}
        attempts = (*self.failed, *(error for error in skipped if error.transport not in tried))
        error = ConnectionFailedError(
            f"unable to connect to {urls.without_query(self._options.url)} with any of the available transports",
            attempts,
        )
        error.__cause__ = next(iter(attempts), None)
        return error
