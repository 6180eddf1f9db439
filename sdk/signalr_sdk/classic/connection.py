"""`ClassicConnection`: what the connections of classic SignalR have in common, to hubs and raw ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .._connecting.options import ConnectionOptions
from .._life.managed_connection import ManagedConnection
from ..interfaces import Handler
from ..options import TransferFormat
from .link import ClassicLink, Outgoing

if TYPE_CHECKING:
    from collections.abc import Mapping

O = TypeVar("O", bound=Outgoing)  # noqa: E741 - as in `Outgoing`
H = TypeVar("H", bound=Handler)


def options_of(arguments: Mapping[str, Any]) -> ConnectionOptions:
    """Make the options from the arguments of a constructor."""
    return ConnectionOptions.of(arguments, skip_negotiation=False, transfer_format=TransferFormat.TEXT)


def checked_ping(ping: float | None) -> float | None:
    """Return the interval of pings. Raise a `ValueError` if it is no positive number."""
    if ping is not None and not ping > 0:
        raise ValueError(f"ping must be a positive number of seconds or None, not {ping!r}")
    return ping


class ClassicConnection(ManagedConnection[ClassicLink[O]]):
    """The base class of the connections of classic SignalR."""

    _shows_resuming = True

    def on_connection_slow(self, handler: H) -> H:
        """Register `handler()`, called when the server was silent for two thirds of its keep-alive timeout.

        The handlers are called once for each silence. Long polling has no keep-alive.
        """
        return self._on_lifecycle("connection_slow", handler)
