"""A connection between negotiation and its end, as the HTTP side of the test server knows it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
from aiohttp import WSMsgType

from .connection_buffers import Pipe
from .tcp_listener import cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from .connected_client import ConnectedClient


# So long a client may take to answer the end of a WebSocket that another one has replaced.
_GRACE = 5.0
_NORMAL_CLOSURE = (1000).to_bytes(2, "big")


@attrs.define(eq=False)
class ServerWebSocket:
    """A WebSocket that carries a connection.

    Attributes:
        socket: the WebSocket.
        writer: the task that writes to it.
        wire: its TCP connection.
        closing: the task that closes it, when another one carries the connection.
    """

    socket: web.WebSocketResponse
    writer: asyncio.Task[None]
    wire: asyncio.BaseTransport | None
    closing: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Begin to close it in good order: the client is to answer."""
        self.writer.cancel()
        self.closing = asyncio.create_task(self._close(), name="hub WebSocket closing")

    async def _close(self) -> None:
        # Not `socket.close()`: while somebody reads, that drops the TCP connection before the client can answer.
        with suppress(ConnectionError):
            await self.socket.send_frame(_NORMAL_CLOSURE, WSMsgType.CLOSE)
            await asyncio.sleep(_GRACE)
        cut(self.wire, reset=False)

    def give_up(self) -> None:
        """The client has answered, or is gone."""
        self.writer.cancel()
        if self.closing is not None:
            self.closing.cancel()


@attrs.define(eq=False)
class TransportConnection:
    """A connection that was negotiated.

    Attributes:
        connection_id: its public id.
        token: its secret id.
        user: what `authorize` said.
        pipe: its bytes.
        headers: of the request that opened its transport.
        query: of the same.
        served: what serves it, once a transport is there.
        task: the task of that.
        poll: the poll that is held open.
        wire: the TCP connection of the WebSocket, event stream or poll that is open.
        close_code: of its WebSocket.
        is_forgotten: its requests are answered as if it were unknown.
        gone: ends the connection when nothing comes for it.
        is_stateful: whether stateful reconnect was negotiated.
        carrier: the WebSocket that carries it.
        expires_at: when its token runs out, if it does; on the event loop's clock.
        expiry: ends the connection then.
    """

    connection_id: str
    token: str
    user: str | None
    pipe: Pipe = attrs.field(factory=Pipe)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, str] = attrs.field(factory=dict)
    served: ConnectedClient | None = None
    task: asyncio.Task[None] | None = None
    poll: asyncio.Task[bytes | None] | None = None
    wire: asyncio.BaseTransport | None = None
    close_code: int = 1000
    is_forgotten: bool = False
    gone: asyncio.TimerHandle | None = None
    is_stateful: bool = False
    carrier: ServerWebSocket | None = None
    expires_at: float | None = None
    expiry: asyncio.TimerHandle | None = None

    def replace_web_socket(self) -> None:
        """Let go of the WebSocket that carries it, since another one is there."""
        self.expect_nothing()
        if self.carrier is not None:
            self.carrier.close()
            self.carrier = None

    def never_expire(self) -> None:
        """Let it live on though its token runs out."""
        self.expires_at = None
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None

    def expire(self) -> None:
        """End it because its token has run out; the client may come back with another one."""
        if self.served is not None:
            self.served.abort(allow_reconnect=True)
        else:
            self.is_forgotten = True

    def expect_nothing(self) -> None:
        """Let it live on though nothing comes."""
        if self.gone is not None:
            self.gone.cancel()
            self.gone = None
