"""The Server-Sent Events transport: one endless response brings messages, and POST requests send messages."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from .._core.redaction import redact, redact_error
from .._core.sse_parser import SseParser
from ..options import Transport
from .interruption import Interrupted
from .posting import PostingTransport
from .transport_errors import lost, refused

if TYPE_CHECKING:
    from .._http.request_sender import RequestSender
    from ..interfaces import HttpResponse, HttpStream
    from .contract import TransportSettings


class ServerSentEventsTransport(PostingTransport):
    """See `ActiveTransport`.

    Args:
        sender: sends the requests.
        url: the URL of the POST requests.
        settings: formats and limits.
        stream: the open event stream.
        stack: closes `stream`.
    """

    kind: Final = Transport.SERVER_SENT_EVENTS
    inherent_keep_alive: Final = False

    def __init__(
        self, sender: RequestSender, url: str, *, settings: TransportSettings, stream: HttpStream, stack: AsyncExitStack
    ) -> None:
        super().__init__(sender, url, settings=settings)
        self._stream = stream
        self._stack = stack
        self._parser = SseParser(settings.payload_bytes)

    @classmethod
    async def open(cls, sender: RequestSender, url: str, settings: TransportSettings) -> ServerSentEventsTransport:
        """See `open_transport`."""
        async with AsyncExitStack() as stack:
            stream = await stack.enter_async_context(sender.stream(url))
            _check(url, stream.response)
            return cls(sender, url, settings=settings, stream=stream, stack=stack.pop_all())

    async def receive(self) -> bytes | None:
        """See `ActiveTransport.receive`. Events that arrived together are joined."""
        while True:
            try:
                chunk = await self._steps.run(self._stream.read)
            except Interrupted:
                return None
            except OSError as error:
                raise lost(f"the event stream broke off: {redact_error(error)}") from error
            if not chunk:
                if self._parser.incomplete:
                    raise lost("the event stream ended within an event, which is incomplete")
                return None
            events = self._parser.feed(chunk)
            if events:
                return b"".join(events)

    async def close(self) -> None:
        """See `ActiveTransport.close`. The client sends nothing: the server sees that the stream is closed."""
        self.drop()
        try:
            await self._steps.ended()
        finally:
            await self._stack.aclose()


def _check(url: str, response: HttpResponse) -> None:
    kind = Transport.SERVER_SENT_EVENTS
    if response.status != 200:
        raise refused(kind, url, response)
    content_type = (response.header("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type != "text/event-stream":
        shown = redact(content_type, 60) or "no content type"
        message = f"the server answers with {shown!r} where an event stream should begin"
        raise refused(kind, url, response, message=message)
