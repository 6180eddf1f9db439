"""`Connection`: for endpoints of ASP.NET Core that do not speak the hub protocol."""

from __future__ import annotations

import asyncio
import codecs
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any, Literal, Self

from .._guard.copying import Uncopied
from .._guard.foreign import bounded, cut_off, error_of, forget_locals
from .._guard.futures import resolve
from .._guard.loops import check_loop, running_loop
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

# If users' code swallows its cancellation, `stop` takes at most so many seconds more than `Timeouts.close`.
_LAST_CHANCE = 0.2
_NO_TEXT = "what arrived is no UTF-8 text: use transfer_format='binary' for such endpoints"


class Connection(Uncopied):
    """A connection without the hub protocol, for endpoints made with ASP.NET Core's `MapConnectionHandler`.

    Negotiation, transports, tokens and errors are the same as for a `HubConnection`. A `Connection` does not reconnect,
    and can be started only once. It carries a stream of bytes: the data of one `send` may arrive in several pieces, or
    joined with the data of other calls.

    Args:
        url: the endpoint's http(s) or ws(s) URL.
        transfer_format: `"text"` (strings, UTF-8 on the wire) or `"binary"` (bytes).
        transports: as for `HubConnection`, like all other arguments.

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
        self._wrong_text: str | None = None
        # The event loop that `start` ran on; `None` before `start`, and when no task or socket of the connection is
        # left on that loop.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[OpenConnection] | None = None
        self._open: OpenConnection | None = None
        self._stopped = False
        self._closing: asyncio.Task[None] | None = None
        # A future that is done when the task `_closing` has ended. `start` waits for it.
        self._closed: asyncio.Future[None] | None = None
        self._sending = asyncio.Lock()

    @property
    def url(self) -> str:
        """The URL, with the scheme http or https."""
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
            ConnectionFailedError: connecting failed, or `stop()` was called before the connection was up.
            StateError: the connection was started before.
        """
        if self._opening is not None or self._stopped:
            raise StateError("a Connection is good for one use: make a new one")
        self._loop = running_loop()
        self._closed = self._loop.create_future()
        opening = self._opening = spawn(self._connect(), "open")
        # Wait for `opening` or `_closed`: if users' code swallows the cancellation of the task `opening`, `stop` leaves
        # that task running, and `start` would wait for the task for ever.
        ends: set[asyncio.Future[Any]] = {opening, self._closed}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._give_up(opening)
            self._loop = None
            raise
        if self._stopped:
            raise ConnectionFailedError("stop() was called before the connection was up")
        if opening.cancelled():
            self._loop = None
            raise ConnectionFailedError(
                "the connection was ended before it was up: the task that opens it was cancelled"
            )
        if (error := opening.exception()) is not None:
            self._loop = None
            forget_locals(error)
            raise error
        self._open = opening.result()

    async def _connect(self) -> OpenConnection:
        try:
            return await open_connection(self._options)
        except BaseException as raised:
            error = error_of(raised, "the access token provider or the HTTP client")
            if error is raised:
                raise
            raise ConnectionFailedError(str(error)) from raised

    async def stop(self) -> None:
        """Close the connection, within `Timeouts.close`. Return when it is closed. Cancelling drops the connection.

        `stop` may be called by any task, any number of times.
        """
        self._stopped = True
        opening = self._opening
        if opening is None or self._is_over():
            return
        check_loop(self._loop)
        if self._closing is None:
            connection, self._open = self._open, None
            self._closing = spawn(self._close(opening, connection), "close")
            self._closing.add_done_callback(self._note_closed)
        closing = self._closing
        try:
            await asyncio.wait({closing})
        except asyncio.CancelledError:
            # Let the event loop start the task `closing` before cancelling it: a task that is cancelled before its
            # start would close nothing.
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait({closing})
            raise

    async def _close(self, opening: asyncio.Task[OpenConnection], connection: OpenConnection | None) -> None:
        log, limit = self._options.logs.transport, self._options.timeouts.close
        try:
            if connection is None:
                await self._give_up(opening)
            else:
                closing = _close_all(connection)
                await bounded(closing, limit, whose="the closing of the transport", patience=_LAST_CHANCE, log=log)
        except TimeoutError:
            log.debug("the transport did not close within %s s", limit)
        except BaseException as raised:  # noqa: BLE001 - HTTP clients of users may raise anything
            log.info("the connection did not close in good order: %s", error_of(raised, "the HTTP client"))

    def _note_closed(self, _closing: asyncio.Task[None]) -> None:
        self._loop = None
        if self._closed is not None:
            resolve(self._closed, None)

    async def _give_up(self, opening: asyncio.Task[OpenConnection]) -> None:
        """Cancel the task that opens the connection. If the task opens a connection nevertheless, drop it."""
        await cut_off(
            opening,
            self._options.timeouts.close,
            whose="an attempt to connect",
            log=self._options.logs.hub,
            undo=lambda connection: connection.drop(),
        )

    def _is_over(self) -> bool:
        """Whether nothing is left to be closed: the connection has ended, or its event loop was closed."""
        loop = self._loop
        if loop is not None and loop.is_closed():
            self._loop = self._open = None
            self._stopped = True
        return self._loop is None

    async def send(self, data: str | bytes) -> None:
        """Send data; wait while the server accepts no more. Data of several tasks is sent one after another.

        Read at the same time: a server may stop reading while its own data is not read. Over long polling this client
        polls only while a task reads, and ASP.NET Core closes the connection of a client that does not poll.

        Raises:
            NotConnectedError: the connection is not started, or is stopped.
            ConnectionClosedError: the connection is lost.
            TypeError: `data` is a `str` on a binary connection.
        """
        if isinstance(data, str):
            if not self._text:
                raise TypeError("a binary connection sends bytes, not str")
            data = data.encode()
        connection = self._open
        if connection is None or (_get_running_loop() is not self._loop and self._is_elsewhere()):
            raise self._not_connected()
        async with self._sending:
            await connection.transport.send(data)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        connection = self._open
        if connection is None or (_get_running_loop() is not self._loop and self._is_elsewhere()):
            if not self._stopped:
                raise self._not_connected()
            raise StopAsyncIteration
        while self._wrong_text is None:
            data = await connection.transport.receive()
            if data is None and self._open is not connection:
                break  # stop() ends the iteration, also in the middle of a character
            if self._text:
                if text := self._decode(data):
                    return text
            elif data is not None:
                return data
            if data is None:
                break
        if self._wrong_text is not None:
            raise RemoteProtocolError(self._wrong_text)
        raise StopAsyncIteration

    def _decode(self, data: bytes | None) -> str:
        """Decode bytes from the server as UTF-8, and return the text before the first invalid bytes.

        If there are invalid bytes, set `_wrong_text` to the text of the error that reading raises next. Pass `None` at
        the end of the data: an incomplete character there is invalid too.
        """
        try:
            return self._decoder.decode(data or b"", final=data is None)
        except UnicodeDecodeError as error:
            self._wrong_text = "the connection ended in the middle of a character" if data is None else _NO_TEXT
            return error.object[: error.start].decode()

    def _is_elsewhere(self) -> bool:
        """Return whether the connection has ended, for example because its event loop was closed.

        Raises:
            StateError: the caller runs on another event loop or thread, or without asyncio.
        """
        check_loop(self._loop)
        return self._is_over()

    def _not_connected(self) -> NotConnectedError:
        what = "it has ended" if self._stopped else "start() it first"
        return NotConnectedError(f"the connection is not up: {what}", ConnectionState.DISCONNECTED)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()


async def _close_all(connection: OpenConnection) -> None:
    try:
        await connection.close()
    finally:
        await connection.drop()
