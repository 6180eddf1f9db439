"""`ServerLife`: the connections, messages and keys of the classic test server, which a restart replaces."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from .connection import ClassicConnection
from .tokens import TokenKeys
from .topics import MessageBus

if TYPE_CHECKING:
    from collections.abc import Callable

    from .settings import ClassicSettings

_SERVER_ID_BYTES = 4


class ServerLife:
    """The connections and messages of the server, from one restart to the next. Only on the server's event loop.

    Args:
        settings: the server's settings.

    Attributes:
        keys: the keys of the tokens. A restart can keep them.
        bus: the messages.
        connections: the connections by id: those with a transport, and those whose client may come back.
        leaving: ids of connections that were between two polls when the application ended. Their next poll is told to
            reconnect.
    """

    def __init__(self, settings: ClassicSettings) -> None:
        self._settings = settings
        self.keys: TokenKeys = TokenKeys()
        self.bus: MessageBus = self._new_bus()
        self.connections: dict[str, ClassicConnection] = {}
        self.leaving: set[str] = set()

    def _new_bus(self) -> MessageBus:
        settings = self._settings
        return MessageBus(secrets.token_hex(_SERVER_ID_BYTES).upper(), settings.message_buffer, settings.linger)

    def shut_down(self) -> None:
        """End the application in good order, and begin again with the same keys. Clients that poll are told so."""
        leaving = {name for name, connection in self.connections.items() if connection.feed is None}
        for connection in self.connections.values():
            if connection.feed is not None:
                connection.feed.end(must_reconnect=True)
        self.begin_again(new_keys=False)
        self.leaving = leaving

    def begin_again(self, *, new_keys: bool) -> None:
        """Forget all connections and messages, and with `new_keys` all tokens too. Open transports end."""
        for connection in list(self.connections.values()):
            connection.forget()
        self.connections, self.leaving = {}, set()
        self.bus = self._new_bus()
        if new_keys:
            self.keys = TokenKeys()

    def connection(
        self, connection_id: str, user: str, on_gone: Callable[[ClassicConnection], None]
    ) -> ClassicConnection:
        """Return a connection, a new one if the server does not know it: tokens tell all that a server must know.

        Args:
            connection_id: the id in the connection token.
            user: the user in the connection token.
            on_gone: called when the client has been away for too long.
        """
        connection = self.connections.get(connection_id)
        if connection is None:
            connection = self.connections[connection_id] = ClassicConnection(
                connection_id, user, bus=self.bus, keys=self.keys, settings=self._settings, on_gone=on_gone
            )
        return connection

    def remove(self, connection: ClassicConnection) -> bool:
        """Forget a connection. Return false if the connection was forgotten before."""
        if self.connections.get(connection.connection_id) is not connection:
            return False
        del self.connections[connection.connection_id]
        connection.forget()
        return True
