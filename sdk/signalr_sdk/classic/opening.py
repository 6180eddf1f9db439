"""Opens a classic connection below the hubs: negotiates, opens a transport, waits for the first envelope."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import attrs

from .._connecting.opening import OpenTransport, close_transport, drop_transport, new_sender
from .._core import urls
from .._core.known_secrets import KnownSecrets
from .._core.redaction import redact
from .._guard.foreign import forget_locals
from .._http.client_choice import choose_client, has_web_sockets
from .._http.negotiator import run_steps
from .._transports.contract import TransportSettings
from ..errors import ConnectionClosedError, ConnectionFailedError, RemoteProtocolError, TransportError
from ..options import Transport
from .commands import Commands
from .negotiation import Endpoint, negotiate
from .request_urls import Address, connection_data
from .transports import TransportPlace, open_transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._connecting.options import ConnectionOptions
    from .._http.aiohttp_client import AiohttpClient
    from ..interfaces import HttpClient
    from .negotiation import Negotiated
    from .session import ClassicSession, Deliveries
    from .transports import ClassicTransport


@attrs.define(eq=False, repr=False)
class OpenConnection(OpenTransport["ClassicTransport"]):
    """A classic connection with an open transport. `reopen` replaces the transport after a loss.

    Attributes:
        commands: sends the requests that are no transport.
        first: the calls that deliver the messages that came with the first envelope.
        _place: what transports need to know.
    """

    commands: Commands
    first: Deliveries
    _place: TransportPlace = attrs.field(kw_only=True)

    @property
    def negotiated(self) -> Negotiated:
        """The server's answer to negotiate."""
        return self._place.negotiated

    def hide_secrets(self, error: Exception | None) -> None:
        """Blank out the connection's tokens and keys in the texts of an error, where the server has quoted them."""
        self._place.sender.secrets.hide_in(error)
        # Cursor and groups token change all the time: do not add them to the secrets of the sender, which would grow.
        passing = KnownSecrets()
        passing.add(self._place.session.cursor)
        passing.add(self._place.session.groups_token)
        passing.hide_in(error)

    async def reopen(self) -> None:
        """Open another transport for the same connection, with a fresh token. Call `drop_transport` before.

        Cancelling leaves nothing open.

        Raises:
            ConnectionFailedError: the transport could not be opened.
        """
        self._place.sender.token.forget()
        try:
            await self.replace_transport(open_transport(self.transport.kind, self._place, again=True))
        except ConnectionFailedError as error:
            self.hide_secrets(error)
            forget_locals(error)
            raise

    async def close_transport(self) -> None:
        """Close the transport properly, and keep the HTTP client."""
        await close_transport(self.transport, self.logs)


async def open_connection(
    options: ConnectionOptions, hubs: tuple[str, ...], session: ClassicSession, attempt: Callable[[], int]
) -> OpenConnection:
    """Negotiate, and open the best transport that works. Cancelling leaves nothing open.

    Args:
        options: the options of the connection.
        hubs: the names of the hubs that are wanted.
        session: reads the messages of the connection.
        attempt: returns the present number of the attempt to connect, for the user's token provider.

    Raises:
        ConnectionFailedError: negotiation failed, or no transport works.
    """
    client, own = choose_client(
        options.http, proxy=options.proxy, ssl=options.ssl, server_timeout=options.timeouts.server
    )
    try:
        return await _Opening(options, client, own, session).open(hubs, attempt)
    except BaseException as error:
        forget_locals(error)
        if own is not None:
            await own.close()
        raise


