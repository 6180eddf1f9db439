"""The Server-Sent Events transport: one endless answer brings messages, POSTs take them away."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from .._core.sse_parser import SseParser
from ..options import Transport
from .interruption import Interrupted, Interruptible
from .posting import Poster, lost, refused

if TYPE_CHECKING:
    from .._http.request_sender import RequestSender
    from ..interfaces import HttpResponse, HttpStream
    from .contract import TransportSettings


class ServerSentEventsTransport:
    """See `ActiveTransport`.

    Args:
        stream: open.
        stack: closes it.
        sender: sends the requests.
        url: where to POST.
        settings: what it needs to know.
    """

    kind: Final = Transport.SERVER_SENT_EVENTS
    inherent_keep_alive: Final = False

    def __init__(
        self, stream: HttpStream, stack: AsyncExitStack, sender: RequestSender, url: str, settings: TransportSettings
    ) -> None:
        self._stream = stream
        self._stack = stack
        self._parser = SseParser(settings.payload_bytes)
        self._waits = Interruptible()
        self.send = Poster(sender, url, settings.transfer_format, self._waits).send

    @classmethod
    async def open(cls, sender: RequestSender, url: str, settings: TransportSettings) -> ServerSentEventsTransport:
        """See `open_transport`."""
        async with AsyncExitStack() as stack:
            stream = await stack.enter_async_context(sender.stream(url))
            _check(url, stream.response)
            return cls(stream, stack.pop_all(), sender, url, settings)

    async def receive(self) -> bytes | None:
        """See `ActiveTransport.receive`. Events that arrived together are joined."""
        while True:
            try:
                chunk = await self._waits.run(self._stream.read)
            except Interrupted:
                return None
            except OSError as error:
                raise lost(f"the event stream broke off: {error}") from error
            if not chunk:
                if self._parser.incomplete:
                    raise lost("the event stream ended within an event, which is incomplete")
                return None
            events = self._parser.feed(chunk)
            if events:
                return b"".join(events)

    async def flush(self) -> None:
        """See `ActiveTransport.flush`. What was sent has been answered."""

    async def close(self) -> None:
        """See `ActiveTransport.close`. Dropping the stream is how this transport says goodbye."""
        try:
            await self._waits.interrupt()
        finally:
            await self._stack.aclose()


def _check(url: str, response: HttpResponse) -> None:
    if response.status != 200:
        raise refused(Transport.SERVER_SENT_EVENTS, url, response)
    content_type = (response.header("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type != "text/event-stream":
        raise refused(
            Transport.SERVER_SENT_EVENTS,
            url,
            response,
            f"the server answers with {content_type or 'no content type'!r} where an event stream should begin",
        )
