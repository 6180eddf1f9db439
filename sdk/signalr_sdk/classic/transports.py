"""The transports of classic SignalR: each brings JSON texts from the server; only a WebSocket also carries calls."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from .._core import urls
from .._core.redaction import redact, redact_error
from .._core.sse_parser import SseParser
from .._guard.tasks import retrieve, spawn
from .._http.request_sender import StreamOpening
from .._transports.interruption import Interrupted, InterruptibleSteps
from .._transports.poll_pace import PollPace
from .._transports.transport_errors import lost, refused, refused_later
from .._transports.web_sockets import WebSocketsTransport
from ..errors import RemoteProtocolError, TransportError
from ..interfaces import WebSocketOptions
from ..options import Transport
from .request_urls import form

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._http.request_sender import RequestSender
    from .._transports.contract import TransportSettings
    from ..interfaces import HttpResponse, HttpStream
    from .negotiation import Negotiated
    from .request_urls import Address
    from .session import ClassicSession

MESSAGE_END: Final = b"\xff"
"""Ends each message in the outgoing buffer, which joins messages. No text in UTF-8 contains this byte."""

FORM: Final = "application/x-www-form-urlencoded; charset=UTF-8"
# A poll may take this number of seconds longer than the server's own limit.
_POLL_GRACE = 10.0
# A proxy may hold back the head of the response to `/reconnect` until the body comes. After this number of seconds
# without a refusal, the transport counts as open.
_ASSUMED_OPEN = 5.0
_INITIALIZED = b"initialized"

_ADVICE = {
    400: ": the server does not know the connection token; several servers behind one address need sticky cookies or "
    "the same machine key",
    401: ": the token is missing, expired or not accepted",
    403: ": access is denied, or the user is another one than at negotiate, or a proxy blocks this transport",
    404: ": there is nothing at this path, or the query is too long, as it gets with very many groups",
    414: ": the query is too long, as it gets with very many groups",
}


class ClassicTransport(Protocol):
    """An open transport, which brings messages. A closed transport cannot be opened again."""

    @property
    def heard(self) -> float:
        """The event loop's time at which the last bytes came."""

    @property
    def kind(self) -> Transport:
        """Which of the three transports this is."""

    @property
    def is_accepted(self) -> bool:
        """Whether the server has accepted the transport. If not, this is only assumed yet."""

    async def receive(self) -> list[bytes] | None:
        """Return the next JSON texts from the server, at least one.

        Returns:
            `None` when the server has ended the transport in good order, or `close` or `drop` was called.

        Raises:
            ConnectionClosedError: the transport is lost.
            RemoteProtocolError: the received data breaks the rules of the transport, or is over a limit.
        """

    async def close(self) -> None:
        """Close the transport and leave nothing open. Cancelling this method drops the transport at once."""

    def drop(self) -> None:
        """End the transport at once. Call `close` afterwards, which then only frees resources."""


@attrs.frozen
class TransportPlace:
    """What a transport needs to know of its connection.

    Attributes:
        sender: sends the requests.
        address: the URL of the requests.
        negotiated: the time limits of the server.
        session: knows the position after the last message.
        settings: formats and limits of the transport.
    """

    sender: RequestSender
    address: Address
    negotiated: Negotiated
    session: ClassicSession
    settings: TransportSettings

    def opening_url(self, kind: Transport, *, again: bool) -> str:
        """Return the URL that opens a transport: of `/connect`, or of `/reconnect` if `again` is true."""
        if not again:
            return self.address.command("connect", kind)
        session = self.session
        return self.address.command("reconnect", kind, cursor=session.cursor, groups_token=session.groups_token)

    def place(self) -> bytes:
        """Return the form that says to a poll where to go on."""
        return form(messageId=self.session.cursor, groupsToken=self.session.groups_token)


async def open_transport(kind: Transport, place: TransportPlace, *, again: bool = False) -> ClassicTransport:
    """Open a transport, which is not yet known to bring messages. Cancelling leaves nothing open.

    Args:
        kind: the transport to open.
        place: the connection of the transport.
        again: whether the transport replaces a lost one of the same connection.

    Raises:
        TransportError: the transport could not be started.
        ConnectionFailedError: the token provider failed, so every other transport would fail too.
    """
    try:
        if kind is Transport.WEBSOCKETS:
            return await ClassicWebSocket.open(place, again=again)
        if kind is Transport.SERVER_SENT_EVENTS:
            return await ClassicEventStream.open(place, again=again)
        return await ClassicLongPolling.open(place, again=again)
    except TransportError:
        raise
    except (OSError, RemoteProtocolError) as error:
        where = urls.without_query(place.opening_url(kind, again=again))
        raise TransportError(redact_error(error), transport=kind, url=where) from error


