"""What can go wrong, at the push of a button: `HubServer.faults`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .active_faults import LIVE, REQUESTS, ActiveFaults, Delay, Fault, Place, Point, Refuse, drop, places, stall
from .connection_buffers import Cut
from .tcp_listener import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .active_faults import Act
    from .loop_thread import Pending
    from .transport_connection import TransportConnection

# The WebSocket close code that stands for a line that is cut without a word.
_ABNORMAL = 1006
_HELD = REQUESTS | LIVE | {Point.HANDSHAKE}


@attrs.frozen
class ServerControls:
    """What the faults have of their server. All but `on_loop` is for its event loop.

    Attributes:
        on_loop: does something on the event loop of the server and waits for it.
        connections: the connections of all hubs.
        refuse: listens no more.
        accept: listens again.
        restart: ends everything and begins again, after so many seconds, with or without telling clients.
    """

    on_loop: Callable[[Callable[[], None]], None]
    connections: Callable[[], list[TransportConnection]]
    refuse: Callable[[], None]
    accept: Callable[[], None]
    restart: Callable[[float, bool], Pending[None]]


class Faults:
    """The faults of a test server, for clients that must survive them.

    All methods may be called from any thread and from coroutines. Those that put a `Fault` in force return it: it is
    over when it has happened `times` times, when its `with` block is left, at `Fault.end()`, `clear()` or the server's
    end. Several faults at one place happen in the order in which they were made.

    `at` names places, one or several, `None` for all: the requests `"negotiate"`, `"connect"` (the WebSocket's upgrade,
    the event stream, the first poll), `"resume"` (a WebSocket for a connection that lost its own), `"poll"`, `"post"`,
    `"delete"` and `"refresh"`; and, where nothing is answered, `"handshake"`, `"frame in"` and `"frame out"` (what is
    received and sent on a live connection). `transport` and `connection_id` narrow that down.

    Example:
        ```python
        with server.faults.refuse(503, at="negotiate"):
            server.faults.cut()
            ...  # the client tries to come back
        await hub.wait_connected(timeout=5)
        ```
    """

    def __init__(self, table: ActiveFaults, server: ServerControls) -> None:
        self._table = table
        self._server = server

    # In force until they end

    def refuse(
        self,
        status: int = 503,
        at: str | Iterable[str] | None = "negotiate",
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        retry_after: int | None = None,
        times: int | None = None,
    ) -> Fault:
        """Answer requests with an HTTP status.

        Args:
            status: from 400 on.
            at: which requests.
            transport: only this one's; negotiation has none.
            connection_id: only this connection's; negotiation has none.
            retry_after: seconds, for the header `Retry-After`.
            times: how many requests; all without it.
        """
        place = Place(places(at, REQUESTS), transport, connection_id)
        return self._add(place, times, Refuse(status, retry_after))

    def drop(
        self,
        at: str | Iterable[str] | None = "negotiate",
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Cut the TCP connection instead of answering, or instead of passing a frame on."""
        return self._add(Place(places(at, _HELD), transport, connection_id), times, drop)

    def stall(
        self,
        at: str | Iterable[str] | None = "negotiate",
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Take what comes and say nothing until the fault ends; then go on as if nothing had been.

        With `times`, only so many are held, and they are held until `Fault.end()` or `clear()`.
        """
        return self._add(Place(places(at, _HELD), transport, connection_id), times, stall)

    def delay(
        self,
        seconds: float,
        at: str | Iterable[str] | None = "negotiate",
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Do everything so many seconds later, one thing after another: each frame waits for the one before."""
        return self._add(Place(places(at, _HELD), transport, connection_id), times, Delay(seconds))

    def freeze(self, connection_id: str | None = None, *, transport: str | None = None) -> Fault:
        """Let nothing through on live connections, in neither direction, and keep them open."""
        return self._add(Place(LIVE, transport, connection_id), None, stall)

    def stop_pings(self, connection_id: str | None = None, *, times: int | None = None) -> Fault:
        """Leave out the keep-alive pings."""
        return self._add(Place(frozenset({Point.PING}), None, connection_id), times)

    def split(
        self,
        size: int,
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Send in pieces: a WebSocket message, an event or a poll's answer has no more than so many bytes.

        Where text must be whole a piece is longer, so that no character is cut. `times` counts what is cut up.
        """
        return self._cut(Cut(size=size), transport, connection_id, times)

    def join(
        self,
        count: int,
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Hold messages back until there are so many of them, and send them in one frame.

        Handshake answers and pings count. What waits goes out when the fault ends, or when it is 64 KiB.
        """
        return self._cut(Cut(writes=count), transport, connection_id, times)

    def close_port(self) -> Fault:
        """Refuse TCP connections; the port stays the server's, and it listens there again when the fault ends.

        Connections that are there stay, but for those on which no request is being answered.
        """
        fault = Fault(Place(frozenset()), None, None, self._end, released=self._server.accept)

        def close() -> None:
            self._server.refuse()
            self._table.add(fault)

        self._server.on_loop(close)
        return fault

    def clear(self) -> None:
        """End all faults that are in force."""
        self._server.on_loop(self._table.clear)

    # At once

    def cut(self, connection_id: str | None = None, *, code: int = _ABNORMAL, reset: bool = False) -> int:
        """Cut connections without a Close message; return how many.

        Args:
            connection_id: which one; all without it.
            code: of the WebSocket close frame. Any but 1006 ends the connection: an event stream and a poll end in good
                order then. With 1006 it is only the TCP connection that is lost: of a WebSocket or an event stream with
                all that hangs on it, unless it can be resumed; of long polling, the open poll or else the next one.
            reset: whether the client's system hears of an error (RST) and not just of the end (FIN).
        """

        def cut_one(connection: TransportConnection) -> None:
            if code != _ABNORMAL:
                connection.close_code = code
                connection.pipe.end()
            elif connection.wire is not None:
                cut(connection.wire, reset=reset)
            else:
                place = Place(frozenset({Point.POLL}), None, connection.connection_id)
                self._table.add(Fault(place, drop, 1, self._table.remove))

        return self._each(connection_id, cut_one)

    def close(
        self, connection_id: str | None = None, *, error: str | None = None, allow_reconnect: bool = False
    ) -> int:
        """End connections with a Close message; return how many.

        Args:
            connection_id: which one; all without it.
            error: the text in the message.
            allow_reconnect: whether the client may come back.
        """

        def close_one(connection: TransportConnection) -> None:
            if connection.served is not None:
                connection.served.abort(error, allow_reconnect=allow_reconnect)

        return self._each(connection_id, close_one)

    def forget(self, connection_id: str | None = None) -> int:
        """Answer the next requests of connections with 404: the server knows nothing of them; return how many.

        What is open stays open: a WebSocket, an event stream, a poll.
        """

        def forget_one(connection: TransportConnection) -> None:
            connection.is_forgotten = True

        return self._each(connection_id, forget_one, live=False)

    def restart(self, down: float = 0.0, *, graceful: bool = False) -> Pending[None]:
        """End everything and begin again on the same port, as when the server's process dies and comes back.

        It begins when it is awaited; in a thread without an event loop call `result()` of what is returned. Faults in
        force stay.

        Args:
            down: seconds in which connections are refused.
            graceful: whether clients are told that they may come back, as by a server that is shut down.
        """
        return self._server.restart(down, graceful)

    # Inside

    def _add(self, place: Place, times: int | None, act: Act | None = None, cut: Cut | None = None) -> Fault:
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, not {times}")
        fault = Fault(place, act, times, self._end, cut or Cut())
        self._server.on_loop(lambda: self._table.add(fault))
        return fault

    def _cut(self, cut: Cut, transport: str | None, connection_id: str | None, times: int | None) -> Fault:
        return self._add(Place(frozenset({Point.CUT}), transport, connection_id), times, cut=cut)

    def _end(self, fault: Fault) -> None:
        self._server.on_loop(lambda: self._table.remove(fault))

    def _each(self, connection_id: str | None, do: Callable[[TransportConnection], None], *, live: bool = True) -> int:
        count = 0

        def do_all() -> None:
            nonlocal count
            for connection in self._server.connections():
                if connection_id in (None, connection.connection_id) and (connection.served or not live):
                    do(connection)
                    count += 1

        self._server.on_loop(do_all)
        return count
