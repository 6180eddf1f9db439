"""`Connection`: for endpoints of ASP.NET Core that do not speak the hub protocol."""

from __future__ import annotations

import asyncio
import codecs
from typing import TYPE_CHECKING, Literal, Self

from .._guard.copying import Uncopied
from .._guard.tasks import spawn
from ..errors import ConnectionFailedError, NotConnectedError, RemoteProtocolError, StateError
from ..options import ConnectionState, Limits, Timeouts, TransferFormat, Transport
from .opening import OpenConnection, open_connection
from .options import ConnectionOptions

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping

    import aiohttp
    import httpx

    from ..interfaces import HttpClient, TokenProvider


class Connection(Uncopied):
    """A connection without the hub protocol, for endpoints made with ASP.NET Core's `MapConnectionHandler`.

    Negotiation, transports, tokens and errors are those of a `HubConnection`. A `Connection` does not reconnect and is
    single-use. It carries a stream of bytes: the data of one `send` may arrive in several pieces, or joined with the
    data of others.

    Args:
        url: the endpoint's http(s) or ws(s) URL.
        transfer_format: `"text"` (strings, UTF-8 on the wire) or `"binary"` (bytes).
        transports: as for `HubConnection`; the same holds for all other arguments.

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
        connection = self._open  # read once: `signalr_sdk.sync` asks from other threads
        return connection.connection_id if connection else None

    @property
    def transport(self) -> Transport | None:
        """The transport in use; `None` unless connected."""
        connection = self._open
        return connection.transport.kind if connection else None

    async def start(self) -> None:
        """Connect. Cancelling leaves nothing open.

        Raises:
            ConnectionFailedError: connecting failed, or `stop()` was called meanwhile.
            StateError: the connection was started before.
        """
        if self._opening is not None or self._stopped:
            raise StateError("a Connection is good for one use: make a new one")
        self._opening = spawn(open_connection(self._options), "open")
        try:
            connection = await self._opening
        except asyncio.CancelledError:
            await self._give_up(self._opening)
            if not self._stopped:
                raise
        else:
            if not self._stopped:
                self._open = connection
                return
            await connection.drop()
        raise ConnectionFailedError("stop() was called before the connection was up")

    async def stop(self) -> None:
        """Close, within `Timeouts.close`. May be called by any task, any number of times."""
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
        """Cancel the task, and drop the connection if the task has opened one all the same."""
        opening.cancel()
        await asyncio.wait({opening})
        if not opening.cancelled() and opening.exception() is None:
            await opening.result().drop()

    async def send(self, data: str | bytes) -> None:
        """Send; wait while the server takes no more. Data of several tasks goes out one after another.

        Read at the same time: a server may stop reading while nobody reads what it sends. Long polling polls only while
        somebody reads, and ASP.NET Core closes the connection of a client that does not poll.

        Raises:
            NotConnectedError: the connection is not started, or stopped.
            ConnectionClosedError: the connection is lost.
            TypeError: `data` is a `str` on a binary connection.
        """
        if isinstance(data, str):
            if not self._text:
                raise TypeError("a binary connection sends bytes, not str")
            data = data.encode()
        connection = self._open
        if connection is None:
            raise NotConnectedError("the connection is not up: start() it first", ConnectionState.DISCONNECTED)
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

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()
