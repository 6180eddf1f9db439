"""`ClassicHubServer.faults`: the methods that make the classic test server fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs
from aiohttp import web

from ..active_faults import ActiveFaults, Answer, Delay, Fault, FaultAction, reset, stall
from ..fault_points import COMMANDS, FaultFilter, FaultPoint, parse_points, path_key
from .codec import CODEC
from .endpoint import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ...options import Transport
    from ..fault_points import FaultSite
    from ..pending import Pending
    from .connection import ClassicConnection

_JSON = "application/json"


@attrs.frozen(kw_only=True)
class ClassicControls:
    """The functions of `ClassicHubServer` that `ClassicFaults` uses.

    All but `on_loop` may be called on the server's event loop only.

    Attributes:
        on_loop: runs a function on the server's event loop, from any thread, and returns when the function has ended.
        connections: returns the connections of all paths.
        refuse: refuses new TCP connections and closes all open ones, until `accept` is called.
        accept: accepts TCP connections again.
        restart: called with (new keys, seconds): the server dies and comes back after `seconds`.
        shut_down: ends the application in good order, and begins another one.
    """

    on_loop: Callable[[Callable[[], None]], None]
    connections: Callable[[], Iterable[ClassicConnection]]
    refuse: Callable[[], None]
    accept: Callable[[], None]
    restart: Callable[[bool, float], Pending[None]]
    shut_down: Callable[[], None]


class ClassicFaults:
    """Makes a classic test server fail, to test that clients survive the failures.

    All methods may be called from any thread and from coroutines. A method that puts a `Fault` in force returns the
    fault. The fault ends when it has happened `times` times, when its `with` block is left, at `Fault.end()`, at
    `clear()` or when the server stops.

    `command` is the last part of a request's path: `"negotiate"`, `"connect"`, `"start"`, `"reconnect"`, `"poll"`,
    `"send"`, `"abort"`, `"ping"` or `"hubs"`. Several commands may be given, or `None` for all commands. `transport`
    limits a fault to one transport. `path` limits a fault to one path; the server need not serve anything else there.

    Example:
        ```python
        async with ClassicHubServer({"Chat": ClassicHub}) as server:
            with server.faults.answer("reconnect", 503, times=None):
                server.faults.drop("reset")
                ...  # the client tries to come back
        ```
    """

    def __init__(self, active: ActiveFaults, server: ClassicControls) -> None:
        self._active = active
        self._server = server

    # Faults that stay in force until they are ended. Each method returns a `Fault`, which has `end`.

    def answer(
        self,
        command: str | Iterable[str] | None,
        status: int,
        body: str = "",
        *,
        times: int | None = 1,
        transport: str | None = None,
        path: str | None = None,
        content_type: str = "text/plain",
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Answer requests in place of the server.

        Args:
            command: the requests to answer.
            status: the status of the answer.
            body: the body of the answer.
            times: how many requests are answered; `None` for all.
            transport: only requests of this transport.
            path: only requests of this path.
            content_type: the media type of the body.
            headers: other headers of the answer.
        """
        action = Answer(status, body, content_type=content_type, headers=headers or {})
        return self._add(command, times, action, transport=transport, path=path)

    def delay(
        self,
        command: str | Iterable[str] | None,
        seconds: float,
        *,
        times: int | None = 1,
        transport: str | None = None,
        path: str | None = None,
    ) -> Fault:
        """Hold requests for some seconds before the server handles them."""
        return self._add(command, times, Delay(seconds), transport=transport, path=path)

    def hang(
        self,
        command: str | Iterable[str] | None,
        *,
        times: int | None = 1,
        transport: str | None = None,
        path: str | None = None,
    ) -> Fault:
        """Hold requests until the fault is ended, then let them go on."""
        return self._add(command, times, stall, transport=transport, path=path)

    def hang_up(
        self,
        command: str | Iterable[str] | None,
        *,
        times: int | None = 1,
        transport: str | None = None,
        path: str | None = None,
    ) -> Fault:
        """Reset the TCP connection instead of answering a request."""
        return self._add(command, times, reset, transport=transport, path=path)

    def redirect(
        self,
        url: str,
        *,
        access_token: str | None = None,
        status: int | None = None,
        times: int | None = None,
        path: str | None = None,
    ) -> Fault:
        """Send clients to another URL.

        Args:
            url: the URL.
            access_token: the token that clients use there.
            status: by default, negotiate is answered with the URL (`RedirectUrl`), as Azure SignalR Service does. With
                a status from 300 to 399, every request is answered with it, and with its own URL there.
            times: how many requests are answered; all by default.
            path: only requests of this path.
        """
        if status is not None:
            return self._add(None, times, _Moved(status, url), path=path)
        members: dict[str, str] = {"ProtocolVersion": "2.0", "RedirectUrl": url}
        if access_token is not None:
            members["AccessToken"] = access_token
        return self.answer(
            "negotiate", 200, CODEC.encode_value(members).decode(), times=times, path=path, content_type=_JSON
        )

    def silence(
        self, *, keep_alive_only: bool = False, transport: str | None = None, connection_id: str | None = None
    ) -> Fault:
        """Discard the data that open transports should send, as if the data were lost on the way to the clients.

        Answers to `/send` are not discarded.

        Args:
            keep_alive_only: discard only the keep-alives.
            transport: only this transport.
            connection_id: only this connection.
        """
        points = {FaultPoint.KEEP_ALIVE} if keep_alive_only else {FaultPoint.KEEP_ALIVE, FaultPoint.FRAME_OUT}
        where = FaultFilter(frozenset(points), transport=_transport(transport), connection_id=connection_id)
        fault = Fault(where, self._end)
        self._server.on_loop(lambda: self._active.add(fault))
        return fault

    def refuse(self) -> Fault:
        """Close all TCP connections, and refuse new ones until the fault ends."""
        fault = Fault(FaultFilter(frozenset()), self._end, on_end=self._server.accept)

        def refuse() -> None:
            self._server.refuse()
            self._active.add(fault)

        self._server.on_loop(refuse)
        return fault

    def clear(self) -> None:
        """End all faults that are in force."""
        self._server.on_loop(self._active.clear)

    # Faults that happen during the call, and that need not be ended

    def drop(
        self,
        how: Literal["reset", "fin", "close"] = "reset",
        *,
        transport: str | None = None,
        connection_id: str | None = None,
    ) -> int:
        """End the open transports; return their number. Clients can take their connections up again.

        Args:
            how: `"reset"` and `"fin"` close the TCP connection with RST or FIN. `"close"` ends the transport in good
                order: the WebSocket with a close frame, the event stream with its end, the poll with an empty answer.
            transport: only this transport.
            connection_id: only this connection.
        """
        if how not in ("reset", "fin", "close"):
            raise ValueError(f"how must be 'reset', 'fin' or 'close', not {how!r}")

        def drop_one(connection: ClassicConnection) -> bool:
            if connection.feed is None:
                return False
            if how == "close":
                connection.feed.end(is_cut=True)
            else:
                connection.feed.drop(reset=how == "reset")
            return True

        return self._each(drop_one, transport, connection_id)

    def end(self, text: str, *, connection_id: str | None = None) -> int:
        """Send an error that ends connections for good (`E`); return the number of clients that get it."""
        return self.push(CODEC.encode({"E": text}).decode(), connection_id=connection_id)

    def push(self, text: str, *, transport: str | None = None, connection_id: str | None = None) -> int:
        """Send any text over the open transports, such as an envelope; return the number of clients that get it.

        A client that is between two polls gets it with the next poll.
        """
        return self._each(lambda connection: connection.push(text.encode()), transport, connection_id)

    def shut_down(self) -> None:
        """End the application in good order and begin another one, as when an application pool is recycled.

        Polls are answered with the request to reconnect (`T`), other transports end. The tokens of clients stay valid.
        All messages and cursors are gone. No method of a hub is called.
        """
        self._server.on_loop(self._server.shut_down)

    def restart(self, keys: Literal["new", "same"] = "new", *, down: float = 0.0) -> Pending[None]:
        """End the server as if its process had died, and let it come back on the same port.

        The restart begins when the returned object is awaited; in a thread without an event loop call its `result()`.
        Faults in force stay in force. No method of a hub is called.

        Args:
            keys: with `"same"` keys the server accepts the tokens of before; with `"new"` keys it answers 400.
            down: seconds for which TCP connections are refused.
        """
        if keys not in ("new", "same"):
            raise ValueError(f"keys must be 'new' or 'same', not {keys!r}")
        return self._server.restart(keys == "new", down)

    # The methods below may run in any thread: they let the server's event loop do the work.

    def _add(
        self,
        command: str | Iterable[str] | None,
        times: int | None,
        action: FaultAction,
        *,
        transport: str | None = None,
        path: str | None = None,
    ) -> Fault:
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, not {times}")
        where = FaultFilter(
            parse_points(command, COMMANDS),
            transport=_transport(transport),
            path=None if path is None else path_key(path),
        )
        fault = Fault(where, self._end, action=action, left=times)
        self._server.on_loop(lambda: self._active.add(fault))
        return fault

    def _end(self, fault: Fault) -> None:
        self._server.on_loop(lambda: self._active.remove(fault))

    def _each(self, act: Callable[[ClassicConnection], bool], transport: str | None, connection_id: str | None) -> int:
        """Call a function with some connections. Return for how many of them it has returned true."""
        wanted = _transport(transport)
        count = 0

        def act_on_all() -> None:
            nonlocal count
            for connection in self._server.connections():
                kind = None if connection.context is None else connection.context.transport
                if wanted in (None, kind) and connection_id in (None, connection.connection_id):
                    count += act(connection)

        self._server.on_loop(act_on_all)
        return count


@attrs.frozen
class _Moved:
    """The action of a fault that answers a request with the address of the same request under another URL.

    Attributes:
        status: the status.
        url: the other URL.
    """

    status: int = attrs.field(validator=[attrs.validators.ge(300), attrs.validators.le(399)])
    url: str

    async def __call__(self, _fault: Fault, site: FaultSite) -> None:
        """Raise the HTTP answer as an exception, which aiohttp turns into a response."""
        kind = type("Moved", (web.HTTPException,), {"status_code": self.status})
        raise kind(headers={"Location": self.url + site.target})


def _transport(name: str | None) -> Transport | None:
    if name is None:
        return None
    if name.lower() not in TRANSPORTS:
        raise ValueError(f"there is no transport {name!r}; there are {', '.join(TRANSPORTS.values())}")
    return TRANSPORTS[name.lower()]
