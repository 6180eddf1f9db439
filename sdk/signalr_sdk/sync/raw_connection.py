"""`Connection` for programs without asyncio: it calls the asyncio `Connection` on the event loop's thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, Self

from .._connecting.raw_connection import Connection as AsyncConnection
from .._guard.copying import Uncopied
from ..errors import StateError
from ..options import Limits, Timeouts, Transport
from .http_client import ClientFactory, LazyClient
from .loop_use import LoopUse
from .token_providers import token_provider
from .twins import twin_of

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Iterable, Mapping

    from ..interfaces import TokenRequest


@twin_of(AsyncConnection)
class Connection(Uncopied):
    """A connection without the hub protocol, for programs without asyncio.

    Works like `signalr_sdk.Connection`, without `await`. Many threads may use one connection at the same time. Ctrl-C
    interrupts a method that waits. After `start()`, the event loop's thread runs until `stop()`.

    Args:
        url: the endpoint's http(s) or ws(s) URL.
        transfer_format: `"text"` (strings, UTF-8 on the wire) or `"binary"` (bytes).
        transports: as for `HubConnection`, like all other arguments.

    Example:
        ```python
        with Connection("https://example.com/echo") as connection:
            connection.send("hello")
            for text in connection:
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
        access_token: str | Callable[[], str | None] | Callable[[TokenRequest], str | None] | None = None,
        access_token_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        forward_headers: Iterable[str] = (),
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        http: ClientFactory | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self._http = LazyClient(http)
        self._connection = AsyncConnection(
            url,
            transfer_format=transfer_format,
            transports=transports,
            skip_negotiation=skip_negotiation,
            access_token=token_provider(access_token),
            access_token_in=access_token_in,
            headers=headers,
            cookies=cookies,
            forward_headers=forward_headers,
            proxy=proxy,
            ssl=ssl,
            http=self._http.source,
            timeouts=timeouts,
            limits=limits,
        )
        self._loop_use = LoopUse()
        self._stopped = asyncio.Event()

    @property
    def url(self) -> str:
        return self._connection.url

    @property
    def connection_id(self) -> str | None:
        return self._connection.connection_id

    @property
    def transport(self) -> Transport | None:
        return self._connection.transport

    def start(self) -> None:
        """Connect to the server. If Ctrl-C interrupts `start`, the connection is closed.

        Raises:
            ConnectionFailedError: connecting failed, or `stop()` was called before the connection was up.
            StateError: the connection was started before.
        """
        self._loop_use.call(self._start)

    async def _start(self) -> None:
        try:
            await self._connection.start()
        except StateError:
            raise
        except BaseException:
            self._stopped.set()
            await self._http.close()
            raise
        self._loop_use.keep_loop_for(self._live(), self._stop)

    async def _live(self) -> None:
        await self._stopped.wait()
        await self._http.close()

    def stop(self) -> None:
        """Close the connection within `Timeouts.close`. May be called on any thread, any number of times."""
        self._loop_use.call(self._stop)

    async def _stop(self) -> None:
        # Stop the asyncio connection only once: a later `stop` of the user may run on another event loop, on which the
        # asyncio connection cannot be used.
        if not self._stopped.is_set():
            await self._connection.stop()
            self._stopped.set()

    def send(self, data: str | bytes) -> None:
        """Send data to the server; wait while the server accepts no more. Several threads may send at the same time.

        Let another thread read from the connection while you send: a server may stop reading until its own data is
        read. Over long polling this client polls only while a thread reads, and ASP.NET Core closes the connection of a
        client that does not poll.

        Raises:
            NotConnectedError: the connection is not started, or is stopped.
            ConnectionClosedError: the connection is lost.
            TypeError: `data` is a `str` on a binary connection.
        """
        self._loop_use.call(self._connection.send, data)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str | bytes:
        return self._loop_use.call_next(self._connection.__anext__)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
