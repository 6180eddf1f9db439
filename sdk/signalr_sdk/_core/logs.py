"""The loggers of one connection. Their records name the connection, so that the log of many can be filtered."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ..options import Transport

    Log: TypeAlias = logging.LoggerAdapter[logging.Logger]


class _Adapter(logging.LoggerAdapter[logging.Logger]):
    """Adds the facts of a connection to each record. What a log handler of the user's raises loses the record only."""

    def log(self, level: int, msg: object, *args: object, stacklevel: int = 1, **options: Any) -> None:
        """See `logging.LoggerAdapter.log`."""
        try:
            super().log(level, msg, *args, stacklevel=stacklevel + 1, **options)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - to log what the log handler raised would fail again
            pass


_LOGGERS = tuple(logging.getLogger(f"signalr_sdk.{name}") for name in ("hub", "transport", "negotiate", "http"))


class ConnectionLogs:
    """The loggers `signalr_sdk.hub`, `.transport`, `.negotiate` and `.http`, for one connection.

    Each record has the attributes `hub` (the URL without its query), `connection_id` and `transport`. The last two are
    those of the current or last attempt to connect, and `None` until they are known. A record below the logger's level
    costs no more than with a plain logger.

    Args:
        hub: the URL without its query.
    """

    hub: logging.LoggerAdapter[logging.Logger]
    transport: logging.LoggerAdapter[logging.Logger]
    negotiate: logging.LoggerAdapter[logging.Logger]
    http: logging.LoggerAdapter[logging.Logger]

    def __init__(self, hub: str) -> None:
        # All four loggers share one dict for the connection's life, so a change of it is in all later records.
        self._facts: dict[str, object] = {"hub": hub, "connection_id": None, "transport": None}
        self.hub, self.transport, self.negotiate, self.http = (_Adapter(logger, self._facts) for logger in _LOGGERS)

    def note_connection(self, connection_id: str | None) -> None:
        """Set the connection id of all later records, `None` while there is no connection; the transport is unknown."""
        self._facts.update(connection_id=connection_id, transport=None)

    def note_transport(self, transport: Transport) -> None:
        """Set the transport of all later records."""
        self._facts["transport"] = transport