class _Opening:
    """One attempt to connect: one negotiation, then one transport after another, all with the same connection token."""

    def __init__(
        self, options: ConnectionOptions, client: HttpClient, own: AiohttpClient | None, session: ClassicSession
    ) -> None:
        self._options = options
        self._client = client
        self._own_client = own
        self._session = session
        self._failed: list[Exception] = []

    async def open(self, hubs: tuple[str, ...], attempt: Callable[[], int]) -> OpenConnection:
        options = self._options
        sender = new_sender(options, self._client, attempt)
        steps = negotiate(
            Address(options.url, connection_data(hubs)), hubs=hubs, limit=options.limits.redirects, now=time.time()
        )
        endpoint: Endpoint = await run_steps(sender, steps, url=options.url, timeout=options.timeouts.request)
        negotiated = endpoint.negotiated
        sender.secrets.add(negotiated.connection_token)
        options.logs.note_connection(negotiated.connection_id)
        settings = TransportSettings(options.transfer_format, options.limits.message_bytes)
        place = TransportPlace(sender, endpoint.address, negotiated, self._session, settings)
        for kind in self._candidates(negotiated):
            connection = await self._try(kind, place)
            if connection is not None:
                return connection
        raise self._no_transport()

    def _candidates(self, negotiated: Negotiated) -> list[Transport]:
        candidates = list(self._options.transports)
        if Transport.WEBSOCKETS in candidates:
            why = None
            if not negotiated.web_sockets:
                why = "not tried: the server has no WebSockets (TryWebSockets; IIS needs the feature installed)"
            elif not has_web_sockets(self._client):
                why = "not tried: the HTTP client given as http= has no WebSockets"
            if why is not None:
                candidates.remove(Transport.WEBSOCKETS)
                self._failed.append(TransportError(why, transport=Transport.WEBSOCKETS))
        return candidates

    async def _try(self, kind: Transport, place: TransportPlace) -> OpenConnection | None:
        logs, sender = self._options.logs, place.sender
        logs.note_transport(kind)
        self._session.begin()
        try:
            transport = await open_transport(kind, place)
            try:
                first = await self._initialize(transport, place)
            except BaseException:
                await drop_transport(transport, logs)
                raise
        except TransportError as error:
            sender.secrets.hide_in(error)
            forget_locals(error)
            logs.negotiate.info("%s failed to start: %s", kind, error)
            self._failed.append(error)
            return None
        except ConnectionFailedError as error:
            sender.secrets.hide_in(error)
            raise
        logs.negotiate.debug("%s is up", kind)
        commands = Commands(sender, place.address, kind)
        return OpenConnection(transport, commands, first, place=place, logs=logs, own_client=self._own_client)

    async def _initialize(self, transport: ClassicTransport, place: TransportPlace) -> Deliveries:
        """Wait for the first envelope. Return the calls that deliver the messages up to it."""
        kind, limit = transport.kind, self._longest_wait(place.negotiated)
        where = urls.without_query(place.address.url)
        deliveries: Deliveries = []
        received, most = 0, self._options.limits.buffered_bytes
        try:
            async with asyncio.timeout(limit):
                while not self._session.initialized and self._session.error is None:
                    payloads = await transport.receive()
                    if payloads is None:
                        raise TransportError("the server closed it at once", transport=kind, url=where)
                    for payload in payloads:
                        received += len(payload)
                        deliveries += self._session.receive(payload)
                    if received > most and not self._session.initialized:
                        text = f"the server sent {received} bytes, but not that it is ready (Limits.buffered_bytes)"
                        raise TransportError(text, transport=kind, url=where)
        except TimeoutError as error:
            text = f"the server sent nothing within {limit:g} s (Timeouts.handshake, or the server's own limit)"
            raise TransportError(text, transport=kind, url=where) from error
        except (ConnectionClosedError, RemoteProtocolError) as error:
            raise TransportError(f"it failed at once: {error}", transport=kind, url=where) from error
        if self._session.error is not None:
            raise ConnectionFailedError(f"the server refused the connection: {redact(self._session.error)}")
        return deliveries

    def _longest_wait(self, negotiated: Negotiated) -> float | None:
        limits = [limit for limit in (negotiated.connect_timeout, self._options.timeouts.handshake) if limit]
        return min(limits, default=None)

    def _no_transport(self) -> ConnectionFailedError:
        error = ConnectionFailedError(
            f"unable to connect to {urls.without_query(self._options.url)} with any of the available transports",
            tuple(self._failed),
        )
        error.__cause__ = next(iter(self._failed), None)
        return error