def _check(kind: Transport, url: str, response: HttpResponse) -> None:
    if response.status == 200:
        return
    redirected = 300 <= response.status < 400
    message = None if redirected else f"the server refused it{_ADVICE.get(response.status, '')}"
    raise refused(kind, url, response, message=message)


def _now() -> float:
    return asyncio.get_running_loop().time()


class ClassicWebSocket:
    """See `ClassicTransport`. Also a `Sender` for `Outgoing`: each message ends with `MESSAGE_END` there.

    Args:
        transport: the open WebSocket.
    """

    kind: Final = Transport.WEBSOCKETS
    is_accepted: Final = True

    def __init__(self, transport: WebSocketsTransport) -> None:
        self._heard = _now()
        self._transport = transport
        self.flush: Callable[[], Coroutine[Any, Any, None]] = transport.flush
        self.close: Callable[[], Coroutine[Any, Any, None]] = transport.close
        self.drop: Callable[[], None] = transport.drop

    @classmethod
    async def open(cls, place: TransportPlace, *, again: bool) -> ClassicWebSocket:
        """See `open_transport`."""
        sender, settings = place.sender, place.settings
        options = WebSocketOptions(max_bytes=settings.payload_bytes, close_timeout=sender.timeouts.close)
        try:
            url = place.opening_url(cls.kind, again=again)
            return cls(WebSocketsTransport(await sender.connect_web_socket(url, options)))
        except TransportError as error:
            error.message += _ADVICE.get(error.status or 0, "")
            raise

    @property
    def heard(self) -> float:
        """See `ClassicTransport.heard`. A long message over a slow network is heard before it is received."""
        silence = self._transport.silence()
        return self._heard if silence is None else max(self._heard, _now() - silence)

    async def receive(self) -> list[bytes] | None:
        """See `ClassicTransport.receive`."""
        data = await self._transport.receive()
        self._heard = _now()
        return None if data is None else [data]

    async def send(self, data: bytes, /) -> None:
        """Send each message, which ends with `MESSAGE_END`, as a WebSocket message of its own."""
        for message in data[:-1].split(MESSAGE_END):
            await self._transport.send(message)

    def send_now(self, data: bytes, /) -> bool:
        """Send one message if this needs no waiting. Return whether the message was sent."""
        return self._transport.send_now(data[:-1])


class ClassicEventStream:
    """See `ClassicTransport`. Server-Sent Events: one endless response.

    Args:
        stream: the open event stream.
        stack: closes `stream`.
        limit: the largest event, in bytes.
    """

    kind: Final = Transport.SERVER_SENT_EVENTS
    is_accepted: Final = True

    def __init__(self, stream: HttpStream, stack: AsyncExitStack, limit: int) -> None:
        self.heard: float = _now()
        self._stream = stream
        self._stack = stack
        self._parser = SseParser(limit)
        self._steps = InterruptibleSteps()

    @classmethod
    async def open(cls, place: TransportPlace, *, again: bool) -> ClassicEventStream:
        """See `open_transport`."""
        async with AsyncExitStack() as stack:
            url = place.opening_url(cls.kind, again=again)
            stream = await stack.enter_async_context(place.sender.stream(url))
            _check(cls.kind, url, stream.response)
            _check_content(url, stream.response)
            return cls(stream, stack.pop_all(), place.settings.payload_bytes)

    async def receive(self) -> list[bytes] | None:
        """See `ClassicTransport.receive`."""
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
            self.heard = _now()
            if events := [event for event in self._parser.feed(chunk) if event != _INITIALIZED]:
                return events

    async def close(self) -> None:
        """See `ClassicTransport.close`."""
        self.drop()
        try:
            await self._steps.ended()
        finally:
            await self._stack.aclose()

    def drop(self) -> None:
        """See `ClassicTransport.drop`."""
        self._steps.interrupt()


