"""A connection of the test server, from negotiation to its end: its buffers, open WebSocket or poll, and timers."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs
from aiohttp import WSMsgType, web

from ..errors import ConnectionClosedError
from .connection_buffers import ConnectionBuffers, FrameRule
from .fault_points import FaultPoint, FaultSite
from .tcp_listener import drop_tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .connected_client import ConnectedClient
    from .served_hub import ServedHub

UNCACHED = {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"}

# A client may take this many seconds to connect a transport after negotiation, and from one poll to the next. After
# that, its connection is dropped.
_GAP = 15.0
# When a client resumes over a new WebSocket, it may take this many seconds to answer the close frame on the old one.
_CLOSE_TIMEOUT = 5.0
_NORMAL_CLOSURE = (1000).to_bytes(2, "big")


@attrs.define(eq=False)
class ServerWebSocket:
    """One WebSocket of a connection. Each resume (stateful reconnect) gives the connection a new WebSocket.

    Attributes:
        socket: aiohttp's WebSocket.
        writer: the task that writes to the WebSocket.
        tcp: asyncio's transport of the TCP connection.
        is_dead: whether the fault `lose_line` has hit this WebSocket: nothing arrives at either end any more.
        gone: set when the WebSocket has ended; never set after `lose_line`, since the server cannot learn of the end.
    """

    socket: web.WebSocketResponse
    writer: asyncio.Task[None]
    tcp: asyncio.WriteTransport | None = attrs.field(kw_only=True)
    is_dead: bool = attrs.field(default=False, init=False)
    gone: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    async def close(self) -> bool:
        """Send a close frame; return whether the client has answered with its own close frame within 5 s."""
        self.writer.cancel()
        # Do not call `socket.close()`: while `run_web_socket` reads from the WebSocket, `socket.close()` closes the TCP
        # connection without waiting for the client's close frame.
        try:
            with suppress(ConnectionError):
                if not self.is_dead:
                    await self.socket.send_frame(_NORMAL_CLOSURE, WSMsgType.CLOSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self.gone.wait()
        finally:
            # aiohttp cancels this method when the TCP connection of the new WebSocket is lost meanwhile.
            drop_tcp(self.tcp, reset=False)
        return self.gone.is_set()

    def end(self) -> None:
        """Note that this WebSocket has ended: cancel its writer, and let `close` return."""
        self.writer.cancel()
        if not self.is_dead:
            self.gone.set()


@attrs.define(eq=False)
class TransportConnection:
    """A connection of a client. The client's requests name the connection by its connection token, in the query.

    Attributes:
        connection_id: the id that hubs and clients see, which is no secret.
        token: the connection token, a secret, in the URLs of the client's requests.
        user: name of the user; empty for a user without a name.
        hub: the hub that the client has connected to.
        on_drop: called when the connection is ended by `drop`, to remove it from the hub's connections.
        buffers: the bytes from and to the client.
        headers: headers of the request that opened the transport.
        query: query of the request that opened the transport.
        client: serves the hub over this connection; `None` until a transport is open.
        task: the task that runs `client.serve`.
        poll: the task that waits for the data of the open poll; `None` while no poll is open.
        web_socket: the open WebSocket, if there is one.
        tcp: asyncio's transport of the TCP connection of the open WebSocket, event stream or poll.
        close_code: code of the close frame with which the server closes the WebSocket.
        is_forgotten: whether requests are answered as if this connection did not exist.
        is_stateful: whether stateful reconnect was negotiated.
        expires_at: when the token of the client expires, in the event loop's time; `None` if it never expires.
    """

    connection_id: str
    token: str
    user: str | None = attrs.field(kw_only=True)
    hub: ServedHub = attrs.field(kw_only=True)
    on_drop: Callable[[], object] = attrs.field(kw_only=True)
    buffers: ConnectionBuffers = attrs.field(factory=ConnectionBuffers, init=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, init=False)
    query: Mapping[str, str] = attrs.field(factory=dict, init=False)
    client: ConnectedClient | None = attrs.field(default=None, init=False)
    task: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    poll: asyncio.Task[bytes | None] | None = attrs.field(default=None, init=False)
    web_socket: ServerWebSocket | None = attrs.field(default=None, init=False)
    tcp: asyncio.WriteTransport | None = attrs.field(default=None, init=False)
    close_code: int = attrs.field(default=1000, init=False)
    is_forgotten: bool = attrs.field(default=False, init=False)
    is_stateful: bool = attrs.field(default=False, init=False)
    expires_at: float | None = attrs.field(default=None, init=False)
    expiry: asyncio.TimerHandle | None = attrs.field(default=None, init=False)
    _gap: asyncio.TimerHandle | None = attrs.field(default=None, init=False)

    def site(self, point: FaultPoint) -> FaultSite:
        """Return a `FaultSite` with this point and connection, to find the faults that match."""
        return FaultSite(point, transport=self.buffers.transport, connection_id=self.connection_id, tcp=self.tcp)

    async def apply_faults(self, point: FaultPoint) -> None:
        """Run the faults that match this point and connection. Return when the server may go on."""
        await self.hub.faults.apply(self.site(point))

    async def next_frame(self) -> bytes | None:
        """Wait for the next WebSocket message or event for the client; return `None` at the end of the connection."""
        data = await self.buffers.next_frame(lambda: self.frame_rule(text=not (self.client and self.client.binary)))
        await self.apply_faults(FaultPoint.FRAME_OUT)
        return data

    def frame_rule(self, *, text: bool) -> FrameRule:
        """Return the `FrameRule` for the next bytes to the client. `text` says whether the bytes are UTF-8 text."""
        return self.hub.faults.frame_rule(self.site(FaultPoint.FRAME_RULE), text=text)

    async def replace_web_socket(self) -> bool:
        """Close the old WebSocket, since the client resumes over a new one.

        Return false if the client has not answered the close frame: the connection must then be dropped and not
        resumed, as in ASP.NET Core.
        """
        self.stop_gap_timer()
        old, self.web_socket = self.web_socket, None
        return old is None or await old.close()

    def drop_after(self, seconds: float | None = None) -> None:
        """Drop the connection if no request of its client comes within so many seconds, 15 by default."""
        error = ConnectionClosedError("the client has not come back")
        self.stop_gap_timer()
        delay = _GAP if seconds is None else seconds
        self._gap = asyncio.get_running_loop().call_later(delay, self.drop, error)

    def stop_gap_timer(self) -> None:
        """Stop the timer of `drop_after`, because the client has made a request."""
        if self._gap is not None:
            self._gap.cancel()

    def drop(self, error: ConnectionClosedError | None = None) -> None:
        """End the connection and remove it from the server. `Hub.on_disconnected` gets the error, if there is one."""
        self.stop_gap_timer()
        self.stop_expiry()
        self.buffers.end(error)
        self.on_drop()

    def expire(self) -> None:
        """End the connection because the client's token has expired. The client may reconnect with another token."""
        if self.client is not None:
            self.client.abort(allow_reconnect=True)
        else:
            self.is_forgotten = True

    def stop_expiry(self) -> None:
        """Stop the timer that ends the connection when the client's token expires."""
        self.expires_at = None
        if self.expiry is not None:
            self.expiry.cancel()


@contextmanager
def closing_when_unreachable(
    request: web.Request, connection: TransportConnection, client: ConnectedClient
) -> Iterator[None]:
    """Run the block that writes to a client. If the client is gone or reads too slowly, close its TCP connection.

    The connection of the client then ends too, unless the client can resume (stateful reconnect).
    """
    try:
        yield
    except (ConnectionError, TimeoutError):
        if not client.resumable:
            connection.buffers.end(ConnectionClosedError("the client is gone, or reads nothing"))
        if request.transport is not None:
            request.transport.abort()
