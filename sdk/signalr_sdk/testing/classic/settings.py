"""The options of `ClassicHubServer` that concern connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..origins import Origin, allowed_origins

if TYPE_CHECKING:
    from ..settings import Authorize

# A WebSocket message of any size is refused above this number of bytes, also with `max_message=None`.
_MOST_BYTES = 64 * 1024 * 1024


@attrs.frozen(kw_only=True)
class ClassicSettings:
    """The options of `ClassicHubServer`, which documents each of them. Times are in seconds.

    The defaults are those of ASP.NET SignalR.
    """

    keep_alive: float | None = 10.0
    disconnect: float = 30.0
    connection_timeout: float = 110.0
    connect_timeout: float = 5.0
    long_poll_delay: float = 0.0
    web_sockets: bool = True
    detailed_errors: bool = False
    debug: bool = False
    authorize: Authorize | None = None
    origins: frozenset[Origin] = attrs.field(default=frozenset(), converter=allowed_origins)
    message_buffer: int = attrs.field(default=1000, validator=attrs.validators.ge(1))
    max_message: int | None = 65536
    send_timeout: float = 10.0

    @property
    def linger(self) -> float:
        """For how many seconds messages are kept that nobody reads. As on a real server."""
        return 2 * (self.disconnect + 2 * (self.keep_alive or 0.0))

    @property
    def read_bytes(self) -> int:
        """The most bytes of a WebSocket message or body that are read; less than this may be too much already."""
        return _MOST_BYTES
