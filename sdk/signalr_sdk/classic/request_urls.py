"""The URLs of the requests of classic SignalR: the endpoint, a command, and the parameters in the query.

Source: SignalR/SignalR, `UrlBuilder.cs` of the .NET client.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

import attrs

from .._core import urls
from ..options import Transport

CLIENT_PROTOCOL: Final = "2.1"
"""The version of the protocol that the client offers."""

WIRE_NAMES: Final = {
    Transport.WEBSOCKETS: "webSockets",
    Transport.SERVER_SENT_EVENTS: "serverSentEvents",
    Transport.LONG_POLLING: "longPolling",
}
"""The names of the transports in the parameter `transport`. Servers ignore upper and lower case."""

# Each byte as it stands in a form. With this table, a form takes half the time that `quote_plus` takes.
_FORM_BYTES = [quote_plus(bytes([byte])).encode() for byte in range(256)]


def connection_data(hubs: Iterable[str]) -> str:
    """Return the parameter `connectionData`, which names the hubs that a client wants; empty for no hubs.

    Example:
        >>> connection_data(["chat", "news"])
        '[{"name":"chat"},{"name":"news"}]'
    """
    names = [{"name": hub} for hub in hubs]
    return json.dumps(names, ensure_ascii=False, separators=(",", ":")) if names else ""


@attrs.frozen
class Address:
    """Where a connection sends its requests.

    Attributes:
        url: the endpoint, whose query goes along with every request.
        data: the parameter `connectionData`, see `connection_data`.
        token: the connection token; `None` before it is known.
    """

    url: str = attrs.field(repr=urls.without_query)
    data: str = ""
    token: str | None = attrs.field(default=None, repr=False)

    def command(
        self,
        name: str,
        transport: Transport | None = None,
        *,
        cursor: str | None = None,
        groups_token: str | None = None,
    ) -> str:
        """Return the URL of a request.

        Args:
            name: the command, such as "connect".
            transport: the transport in use; `None` for commands without one.
            cursor: the position after the last message that was read.
            groups_token: the groups of the connection.

        Example:
            >>> Address("https://example.com/signalr?room=1", "", "a+b").command("start", Transport.WEBSOCKETS)
            'https://example.com/signalr/start?room=1&clientProtocol=2.1&transport=webSockets&connectionToken=a%2Bb'
        """
        parameters = {
            "clientProtocol": CLIENT_PROTOCOL,
            "transport": None if transport is None else WIRE_NAMES[transport],
            "connectionData": self.data or None,
            "connectionToken": self.token,
            "messageId": cursor,
            "groupsToken": groups_token,
        }
        query = "&".join(f"{key}={_quoted(value)}" for key, value in parameters.items() if value is not None)
        return with_query(urls.below(self.url, name), query)

    def ping(self) -> str:
        """Return the URL of `/ping`, which has only the query of the user."""
        return urls.below(self.url, "ping")


def with_query(url: str, query: str) -> str:
    """Return the URL with more parameters at the end of its query."""
    before, mark, own = url.partition("?")
    return f"{before}?{own}{'&' if own and not own.endswith('&') else ''}{query}" if mark else f"{before}?{query}"


def form(**fields: str | bytes | None) -> bytes:
    """Return the body of a POST (`application/x-www-form-urlencoded`). Fields that are `None` are left out.

    Example:
        >>> form(messageId="d-1-B,0", groupsToken=None)
        b'messageId=d-1-B%2C0'
    """
    return b"&".join(b"%b=%b" % (name.encode(), _in_form(value)) for name, value in fields.items() if value is not None)


def _in_form(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return b"".join(map(_FORM_BYTES.__getitem__, data))


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")
