"""The long polling transport: GETs that the server answers when it has something to say, and POSTs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._core import token_refresh as refreshing
from ..errors import AuthenticationRefreshError, RemoteProtocolError
from ..options import Transport
from .interruption import Interrupted, Interruptible
from .posting import Poster, lost, refused

if TYPE_CHECKING:
    from .._http.request_sender import RequestSender
    from .._http.token_refresh import Refresher
    from ..interfaces import HttpResponse
    from .contract import TransportSettings

# ASP.NET Core answers after 90 s if there is nothing to say; the official .NET client waits as long as this.
_POLL_SECONDS = 120.0


class LongPollingTransport:
    """See `ActiveTransport`.

    There is no poll without a `receive`: what has not been polled waits at the server. A poll is never cut by us
    but to close, since its answer may be on the way.

    Args:
        sender: sends the requests.
        url: where to.
        settings: what it needs to know.
        first: what the first poll has brought already.
        refresher: refreshes the token when the server asks for that instead of answering a poll.
    """

    kind: Final = Transport.LONG_POLLING
    inherent_keep_alive: Final = True

    def __init__(
        self,
        sender: RequestSender,
        url: str,
        settings: TransportSettings,
        first: bytes,
        refresher: Refresher | None = None,
    ) -> None:
        self._sender = sender
        self._refresher = refresher
        self._url = url
        self._limit = settings.payload_bytes
        self._close_timeout = settings.timeouts.request
        self._first = first
        self._over = False
        self._waits = Interruptible()
        self.send = Poster(sender, url, settings.transfer_format, self._waits).send

    @classmethod
    async def open(
        cls, sender: RequestSender, url: str, settings: TransportSettings, refresher: Refresher | None = None
    ) -> LongPollingTransport:
        """See `open_transport`."""
        response = await sender.request("GET", url, timeout=settings.timeouts.request, max_bytes=settings.payload_bytes)
        if response.status == 204:
            raise refused(Transport.LONG_POLLING, url, response, "the server closed the connection at once")
        if response.status != 200:
            raise refused(Transport.LONG_POLLING, url, response)
        return cls(sender, url, settings, response.body, refresher)

    async def receive(self) -> bytes | None:
        """See `ActiveTransport.receive`."""
        data, self._first = self._first, b""
        while not data and not self._over:
            try:
                response = await self._waits.run(self._poll)
            except Interrupted:
                return None
            except TimeoutError as error:
                self._over = True
                raise lost(f"a poll was not answered, so what it would have brought is lost: {error}") from error
            except OSError as error:
                self._over = True
                raise lost(f"a poll was cut off, and what it may have brought is lost: {error}") from error
            except AuthenticationRefreshError as error:
                self._over = True
                raise lost(f"the server wants another token before it answers a poll, and {error}") from error
            except RemoteProtocolError:
                self._over = True
                raise
            data = self._read(response)
        return data or None

    async def _poll(self) -> HttpResponse:
        response = await self._poll_once()
        if self._refresher is None or not refreshing.is_required(response.status, response.body):
            return response
        await self._refresher.refresh()
        return await self._poll_once()

    async def _poll_once(self) -> HttpResponse:
        return await self._sender.request("GET", self._url, timeout=_POLL_SECONDS, max_bytes=self._limit)

    def _read(self, response: HttpResponse) -> bytes:
        if response.status == 204:
            self._over = True
            return b""
        if 200 <= response.status < 300:
            return response.body
        self._over = True
        if response.status == 404:
            raise lost("the connection is gone: the server does not know it any more (status 404)")
        raise lost(f"the server refused a poll (status {response.status})")

    async def flush(self) -> None:
        """See `ActiveTransport.flush`. What was sent has been answered."""

    async def close(self) -> None:
        """See `ActiveTransport.close`. Unless it is over already, a DELETE tells the server."""
        if self._waits.interrupted:
            return
        await self._waits.interrupt()
        if self._over:
            return
        self._over = True
        try:
            response = await self._sender.request(
                "DELETE", self._url, timeout=self._close_timeout, max_bytes=self._limit
            )
        except (OSError, RemoteProtocolError) as error:
            self._sender.logs.transport.debug("the DELETE that ends the connection failed: %s", error)
            return
        if response.status != 404 and not 200 <= response.status < 300:
            self._sender.logs.transport.debug(
                "the server refused the DELETE that ends the connection (status %d)", response.status
            )
