"""The loggers of one connection. Each log record names the connection, so that a log can be filtered by connection.

Texts from the server or from users' code are never logged unchanged: `_Redaction` makes these texts safe.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any, TypeAlias

from .redaction import printable, redact, redact_error

if TYPE_CHECKING:
    from ..options import Transport

    Log: TypeAlias = logging.LoggerAdapter[logging.Logger]


class _Adapter(logging.LoggerAdapter[logging.Logger]):
    """Adds hub URL, connection id and transport to each record. Exceptions of the user's log handlers are ignored."""

    def log(self, level: int, msg: object, *args: object, stacklevel: int = 1, **options: Any) -> None:
        """See `logging.LoggerAdapter.log`."""
        try:
            super().log(level, msg, *args, stacklevel=stacklevel + 1, **options)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - logging the error would fail again
            pass


_LOGGERS = tuple(logging.getLogger(f"signalr_sdk.{name}") for name in ("hub", "transport", "negotiate", "http"))
_TEXT_LIMIT = 500


class _Redaction(logging.Filter):
    """Makes each log record safe: a text of the server is cut and cannot forge log lines or control a terminal."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Make the arguments and the traceback of the record safe. Return True: no record is dropped."""
        if isinstance(record.args, tuple):
            record.args = tuple(_safe(argument) for argument in record.args)
        if record.exc_info and record.exc_info[1] is not None:
            # Set a safe text of the traceback in the record: otherwise the log formatter would make the text from the
            # exception, with unchanged texts of the server.
            record.exc_text = _safe_traceback(record.exc_info[1])
        return True


def _safe(argument: object) -> object:
    if isinstance(argument, BaseException):
        return redact_error(argument)
    return redact(argument, _TEXT_LIMIT) if isinstance(argument, str) else argument


def _safe_traceback(error: BaseException) -> str:
    return "".join(map(_safe_part, traceback.TracebackException.from_exception(error).format())).rstrip("\n")


def _safe_part(part: str) -> str:
    r"""Make one part of a traceback safe: keep the lines of a stack frame; cut the text of an exception to one line."""
    begin = part.lstrip(" |+-")
    if begin.startswith(("\n", 'File "', "Traceback (")):
        return printable(part, keep="\n")
    return f"{part[: len(part) - len(begin)]}{redact(begin, _TEXT_LIMIT)}\n"


# Add the filter `_Redaction` to the loggers, and not to `ConnectionLogs`: some modules of this package log without
# `ConnectionLogs`, with the same loggers or (the test server) with `signalr_sdk.testing`.
for _logger in (*_LOGGERS, *map(logging.getLogger, ("signalr_sdk.testing", "signalr_sdk.delivery"))):
    _logger.addFilter(_Redaction())


class ConnectionLogs:
    """The loggers `signalr_sdk.hub`, `.transport`, `.negotiate` and `.http`, for one connection.

    Each record has the attributes `hub` (the URL without its query), `connection_id` and `transport`. Connection
    id and transport belong to the latest attempt to connect, and are `None` until they are known. A record below the
    logger's level costs no more than with a plain logger.

    Args:
        hub: the URL without its query.
    """

    # Declare the types of these attributes: pyright cannot infer them from the assignment in `__init__`.
    hub: Log
    transport: Log
    negotiate: Log
    http: Log

    def __init__(self, hub: str) -> None:
        # The four loggers share this dict: when the connection id or the transport changes, the later records of all
        # four loggers have the new value.
        self._facts: dict[str, object] = {"hub": hub, "connection_id": None, "transport": None}
        self.hub, self.transport, self.negotiate, self.http = (_Adapter(logger, self._facts) for logger in _LOGGERS)

    def note_connection(self, connection_id: str | None) -> None:
        """Set the connection id of later log records (`None`: no connection), and their transport to `None`."""
        shown = None if connection_id is None else redact(connection_id)
        self._facts.update(connection_id=shown, transport=None)

    def note_transport(self, transport: Transport) -> None:
        """Set the transport that all later log records name."""
        self._facts["transport"] = transport
