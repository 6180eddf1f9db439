"""The same client for programs without asyncio: plain functions, safe to call from many threads at once."""

from __future__ import annotations

from ._connection import Connection
from ._hub_connection import HubConnection
from ._streams import Messages, Stream
from ._uploads import Upload

__all__ = ["Connection", "HubConnection", "Messages", "Stream", "Upload"]