def _check_content(url: str, response: HttpResponse) -> None:
    content_type = (response.header("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type != "text/event-stream":
        shown = redact(content_type, 60) or "no content type"
        message = f"the server answers with {shown!r} where an event stream should begin"
        raise refused(Transport.SERVER_SENT_EVENTS, url, response, message=message)


class ClassicLongPolling:
    """See `ClassicTransport`. Each poll is a POST, which a server answers when there is something to say.

    The first request (`/connect` or `/reconnect`) is a poll too, but it is read as a stream: the head of its response
    says that the transport is open, long before there is a body.

    Args:
        place: the connection.
        again: whether the transport replaces a lost one.
    """

    kind: Final = Transport.LONG_POLLING

    def __init__(self, place: TransportPlace, *, again: bool) -> None:
        self.heard: float = _now()
        self._place = place
        self._url = place.address.command("poll", self.kind)
        self._limit = place.settings.payload_bytes
        self._seconds = place.negotiated.connection_timeout + _POLL_GRACE
        self._pace = PollPace()
        # The cursor of the last poll. If the cursor is still the same after the answer, the answer had no message.
        self._asked: str | None = None
        self._steps = InterruptibleSteps()
        self._is_open = asyncio.Event()
        self._first: asyncio.Task[bytes] | None = spawn(self._poll_first(again=again), "first poll")

    @property
    def is_accepted(self) -> bool:
        """See `ClassicTransport.is_accepted`."""
        return self._is_open.is_set()

    @classmethod
    async def open(cls, place: TransportPlace, *, again: bool) -> ClassicLongPolling:
        """See `open_transport`."""
        transport = cls(place, again=again)
        first = transport._first
        assert first is not None
        opened = spawn(transport._is_open.wait(), "first answer")
        try:
            limit = _ASSUMED_OPEN if again else None
            await asyncio.wait({opened, first}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                first.result()
        except BaseException:
            await transport.close()
            raise
        finally:
            opened.cancel()
        return transport

    async def _poll_first(self, *, again: bool) -> bytes:
        url = self._place.opening_url(self.kind, again=False)
        if again:
            # The position goes into the form, and not into the query, which many servers limit to 2 KiB.
            url = self._place.address.command("reconnect", self.kind)
        timeout = self._seconds if again else self._place.sender.timeouts.connect
        opening = StreamOpening(
            method="POST",
            headers={"Accept": "*/*", "Content-Type": FORM},
            body=self._place.place(),
            timeout=timeout,
        )
        body = bytearray()
        async with self._place.sender.stream(url, opening) as stream:
            _check(self.kind, url, stream.response)
            self._is_open.set()
            async with asyncio.timeout(self._seconds):
                while chunk := await stream.read():
                    body += chunk
                    if len(body) > self._limit:
                        raise RemoteProtocolError(f"a poll has more than {self._limit} bytes (Limits.message_bytes)")
        return bytes(body)

    async def receive(self) -> list[bytes] | None:
        """See `ClassicTransport.receive`."""
        while True:
            try:
                data = await self._steps.run(self._poll if self._first is None else self._take_first)
            except Interrupted:
                return None
            except TransportError as error:
                raise lost(f"the poll was refused: {error}") from error
            except OSError as error:
                raise lost(f"a poll was cut off: {redact_error(error)}") from error
            self.heard = _now()
            # Blanks before the JSON are the keep-alive of long polling. A body of blanks alone is the end of a poll
            # that a proxy or the server has cut in good order.
            if data := data.strip():
                return [data]

    async def _take_first(self) -> bytes:
        assert self._first is not None
        data = await asyncio.shield(self._first)
        self._first = None
        return data

    async def _poll(self) -> bytes:
        session = self._place.session
        delay = session.poll_delay
        if delay is None:
            delay = self._place.negotiated.long_poll_delay
        if delay:
            await asyncio.sleep(delay)
        self._pace.note(empty=session.cursor == self._asked)
        await self._pace.pause()
        self._asked = session.cursor
        response = await self._place.sender.request(
            "POST",
            self._url,
            body=self._place.place(),
            timeout=self._seconds,
            max_bytes=self._limit,
            content_type=FORM,
        )
        if response.status != 200:
            raise refused_later("a poll", response.status)
        return response.body

    async def close(self) -> None:
        """See `ClassicTransport.close`."""
        self.drop()
        await self._steps.ended()
        first, self._first = self._first, None
        if first is not None:
            first.cancel()
            await asyncio.wait({first})
            retrieve(first)

    def drop(self) -> None:
        """See `ClassicTransport.drop`."""
        self._steps.interrupt()
