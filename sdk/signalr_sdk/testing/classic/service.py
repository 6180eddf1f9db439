"""`Service`: the part of the classic test server that differs between hubs and connections without hubs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from ..hubs import HubContext

_logger = logging.getLogger("signalr_sdk.testing")


class RefusedRequestError(Exception):
    """Raised to answer a request with a status and a text.

    Args:
        status: the status.
        text: the body of the answer.
    """

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen
class Reply:
    """The reply of a service to a message of a client.

    Attributes:
        data: the answer to a call, JSON; empty for no answer.
        hangs_up: whether the WebSocket must be closed, because the answer cannot be written as JSON.
    """

    data: bytes = b""
    hangs_up: bool = False


class Service(Protocol):
    """All hubs, or the handler of connections without hubs. `query` is the query of a client's request."""

    def check(self, query: Mapping[str, str], user: str) -> None:
        """Check which hubs a request names.

        Raises:
            RefusedRequestError: a hub does not exist or is named twice, or none of the hubs is for this user.
        """

    def topics(self, query: Mapping[str, str], connection_id: str, user: str) -> list[str]:
        """Return the topics that a client reads."""

    def groups(self, names: Iterable[str], query: Mapping[str, str]) -> list[str]:
        """Return the groups of a groups token that belong to this service and to the hubs that the client names."""

    async def connected(self, context: HubContext) -> None:
        """Tell the users' classes that a client has connected."""

    async def reconnected(self, context: HubContext) -> None:
        """Tell the users' classes that a client has taken its connection up again."""

    async def disconnected(self, context: HubContext, *, stop_called: bool) -> None:
        """Tell the users' classes that a client has disconnected."""

    async def received(self, context: HubContext, text: str) -> Reply:
        """Handle a message of a client, and return the reply.

        Raises:
            RefusedRequestError: the text cannot be understood. Over a WebSocket, it is not answered at all.
        """


async def logged(work: Awaitable[None], what: str) -> None:
    """Await users' code, and log its exception: no client can be told."""
    try:
        await work
    except Exception:
        _logger.exception("%s failed", what)
