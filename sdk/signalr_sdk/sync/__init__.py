"""The same client for programs without asyncio: plain functions, safe to call from many threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .hub_connection import HubConnection
from .iterators import Messages, Stream
from .raw_connection import Connection
from .uploads import Upload

if TYPE_CHECKING:
    from .azure import AzureSignalR
else:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name == "AzureSignalR":
            # Most programs have nothing to do with Azure.
            from .azure import AzureSignalR

            return AzureSignalR
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AzureSignalR", "Connection", "HubConnection", "Messages", "Stream", "Upload"]
