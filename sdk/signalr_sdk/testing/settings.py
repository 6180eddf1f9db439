"""The options of the test server, and `Identity`, which the option `authorize` returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import attrs

from ..options import Transport
from .origins import Origin, allowed_origins


@attrs.frozen
class Identity:
    """The user to whom a bearer token belongs, and how long the token is valid.

    Attributes:
        name: the user's name; empty for a user without a name.
        expires_in: seconds from the call of `authorize` until the token expires; `None` if it never expires.
    """

    name: str = ""
    expires_in: float | None = attrs.field(default=None, kw_only=True)


Authorized: TypeAlias = "Identity | str | None"
Authorize: TypeAlias = Callable[[str | None], "Awaitable[Authorized] | Authorized"]
"""Called with the bearer token of a request, or `None` without one. Returns an `Identity`, or the user's name alone
(empty for a user without a name), or `None` to answer 401."""


AllowRefresh: TypeAlias = "bool | Callable[[Identity], Awaitable[bool] | bool]"
"""Whether tokens can be renewed; a function is called with the identity of each new token, and says whether the token
is taken."""


def _offered(transports: Iterable[str]) -> tuple[Transport, ...]:
    names = {transports} if isinstance(transports, str) else set(transports)
    return tuple(transport for transport in Transport if transport in {Transport(name) for name in names})


@attrs.frozen(kw_only=True)
class ServerSettings:
    """The options of `HubServer` that concern connections. `HubServer` documents each option.

    The defaults are the same as in ASP.NET Core, except `message_bytes`, which is 32 kB in ASP.NET Core. Times are in
    seconds.
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
    stream_buffer: int | None = None
    authorize: Authorize | None = None
    origins: frozenset[Origin] = attrs.field(default=frozenset(), converter=allowed_origins)
    authentication_refresh: AllowRefresh = False
    close_on_expiration: bool = False
    stateful_reconnect: bool = False
    stateful_window: float = 15.0
    stateful_buffer: int = 100_000

    @property
    def carried_bytes(self) -> int:
        """The most bytes of a WebSocket message or request body, which may hold more than one hub message."""
        return 2 * max(self.message_bytes, 1024 * 1024)
