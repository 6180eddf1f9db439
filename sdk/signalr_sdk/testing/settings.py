"""What a test server can be told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import attrs

from ..options import Transport

Authorize: TypeAlias = Callable[[str | None], "Awaitable[str | None] | str | None"]
"""Gets the bearer token of a request (`None` without one) and returns the user's name, an empty
text for somebody without a name, or `None` to answer 401."""


def _offered(transports: Iterable[str]) -> tuple[Transport, ...]:
    names = {transports} if isinstance(transports, str) else set(transports)
    return tuple(transport for transport in Transport if transport in {Transport(name) for name in names})


@attrs.frozen(kw_only=True)
class ServerSettings:
    """As the options of ASP.NET Core SignalR, with its defaults. Times are in seconds.

    Attributes:
        transports: what negotiate offers.
        protocols: names of the hub protocols that are spoken.
        detailed_errors: whether the text of any exception reaches the client, not only that of a `HubException`.
        keep_alive: a ping goes out when nothing was sent for so long.
        client_timeout: silence of a client, which has pinged once, after which it is dropped.
        handshake_timeout: how long a client may take for its handshake.
        poll_timeout: how long a poll is held open.
        send_timeout: a client that takes nothing for so long while there is something to send is dropped.
        message_bytes: largest message of a client.
        parallel_invocations: how many invocations of one client run at the same time.
        authorize: decides who may come in; everybody without it.
    """

    transports: tuple[Transport, ...] = attrs.field(default=tuple(Transport), converter=_offered)
    protocols: tuple[str, ...] = ("json", "messagepack")
    detailed_errors: bool = False
    keep_alive: float | None = 15.0
    client_timeout: float | None = 30.0
    handshake_timeout: float = 15.0
    poll_timeout: float = 90.0
    send_timeout: float = 10.0
    message_bytes: int = 32 * 1024 * 1024
    parallel_invocations: int = 1
    authorize: Authorize | None = None

    @property
    def carried_bytes(self) -> int:
        """Largest frame or request body, which may hold many messages."""
        return 2 * max(self.message_bytes, 1024 * 1024)
