"""`HubServer.faults`: the methods that make a test server fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .active_faults import ActiveFaults, Delay, Fault, FaultAction, Refuse, drop, stall
from .connection_buffers import NO_RULE, FrameRule
from .fault_points import LIVE, REQUESTS, FaultFilter, FaultPoint, parse_points
from .tcp_listener import drop_tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .pending import Pending
    from .transport_connection import TransportConnection

# The WebSocket close code for a connection that ended without a close frame.
_ABNORMAL = 1006
_HOLDABLE = REQUESTS | LIVE | {FaultPoint.HANDSHAKE}
_FRAME_RULE = frozenset({FaultPoint.FRAME_RULE})


@attrs.frozen(kw_only=True)
class ServerControls:
    """The functions of `HubServer` that `Faults` uses. All but `on_loop` may be called on the server's event loop only.

    Attributes:
        on_loop: runs a function on the server's event loop, from any thread, and returns when the function has ended.
        connections: returns the connections of all hubs.
        refuse: refuses new TCP connections until `accept` was called as often as `refuse`.
        accept: undoes one call of `refuse`.
        restart: called with (seconds, graceful). Ends all connections, and accepts new ones after `seconds`. `graceful`
            says whether clients get a Close message first.
    """

    on_loop: Callable[[Callable[[], None]], None]
    connections: Callable[[], list[TransportConnection]]
    refuse: Callable[[], None]
    accept: Callable[[], None]
    restart: Callable[[float, bool], Pending[None]]


class Faults:
    """Makes a test server fail, to test that clients survive the failures.

    All methods may be called from any thread and from coroutines. A method that puts a `Fault` in force returns the
    fault. The fault ends when it has happened `times` times, when its `with` block is left, at `Fault.end()`, at
    `clear()` or when the server stops. Faults that hit the same request happen in the order in which they were made.

    `at` says where a fault happens: the name of a place, several names, or `None` for all places that the method
    accepts. The places for requests are `"negotiate"`, `"connect"` (the WebSocket upgrade, the event stream, the first
    poll), `"resume"` (a new WebSocket for a connection whose WebSocket was lost), `"poll"`, `"post"`, `"delete"` and
    `"refresh"`. All methods with `at`, except `refuse`, also accept `"handshake"`, `"frame in"` and `"frame out"` (data
    that the server receives and sends on a live connection). `transport` and `connection_id` limit a fault to one
    transport or one connection.

    Example:
        ```python
        with server.faults.refuse(503, at="negotiate"):
            server.faults.cut()
            ...  # the client tries to come back
        await hub.wait_connected(timeout=5)
        ```
    """

    def __init__(self, active: ActiveFaults, server: ServerControls) -> None:
        self._active = active
        self._server = server

    # Faults that stay in force until they are ended. Each method returns a `Fault`, which has `end`.

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
            status: the status, from 400 to 599.
            at: the requests to answer.
            transport: only requests of this transport; a negotiate request has no transport.
            connection_id: only requests of this connection; a negotiate request has no connection.
            retry_after: seconds in the header `Retry-After`; `None` for no such header.
            times: how many requests are refused; all by default.
        """
        where = FaultFilter(parse_points(at, REQUESTS), transport=transport, connection_id=connection_id)
        return self._add(where, times, action=Refuse(status, retry_after))

    def drop(
        self,
        at: str | Iterable[str] | None = "negotiate",
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Close the TCP connection instead of answering a request or passing on a frame (data of a live connection)."""
        where = FaultFilter(parse_points(at, _HOLDABLE), transport=transport, connection_id=connection_id)
        return self._add(where, times, action=drop)

    def stall(
        self,
        at: str | Iterable[str] | None = "negotiate",
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Hold requests and frames (data of live connections) until the fault is ended, then let them go on.

        With `times`, only this number of requests and frames is held. All of them stay held until the fault
        is ended, for example by `Fault.end()` or `clear()`.
        """
        where = FaultFilter(parse_points(at, _HOLDABLE), transport=transport, connection_id=connection_id)
        return self._add(where, times, action=stall)

    def delay(
        self,
        seconds: float,
        at: str | Iterable[str] | None = "negotiate",
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Hold each request or frame (data of a live connection) for `seconds`.

        Frames stay in order, so their delays add up.
        """
        where = FaultFilter(parse_points(at, _HOLDABLE), transport=transport, connection_id=connection_id)
        return self._add(where, times, action=Delay(seconds))

    def freeze(self, connection_id: str | None = None, *, transport: str | None = None) -> Fault:
        """Hold all data of live connections, in both directions, and keep the connections open."""
        return self._add(FaultFilter(LIVE, transport=transport, connection_id=connection_id), None, action=stall)

    def stop_pings(self, connection_id: str | None = None, *, times: int | None = None) -> Fault:
        """Send no keep-alive pings. A client that gets no other messages loses the connection by its server timeout.

        With `times`, only this number of pings is left out.
        """
        return self._add(FaultFilter(frozenset({FaultPoint.PING}), connection_id=connection_id), times)

    def split(
        self,
        size: int,
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Send data to clients in pieces of at most `size` bytes.

        Each piece is a WebSocket message, a Server-Sent Event or the response to a long poll. A piece of text may be a
        few bytes longer, because no character is split. `times` limits how often data is split.
        """
        where = FaultFilter(_FRAME_RULE, transport=transport, connection_id=connection_id)
        return self._add(where, times, rule=FrameRule(size=size))

    def join(
        self,
        count: int,
        *,
        transport: str | None = None,
        connection_id: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Hold messages to a client back until there are `count` messages, then send these messages in one frame.

        A frame is a WebSocket message, a Server-Sent Event or the response to a long poll. Handshake responses and
        pings count as messages. The messages are also sent when the fault ends, and when they have 64 KiB together.
        """
        where = FaultFilter(_FRAME_RULE, transport=transport, connection_id=connection_id)
        return self._add(where, times, rule=FrameRule(writes=count))

    def close_port(self) -> Fault:
        """Refuse new TCP connections until the fault ends. No other process can take the port meanwhile.

        Open connections stay open, except idle ones: HTTP connections without a request in progress.
        """
        fault = Fault(FaultFilter(frozenset()), self._end, on_end=self._server.accept)

        def close() -> None:
            self._server.refuse()
            self._active.add(fault)

        self._server.on_loop(close)
        return fault

    def clear(self) -> None:
        """End all faults that are in force."""
        self._server.on_loop(self._active.clear)

    # Faults that happen during the call, and that need not be ended

    def cut(self, connection_id: str | None = None, *, code: int = _ABNORMAL, reset: bool = False) -> int:
        """End connections without a Close message; return the number of ended connections.

        Args:
            connection_id: the connection to end; all by default.
            code: any code but 1006 ends the connection properly, over a WebSocket by a close frame with this code. 1006
                only closes the TCP connection. A connection over a WebSocket or an event stream is then lost, unless
                the client resumes it. Long polling loses only one poll: the open one, or else the next one.
            reset: whether the TCP connection is closed with RST, which is an error for the client, instead of FIN.
        """

        def cut_one(connection: TransportConnection) -> None:
            if code != _ABNORMAL:
                connection.close_code = code
                connection.buffers.end()
            elif connection.tcp is not None:
                drop_tcp(connection.tcp, reset=reset)
            else:
                next_poll = FaultFilter(frozenset({FaultPoint.POLL}), connection_id=connection.connection_id)
                self._active.add(Fault(next_poll, self._active.remove, action=drop, left=1))

        return self._each(connection_id, cut_one)

    def lose_line(self, connection_id: str | None = None) -> int:
        """Lose the TCP connections of live connections without closing them; return the number of lost connections.

        Client and server keep their sockets, but receive nothing more, as when a firewall forgets a connection or a
        phone leaves its network. New TCP connections work. A client cannot resume a WebSocket connection that was lost
        in this way, as in ASP.NET Core: the server waits 5 s for the old WebSocket to close, accepts the new WebSocket
        and closes it.

        Args:
            connection_id: the connection to lose; all by default.
        """

        def lose_one(connection: TransportConnection) -> None:
            if connection.web_socket is not None:
                connection.web_socket.is_dead = True
            else:
                where = FaultFilter(LIVE, connection_id=connection.connection_id)
                self._active.add(Fault(where, self._active.remove, action=stall))

        return self._each(connection_id, lose_one)

    def close(
        self, connection_id: str | None = None, *, error: str | None = None, allow_reconnect: bool = False
    ) -> int:
        """End connections with a Close message; return the number of ended connections.

        Args:
            connection_id: the connection to end; all by default.
            error: the text in the message.
            allow_reconnect: whether the message allows the client to reconnect.
        """

        def close_one(connection: TransportConnection) -> None:
            if connection.client is not None:
                connection.client.abort(error, allow_reconnect=allow_reconnect)

        return self._each(connection_id, close_one)

    def forget(self, connection_id: str | None = None) -> int:
        """Answer all further requests of connections with 404, as if the server did not know the connections.

        An open WebSocket, event stream or poll stays open. Returns the number of forgotten connections.
        """

        def forget_one(connection: TransportConnection) -> None:
            connection.is_forgotten = True

        return self._each(connection_id, forget_one, live=False)

    def restart(self, down: float = 0.0, *, graceful: bool = False) -> Pending[None]:
        """End all connections and begin again on the same port, as if the server's process had died and come back.

        The restart begins when the returned object is awaited; in a thread without an event loop call its `result()`.
        Faults in force stay in force.

        Args:
            down: seconds for which TCP connections are refused.
            graceful: whether clients first get a Close message that allows them to reconnect, as at a normal shutdown.
        """
        return self._server.restart(down, graceful)

    # The methods below may run in any thread: they let the server's event loop do the work.

    def _add(
        self, where: FaultFilter, times: int | None, *, action: FaultAction | None = None, rule: FrameRule = NO_RULE
    ) -> Fault:
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, not {times}")
        fault = Fault(where, self._end, action=action, left=times, rule=rule)
        self._server.on_loop(lambda: self._active.add(fault))
        return fault

    def _end(self, fault: Fault) -> None:
        self._server.on_loop(lambda: self._active.remove(fault))

    def _each(self, connection_id: str | None, act: Callable[[TransportConnection], None], *, live: bool = True) -> int:
        """Call `act` for each connection, on the server's event loop; return the number of calls.

        Args:
            connection_id: only the connection with this id; `None` for all connections.
            act: what to do with the connection.
            live: true to leave out connections that have negotiated but have no transport yet.
        """
        count = 0

        def act_on_all() -> None:
            nonlocal count
            for connection in self._server.connections():
                if connection_id in (None, connection.connection_id) and (connection.client or not live):
                    act(connection)
                    count += 1

        self._server.on_loop(act_on_all)
        return count
