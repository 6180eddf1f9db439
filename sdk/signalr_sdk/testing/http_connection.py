"""A connection between negotiation and its end, as the HTTP side of the test server knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .pipe import Pipe

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from .served import ServedClient


@attrs.define(eq=False)
class HttpConnection:
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
    """

    connection_id: str
    token: str
    user: str | None
    pipe: Pipe = attrs.field(factory=Pipe)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, str] = attrs.field(factory=dict)
    served: ServedClient | None = None
    task: asyncio.Task[None] | None = None
    poll: asyncio.Task[bytes | None] | None = None
    wire: asyncio.BaseTransport | None = None
    close_code: int = 1000
    is_forgotten: bool = False
    gone: asyncio.TimerHandle | None = None

    def expect_nothing(self) -> None:
        """Let it live on though nothing comes."""
        if self.gone is not None:
            self.gone.cancel()
            self.gone = None
