"""What a test server can be exception_text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import attrs

from ..options import Transport


@attrs.frozen
class Identity:
    """Somebody who may come in.

    Attributes:
        name: the user's name; an empty text is nobody in particular.
        expires_in: seconds from now for which the token is good; `None` for ever.
    """

    name: str = ""
    expires_in: float | None = attrs.field(default=None, kw_only=True)


Answer: TypeAlias = "Identity | str | None"
Authorize: TypeAlias = Callable[[str | None], "Awaitable[Answer] | Answer"]
"""Gets the bearer token of a request (`None` without one) and returns who that is, or the user's name alone, an empty
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
        authentication_refresh: clients are told how long their tokens live, and may bring new ones.
        close_on_expiration: a connection whose token runs out is closed.
        stateful_reconnect: a client that asks for it may lose its WebSocket and come back with another one.
        stateful_window: how long it may take for that.
        stateful_buffer: bytes that are kept for it before the hub waits.
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
    authentication_refresh: bool = False
    close_on_expiration: bool = False
    stateful_reconnect: bool = False
    stateful_window: float = 15.0
    stateful_buffer: int = 100_000

    @property
    def carried_bytes(self) -> int:
        """Largest frame or request body, which may hold many messages."""
        return 2 * max(self.message_bytes, 1024 * 1024)
