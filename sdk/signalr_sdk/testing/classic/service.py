"""What is served at one path of the classic test server: all hubs, or a handler of raw connections."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from ..hubs import HubContext

_logger = logging.getLogger("signalr_sdk.testing")


class RefusedRequestError(Exception):
    """A request that is answered with a status and a text."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen
class Reply:
    """What a service replies to a message of a client.

    Attributes:
        data: the answer to a call, JSON; empty for no answer.
        hangs_up: whether a WebSocket is closed, since the answer cannot be written as JSON.
    """

    data: bytes = b""
    hangs_up: bool = False


class Service(Protocol):
    """What is served at one path. `query` is that of a request of the client."""

    def check(self, query: Mapping[str, str], user: str) -> None:
        """Check what a request asks for.

        Raises:
            RefusedRequestError: the request asks for what there is not, or what is not for this user.
        """

    def topics(self, query: Mapping[str, str], connection_id: str, user: str) -> list[str]:
        """Return the topics that a client reads."""

    def groups(self, names: Iterable[str], query: Mapping[str, str]) -> list[str]:
        """Return those of the groups in a groups token that the client takes up again."""

    async def connected(self, context: HubContext) -> None:
        """Tell the users' classes that a client has connected."""

    async def reconnected(self, context: HubContext) -> None:
        """Tell the users' classes that a client has taken its connection up again."""

    async def disconnected(self, context: HubContext, *, stop_called: bool) -> None:
        """Tell the users' classes that a client has disconnected."""

    async def received(self, context: HubContext, text: str) -> Reply:
        """Handle what a client has sent, and return the reply.

        Raises:
            RefusedRequestError: the text cannot be understood. Over a WebSocket, it is not answered at all.
        """


async def logged(work: Awaitable[None], what: str) -> None:
    """Await users' code whose failure nobody is told of."""
    try:
        await work
    except Exception:
        _logger.exception("%s failed", what)
