"""The loggers of one connection, whose records say which connection they are of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..options import Transport

    Log: TypeAlias = logging.LoggerAdapter[logging.Logger]


_LOGGERS = tuple(logging.getLogger(f"signalr_sdk.{name}") for name in ("hub", "transport", "negotiate", "http"))


class ConnectionLogs:
    """The loggers `signalr_sdk.hub`, `.transport`, `.negotiate` and `.http`, for one connection.

    Each record has the attributes `hub` (the URL without its query), `connection_id` and `transport`: those of the
    attempt that runs, or ran last, `None` until they are known. A record of a level that is off costs what it costs
    without them.

    Args:
        hub: the URL, as logs may show it.
    """

    def __init__(self, hub: str) -> None:
        # One dict for all four, and the same for the connection's life: what is noted here is in all later records.
        self._facts: dict[str, object] = {"hub": hub, "connection_id": None, "transport": None}
        self.hub, self.transport, self.negotiate, self.http = (
            logging.LoggerAdapter(logger, self._facts) for logger in _LOGGERS
        )

    def note_connection(self, connection_id: str | None) -> None:
        """Say which connection records are of from now on; `None` while there is none."""
        self._facts.update(connection_id=connection_id, transport=None)

    def note_transport(self, transport: Transport) -> None:
        """Say over which transport it goes."""
        self._facts["transport"] = transport
