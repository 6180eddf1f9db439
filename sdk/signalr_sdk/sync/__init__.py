"""The same client for programs without asyncio: plain functions, safe to call from many threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._connection import Connection
from ._hub_connection import HubConnection
from ._streams import Messages, Stream
from ._uploads import Upload

if TYPE_CHECKING:
    from ._azure import AzureSignalR

__all__ = ["AzureSignalR", "Connection", "HubConnection", "Messages", "Stream", "Upload"]


def __getattr__(name: str) -> Any:
    if name == "AzureSignalR":
        # Most programs have nothing to do with Azure.
        from ._azure import AzureSignalR

        return AzureSignalR
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
