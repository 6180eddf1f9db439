"""The same client for programs without asyncio: plain functions, safe to call from many threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._connection import Connection
from ._hub_connection import HubConnection
from ._streams import Messages, Stream
from ._uploads import Upload

if TYPE_CHECKING:
    from ._azure import AzureSignalR
else:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name == "AzureSignalR":
            # Most programs have nothing to do with Azure.
            from ._azure import AzureSignalR

            return AzureSignalR
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["AzureSignalR", "Connection", "HubConnection", "Messages", "Stream", "Upload"]
