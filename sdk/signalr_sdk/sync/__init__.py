"""The SignalR client for programs without asyncio: plain functions, which many threads may call at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .hub_connection import HubConnection
from .iterators import Messages, Stream
from .raw_connection import Connection
from .uploads import Upload

if TYPE_CHECKING:
    from .azure import AzureSignalR
else:  # type checkers would otherwise accept any name in this module

    def __getattr__(name: str) -> object:
        if name == "AzureSignalR":
            # Import `AzureSignalR` only when a program uses it: the import takes time, and most programs use no Azure.
            from .azure import AzureSignalR

            return AzureSignalR
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AzureSignalR", "Connection", "HubConnection", "Messages", "Stream", "Upload"]
