"""The long polling transport: GET requests wait for messages, and POST requests send messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._core import token_refresh as refreshing
from ..errors import AuthenticationRefreshError, RemoteProtocolError
from ..options import Transport
from .interruption import Interrupted
from .poll_pace import PollPace
from .posting import PostingTransport
from .transport_errors import lost, refused, refused_later

if TYPE_CHECKING:
    from .._http.request_sender import RequestSender
    from .._http.token_refresh import Refresher
    from ..interfaces import HttpResponse
    from .contract import TransportSettings

# The time limit of a poll request in seconds, as in the official .NET client. ASP.NET Core answers a poll after 90 s if
# there are no messages.
_POLL_SECONDS = 120.0


class LongPollingTransport(PostingTransport):
    """See `ActiveTransport`.

    Polls run only inside `receive`; until then, messages wait at the server. Only `close` and `drop` end a poll early:
    its response may be on the way, and the messages in a lost response are lost.

    Args:
        sender: sends the requests.
        url: the URL of the requests.
        settings: formats and limits.
        first: the data in the response to the first poll.
        refresher: refreshes the token when the response to a poll asks for a refresh.
    """

    kind: Final = Transport.LONG_POLLING
    inherent_keep_alive: Final = True

    def __init__(
        self,
        sender: RequestSender,
        url: str,
        *,
        settings: TransportSettings,
        first: bytes,
        refresher: Refresher | None = None,
    ) -> None:
        super().__init__(sender, url, settings=settings)
        self._refresher = refresher
        self._limit = settings.payload_bytes
        self._first = first
        self._over = False
        self._pace = PollPace()

    @classmethod
    async def open(
        cls, sender: RequestSender, url: str, settings: TransportSettings, refresher: Refresher | None = None
    ) -> LongPollingTransport:
        """See `open_transport`."""
        response = await sender.request("GET", url, timeout=sender.timeouts.request, max_bytes=settings.payload_bytes)
        if response.status == 204:
            raise refused(cls.kind, url, response, message="the server closed the connection at once")
        if response.status != 200:
            raise refused(cls.kind, url, response)
        return cls(sender, url, settings=settings, first=response.body, refresher=refresher)

    async def receive(self) -> bytes | None:
        """See `ActiveTransport.receive`."""
        data, self._first = self._first, b""
        while not data and not self._over:
            try:
                response = await self._steps.run(self._poll_in_time)
            except Interrupted:
                return None
            except RemoteProtocolError:
                self._over = True
                raise
            except (OSError, AuthenticationRefreshError) as error:
                self._over = True
                raise lost(_failure(error)) from error
            data = self._read(response)
        return data or None

    async def _poll_in_time(self) -> HttpResponse:
        """Send a poll request; pause before it if the server answered the last polls at once and without messages."""
        await self._pace.pause()
        response = await self._poll()
        self._pace.note(empty=not response.body)
        return response

    async def _poll(self) -> HttpResponse:
        response = await self._poll_once()
        if self._refresher is None or not refreshing.is_required(response.status, response.body):
            return response
        await self._refresher.refresh()
        return await self._poll_once()

    async def _poll_once(self) -> HttpResponse:
        return await self._sender.request("GET", self._url, timeout=_POLL_SECONDS, max_bytes=self._limit)

    def _read(self, response: HttpResponse) -> bytes:
        if 200 <= response.status < 300 and response.status != 204:
            return response.body
        self._over = True
        if response.status == 204:
            return b""
        raise refused_later("a poll", response.status)

    async def close(self) -> None:
        """See `ActiveTransport.close`. A DELETE request tells the server, unless the connection has ended already."""
        ended_before = self._steps.interrupted
        self._steps.interrupt()
        await self._steps.ended()
        if not ended_before and not self._over:
            await self._delete()

    async def _delete(self) -> None:
        log = self._sender.logs.transport
        try:
            response = await self._sender.request(
                "DELETE", self._url, timeout=self._sender.timeouts.request, max_bytes=self._limit
            )
        except (OSError, RemoteProtocolError) as error:
            log.debug("the DELETE that ends the connection failed: %s", error)
            return
        if response.status != 404 and not 200 <= response.status < 300:
            log.debug("the server refused the DELETE that ends the connection (status %d)", response.status)


def _failure(error: OSError | AuthenticationRefreshError) -> str:
    if isinstance(error, AuthenticationRefreshError):
        return f"the server wants another token before it answers a poll, and {error}"
    if isinstance(error, TimeoutError):
        return f"a poll was not answered, so what it would have brought is lost: {error}"
    return f"a poll was cut off, and what it may have brought is lost: {error}"
