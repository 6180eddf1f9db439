"""A hub protocol that shows the messages of a server to a command, before the connection handles them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocols import JsonProtocol, MessagePackProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..interfaces import HubProtocol
    from ..messages import HubMessage
    from ..options import TransferFormat


class WatchedProtocol:
    """The hub protocol JSON or MessagePack, watched.

    Args:
        name: `json` or `messagepack`.
        seen: called on the event loop with each message of the server. Must not raise.
    """

    def __init__(self, name: str, seen: Callable[[HubMessage], None]) -> None:
        protocol: HubProtocol = JsonProtocol() if name == "json" else MessagePackProtocol()
        self._protocol = protocol
        self._seen = seen
        self.name: str = protocol.name
        self.transfer_format: TransferFormat = protocol.transfer_format
        self.naming: Callable[[str], str] = protocol.naming
        self.encode: Callable[[HubMessage], bytes] = protocol.encode

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """See `HubProtocol.decode`."""
        message = self._protocol.decode(frame, exact=exact)
        if message is not None:
            self._seen(message)
        return message
