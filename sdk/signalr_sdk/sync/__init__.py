"""The SignalR client for programs without asyncio: plain functions, which many threads may call at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .hub_connection import HubConnection
from .iterators import Messages, Stream
from .raw_connection import Connection
from .uploads import Upload

if TYPE_CHECKING:
    from .azure import AzureSignalR
    from .feed import Feed
    from .outbox import Outbox
else:  # type checkers would otherwise accept any name in this module

    def __getattr__(name: str) -> object:
        # Import these classes only when a program uses them: the imports take time, and most programs need none.
        if name == "AzureSignalR":
            from .azure import AzureSignalR  # as above

            return AzureSignalR
        if name == "Feed":
            from .feed import Feed  # as above

            return Feed
        if name == "Outbox":
            from .outbox import Outbox  # as above

            return Outbox
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AzureSignalR", "Connection", "Feed", "HubConnection", "Messages", "Outbox", "Stream", "Upload"]
