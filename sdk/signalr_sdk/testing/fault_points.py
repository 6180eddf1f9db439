"""The points at which faults can happen in the test server, and the filter that says where one fault happens."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import attrs

from ..options import Transport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable


class FaultPoint(StrEnum):
    """A point in the server's work at which a fault can happen, for example just before the answer to a poll.

    Tests name a point in the argument `at` of the methods of `HubServer.faults`, for example `at="poll"`.
    """

    NEGOTIATE = "negotiate"
    CONNECT = "connect"
    RESUME = "resume"
    POLL = "poll"
    POST = "post"
    DELETE = "delete"
    REFRESH = "refresh"
    HANDSHAKE = "handshake"
    FRAME_IN = "frame in"
    FRAME_OUT = "frame out"
    # Only on `ClassicHubServer`.
    START = "start"
    RECONNECT = "reconnect"
    SEND = "send"
    ABORT = "abort"
    HUBS = "hubs"
    KEEP_ALIVE = "keep alive"
    # The argument `at` cannot name `PING` and `FRAME_RULE`: only the methods `stop_pings`, `split` and `join` use them.
    PING = "ping"
    FRAME_RULE = "frame rule"


REQUESTS = frozenset(
    {
        FaultPoint.NEGOTIATE, FaultPoint.CONNECT, FaultPoint.RESUME, FaultPoint.POLL, FaultPoint.POST,
        FaultPoint.DELETE, FaultPoint.REFRESH,
    }
)  # fmt: skip
"""The points at which an HTTP request waits for its response."""
COMMANDS = frozenset(
    {
        FaultPoint.NEGOTIATE, FaultPoint.CONNECT, FaultPoint.START, FaultPoint.RECONNECT, FaultPoint.POLL,
        FaultPoint.SEND, FaultPoint.ABORT, FaultPoint.PING, FaultPoint.HUBS,
    }
)  # fmt: skip
"""The requests to a classic server: the last part of the path."""
LIVE = frozenset({FaultPoint.POLL, FaultPoint.POST, FaultPoint.FRAME_IN, FaultPoint.FRAME_OUT})
"""The points that together see all data of a live connection."""


@attrs.frozen
class FaultSite:
    """Where the server is: a point, and the request or connection that has reached the point.

    Attributes:
        point: what the server is about to do.
        transport: name of the transport; empty if the transport is not known yet.
        connection_id: id of the connection, if there is one.
        path: path of the request without its last part, the command; only on `ClassicHubServer`.
        target: the rest of the request's URL, the command and the query; only on `ClassicHubServer`.
        tcp: asyncio's transport of the TCP connection, for faults that close the TCP connection.
    """

    point: FaultPoint
    transport: str = attrs.field(default="", kw_only=True)
    connection_id: str | None = attrs.field(default=None, kw_only=True)
    path: str = attrs.field(default="", kw_only=True)
    target: str = attrs.field(default="", repr=False, kw_only=True)
    tcp: asyncio.WriteTransport | None = attrs.field(default=None, repr=False, kw_only=True)


@attrs.frozen
class FaultFilter:
    """Says which requests and connections a fault hits, and at which points.

    Attributes:
        points: the fault happens only at these points.
        transport: the fault happens only with this transport; `None` for all transports.
        connection_id: the fault happens only to this connection; `None` for all connections.
        path: the fault happens only to requests of this path; `None` for all paths.
    """

    points: frozenset[FaultPoint]
    transport: Transport | None = attrs.field(
        default=None, converter=attrs.converters.optional(Transport), kw_only=True
    )
    connection_id: str | None = attrs.field(default=None, kw_only=True)
    path: str | None = attrs.field(default=None, kw_only=True)

    def matches(self, site: FaultSite) -> bool:
        """Return whether the fault hits the point, the transport and the connection that `site` names."""
        return (
            site.point in self.points
            and self.transport in (None, site.transport)
            and self.connection_id in (None, site.connection_id)
            and self.path in (None, site.path)
        )


def parse_points(names: str | Iterable[str] | None, allowed: frozenset[FaultPoint]) -> frozenset[FaultPoint]:
    """Return the points that the argument `at` of a fault method names.

    Args:
        names: a name, several names, or `None` for all points in `allowed`.
        allowed: the points that the method accepts.

    Raises:
        ValueError: a name is not in `allowed`, or `names` is empty.
    """
    if names is None:
        return allowed
    given = {names} if isinstance(names, str) else set(names)
    if unknown := given - allowed or (not given and {"nothing"}):
        raise ValueError(
            f"no such place for this fault: {', '.join(sorted(unknown))}; there are {', '.join(sorted(allowed))}"
        )
    return frozenset(FaultPoint(name) for name in given)


def path_key(path: str) -> str:
    """Return a path as requests are matched with it: in any case, with or without a slash at the end."""
    return path.lower().rstrip("/")
