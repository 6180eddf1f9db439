"""`Connection`: the connection below the hub protocol for users, for endpoints without that protocol."""

from __future__ import annotations

import asyncio
import codecs
from typing import TYPE_CHECKING, Literal, Self

from ..errors import ConnectionFailedError, NotConnectedError, RemoteProtocolError, StateError
from ..options import ConnectionState, Limits, Timeouts, TransferFormat, Transport
from .opening import OpenConnection, open_connection
from .options import ConnectionOptions

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    import aiohttp
    import httpx

    from ..interfaces import HttpClient, TokenProvider


class Connection:
    """A connection without the hub protocol, for endpoints made with ASP.NET Core's `MapConnectionHandler`.

    The same negotiation, transports, tokens and errors as a hub's connection; it does not reconnect and is good for
    one use. It carries a stream of bytes: what was sent in one piece may arrive in several, or joined with others.

    Args:
        url: where to; http(s) or ws(s).
        transfer_format: `"text"` (strings, UTF-8 on the wire) or `"binary"` (bytes).
        transports: as for `HubConnection`, and so are all the others.

    Example:
        ```python
        async with Connection("https://example.com/echo") as connection:
            await connection.send("hello")
            async for text in connection:
                print(text)
        ```
    """

    def __init__(
        self,
        url: str,
        *,
        transfer_format: Literal["text", "binary"] = "text",
        transports: str | Iterable[str] | None = None,
        skip_negotiation: bool = False,
        access_token: str | TokenProvider | None = None,
        access_token_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        forward_headers: Iterable[str] = (),
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self._options = ConnectionOptions.of(locals())
        self._text = self._options.transfer_format is TransferFormat.TEXT
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._opening: asyncio.Task[OpenConnection] | None = None
        self._open: OpenConnection | None = None
        self._stopped = False
        self._sending = asyncio.Lock()

    @property
    def url(self) -> str:
        """The URL as http(s)."""
        return self._options.url

    @property
    def connection_id(self) -> str | None:
        """The id that the server gave; `None` unless connected, and when negotiation is skipped."""
        connection = self._open  # once: other threads ask too
        return connection.connection_id if connection else None

    @property
    def transport(self) -> Transport | None:
        """The transport in use."""
        connection = self._open
        return connection.transport.kind if connection else None

    async def start(self) -> None:
        """Connect. Cancelling it leaves nothing open.

        Raises:
            ConnectionFailedError: it did not work; `stop()` meanwhile ends it so too.
            StateError: it was started before.
        """
        if self._opening is not None or self._stopped:
            raise StateError("a Connection is good for one use: make a new one")
        self._opening = asyncio.create_task(open_connection(self._options), name="signalr_sdk open")
        try:
            connection = await self._opening
        except asyncio.CancelledError:
            await self._give_up(self._opening)
            if self._stopped:
                raise ConnectionFailedError("stop() was called before the connection was up") from None
            raise
        if self._stopped:
            await connection.drop()
            raise ConnectionFailedError("stop() was called before the connection was up")
        self._open = connection

    async def stop(self) -> None:
        """Close, within `Timeouts.close`. From any task, any number of times."""
        self._stopped = True
        if self._open is None:
            if self._opening is not None and not self._opening.done():
                await self._give_up(self._opening)
            return
        connection, self._open = self._open, None
        try:
            async with asyncio.timeout(self._options.timeouts.close):
                await connection.close()
        except TimeoutError:
            await connection.drop()

    @staticmethod
    async def _give_up(opening: asyncio.Task[OpenConnection]) -> None:
        opening.cancel()
        await asyncio.wait({opening})
        if not opening.cancelled() and opening.exception() is None:
            await opening.result().drop()

    async def send(self, data: str | bytes) -> None:
        """Send; wait while the connection takes no more. Calls of several tasks go out one after another.

        The server may take no more while what it sends is not read, so read at the same time: over long polling
        nothing arrives otherwise, and ASP.NET Core gives a client up that does not poll.

        Raises:
            NotConnectedError: it is not started, or stopped.
            ConnectionClosedError: it is lost.
            TypeError: text on a binary connection.
        """
        if isinstance(data, str):
            if not self._text:
                raise TypeError("a binary connection sends bytes, not str")
            data = data.encode()
        connection = self._require()
        async with self._sending:
            await connection.transport.send(data)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        connection = self._open
        while connection is not None:
            data = await connection.transport.receive()
            if data is None:
                break
            if not self._text:
                return data
            if text := self._decode(data):
                return text
        raise StopAsyncIteration

    def _decode(self, data: bytes) -> str:
        try:
            return self._decoder.decode(data)
        except UnicodeDecodeError:
            raise RemoteProtocolError(
                "what arrived is no UTF-8 text: use transfer_format='binary' for such endpoints"
            ) from None

    def _require(self) -> OpenConnection:
        if self._open is None:
            raise NotConnectedError("the connection is not up: start() it first", ConnectionState.DISCONNECTED)
        return self._open

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
