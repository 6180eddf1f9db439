"""A server in memory with three transports, and the code of the user's around a connection: all of it may go wrong."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from signalr_sdk import ConnectionClosedError, JsonProtocol, Transport, TransportError
from signalr_sdk.interfaces import HttpRequest, HttpResponse, WebSocketOptions

from .wrongs import FINE, Chance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from signalr_sdk.messages import HubMessage
    from signalr_sdk.retry import RetryContext

_PING = 15.0


class Peer:
    """The server's end of one connection.

    Attributes:
        open: whether the client has not closed it, nor the server.
        up: whether the handshake is done.
        polled: whether the first poll of long polling was answered.
        name: the connection token.
        connection_id: the connection id.
        queue: what the client is to receive over the current line.
        stateful: whether a line that is cut may be replaced by another one.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.open = True
        self.up = False
        self.polled = False
        self.name = name
        self.connection_id = f"c{name[1:]}"
        self.received: list[dict[str, Any]] = []
        self._server = server
        self._loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.stateful = False
        # Stateful reconnect: the messages that the client has not acknowledged, and their numbers.
        self._kept: list[bytes] = []
        self._acknowledged = self._got = 0
        self._position = 1
        self._calls: dict[str, list[str]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def results(self) -> list[dict[str, Any]]:
        """The completions that the client has sent: of uploads, and of client results."""
        return [message for message in self.received if message.get("type") == 3]

    async def next(self, queue: asyncio.Queue[bytes | Exception | None] | None = None) -> bytes | None:
        """Return what comes next for the client over this line, `None` at the end."""
        queue = self.queue if queue is None else queue
        if queue.empty() and not (self.open and queue is self.queue):
            return None
        data = await queue.get()
        if isinstance(data, Exception):
            raise data
        return data

    def take(self, data: bytes) -> None:
        """Take what the client sends."""
        if not self.open:
            raise ConnectionClosedError("closed", allow_reconnect=True)
        try:
            for record in data.split(b"\x1e")[:-1]:
                message = json.loads(record)
                self._handle(message)
                self.received.append(message)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            self.say({"type": 7, "error": "this is no hub message", "allowReconnect": True})
            self.end()

    def _handle(self, message: dict[str, Any]) -> None:
        if "protocol" in message:
            self.up, self.stateful = True, message["version"] == 2
            self.say({})
            self._ping()
            return
        kind, call = message["type"], message.get("invocationId")
        if self.stateful and not self._is_new(kind, message):
            return
        if kind == 7:
            self.end()
        elif kind in (1, 4):
            self._server.called(self.connection_id, message)
            if streams := message.get("streamIds"):
                self._calls[call or ""] = list(streams)
            elif call is not None:
                self._answer(call, kind, message["target"])
        elif kind == 3:
            self._end_stream(call)
        elif kind == 5:
            self.say({"type": 3, "invocationId": call, "error": "canceled"})

    def _is_new(self, kind: int, message: dict[str, Any]) -> bool:
        """Count a message; return whether it has not come before."""
        if kind == 8:
            del self._kept[: message["sequenceId"] - self._acknowledged]
            self._acknowledged = message["sequenceId"]
        elif kind == 9:
            self._position = message["sequenceId"]
        elif kind <= 5:
            self._position += 1
            if self._position - 1 <= self._got:
                return False
            self._got = self._position - 1
        return True

    def resume(self) -> None:
        """Go on over another line."""
        self.open, self.queue = True, asyncio.Queue()
        self.queue.put_nowait(json.dumps({"type": 9, "sequenceId": self._acknowledged + 1}).encode() + b"\x1e")
        for data in self._kept:
            self.queue.put_nowait(data)
        self._ping()

    def _end_stream(self, stream: str | None) -> None:
        for call, streams in list(self._calls.items()):
            if stream in streams:
                streams.remove(stream)
                if not streams:
                    del self._calls[call]
                    self._answer(call, 1, "Echo" if call else "Never")

    def _answer(self, call: str, kind: int, target: str) -> None:
        if target == "Never":
            return
        if kind == 4:
            for n in range(3):
                self.say({"type": 2, "invocationId": call, "item": n})
        self.say(
            {"type": 3, "invocationId": call, "result": 7} if target == "Echo" else {"type": 3, "invocationId": call}
        )

    def say(self, *messages: dict[str, Any] | bytes) -> None:
        """Send this to the client."""
        for message in messages:
            data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\x1e"
            if self.stateful and isinstance(message, dict) and message.get("type", 6) <= 5:
                self._kept.append(data)
            self.queue.put_nowait(data)

    def _ping(self) -> None:
        if self.open:
            self.say(*[{"type": 8, "sequenceId": self._got}] * self.stateful, {"type": 6})
            self._timer = self._loop.call_later(_PING * self._server.pace, self._ping)

    def end(self) -> None:
        """End in good order."""
        if self.open:
            self.open = self.stateful = False
            self.queue.put_nowait(None)
        if self._timer is not None:
            self._timer.cancel()

    def vanish(self) -> None:
        """End as a cut line does."""
        if self.open:
            self.open = False
            self.queue.put_nowait(ConnectionClosedError("cut", allow_reconnect=True))
        if self._timer is not None:
            self._timer.cancel()


class Socket:
    """The client's end of a WebSocket. Every step may go wrong."""

    def __init__(self, peer: Peer, chance: Chance) -> None:
        self._peer = peer
        self._line = peer.queue
        self._chance = chance

    async def receive(self) -> Any:
        """See `WebSocket`."""
        wrong = await self._chance.meddle("socket receive")
        return await self._peer.next(self._line) if wrong is FINE else wrong

    async def send(self, data: bytes, /) -> None:
        """See `WebSocket`."""
        if await self._chance.meddle("socket send") is FINE:
            if self._peer.queue is not self._line:
                raise ConnectionClosedError("cut", allow_reconnect=True)
            self._peer.take(data)

    async def flush(self) -> None:
        """See `WebSocket`."""
        await self._chance.meddle("socket flush")

    async def close(self) -> None:
        """See `WebSocket`."""
        try:
            await self._chance.meddle("socket close")
        finally:
            if self._peer.queue is self._line:
                self._peer.end()


class Stream:
    """The client's end of an event stream."""

    response = HttpResponse(200, (("Content-Type", "text/event-stream"),))

    def __init__(self, peer: Peer, chance: Chance) -> None:
        self._peer = peer
        self._chance = chance

    async def read(self) -> Any:
        """See `HttpStream`."""
        wrong = await self._chance.meddle("stream read")
        if wrong is not FINE:
            return wrong
        try:
            data = await self._peer.next()
        except ConnectionClosedError as error:
            raise OSError("cut") from error
        return b"" if data is None else b"data: " + data + b"\r\n\r\n"


class Server:
    """An HTTP client and connector with a hub server behind it."""

    def __init__(self, chance: Chance) -> None:
        self.peers: list[Peer] = []
        self.pace = chance.pace
        # What the server says of the life of tokens, in seconds.
        self.lifetime: float | None = None
        # Whether the next request is answered 401.
        self.refuses_next = False
        # Told of each call: the connection id, and the message.
        self.called: Callable[[str, dict[str, Any]], None] = lambda _connection_id, _message: None
        self._chance = chance

    @property
    def last(self) -> Peer | None:
        """The newest connection that is open."""
        return next((peer for peer in reversed(self.peers) if peer.open and peer.up), None)

    def _peer(self, url: str) -> Peer:
        name = url.rpartition("id=")[2].partition("&")[0]
        for peer in self.peers:
            if peer.name == name:
                return peer
        peer = Peer(self, name)
        self.peers.append(peer)
        return peer

    async def request(self, request: HttpRequest, /) -> Any:
        """See `HttpClient`."""
        wrong = await self._chance.meddle("http request")
        if wrong is not FINE:
            return wrong
        if self.refuses_next:
            self.refuses_next = False
            return HttpResponse(401)
        if "/negotiate" in request.url:
            return self._negotiate(stateful="useStatefulReconnect" in request.url)
        if "id=" not in request.url:
            return HttpResponse(200, (), b'{"tokenLifetimeSeconds": 50}')
        peer = self._peer(request.url)
        try:
            if request.method == "GET":
                return await self._poll(peer)
            if request.method == "POST":
                peer.take(request.body)
            else:
                peer.end()
        except ConnectionClosedError as error:
            raise OSError("cut") from error
        return HttpResponse(200)

    def _negotiate(self, *, stateful: bool) -> HttpResponse:
        formats, number = ["Text", "Binary"], next(self._chance.numbers)
        answer: dict[str, Any] = {
            "negotiateVersion": 1,
            "connectionId": f"c{number}",
            "connectionToken": f"t{number}",
            "availableTransports": [
                {"transport": "WebSockets", "transferFormats": formats},
                {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
                {"transport": "LongPolling", "transferFormats": formats},
            ],
        }
        if stateful:
            answer["useStatefulReconnect"] = True
        if self.lifetime is not None:
            answer["tokenLifetimeSeconds"] = self.lifetime
        return HttpResponse(200, (), json.dumps(answer).encode())

    async def _poll(self, peer: Peer) -> HttpResponse:
        if not peer.polled:
            peer.polled = True
            return HttpResponse(200)
        data = await peer.next()
        return HttpResponse(204) if data is None else HttpResponse(200, (), data)

    @asynccontextmanager
    async def stream(self, request: HttpRequest, /) -> AsyncIterator[Any]:
        """See `HttpClient`."""
        wrong = await self._chance.meddle("http stream")
        peer = self._peer(request.url)
        try:
            yield Stream(peer, self._chance) if wrong is FINE else wrong
            await self._chance.meddle("stream close")
        finally:
            peer.end()

    async def connect_web_socket(self, request: HttpRequest, _options: WebSocketOptions, /) -> Any:
        """See `WebSocketConnector`."""
        wrong = await self._chance.meddle("connector")
        if wrong is not FINE:
            return wrong
        peer = self._peer(request.url)
        if peer.up:
            if not peer.stateful:
                raise TransportError("gone", transport=Transport.WEBSOCKETS, status=404)
            peer.resume()
        return Socket(peer, self._chance)


class Protocol(JsonProtocol):
    """A hub protocol that goes wrong."""

    def __init__(self, chance: Chance) -> None:
        super().__init__()
        self._chance = chance

    def encode(self, message: HubMessage, /) -> Any:
        """See `HubProtocol`."""
        wrong = self._chance.meddle_now("protocol encode")
        return super().encode(message) if wrong is FINE else wrong

    def decode(self, frame: bytes, /, *, exact: bool = False) -> Any:
        """See `HubProtocol`."""
        wrong = self._chance.meddle_now("protocol decode")
        return super().decode(frame, exact=exact) if wrong is FINE else wrong


class Money:
    """A value that only the converter can take apart."""


class Converter:
    """A converter that goes wrong."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def structure(self, obj: Any, _cl: Any, /) -> Any:
        """See `Converter`."""
        wrong = self._chance.meddle_now("converter structure")
        return obj if wrong is FINE else wrong

    def unstructure(self, _obj: Any, /) -> Any:
        """See `Converter`."""
        wrong = self._chance.meddle_now("converter unstructure")
        return 5 if wrong is FINE else wrong


class Policy:
    """A retry policy that goes wrong."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def next_delay(self, _context: RetryContext, /) -> Any:
        """See `RetryPolicy`."""
        wrong = self._chance.meddle_now("policy")
        return self._chance.random.choice([0.0, 0.5, 3.0]) * self._chance.pace if wrong is FINE else wrong


class Source:
    """The source of an upload."""

    def __init__(self, chance: Chance, note: Callable[[Source], None]) -> None:
        self.closed = False
        self._left = 3
        self._chance = chance
        note(self)

    def __aiter__(self) -> Any:
        wrong = self._chance.meddle_now("source iter")
        return self if wrong is FINE else wrong

    async def __anext__(self) -> Any:
        wrong = await self._chance.meddle("source next")
        self._left -= 1
        if self._left < 0:
            raise StopAsyncIteration
        return self._left if wrong is FINE else wrong

    async def aclose(self) -> None:
        """Close."""
        self.closed = True
        await self._chance.meddle("source close")


SEAMS = (
    *("provider", "policy", "converter structure", "converter unstructure", "protocol encode", "protocol decode"),
    *("http request", "http stream", "stream read", "stream close", "connector"),
    *("socket receive", "socket send", "socket flush", "socket close"),
    *("set-up", "handler", "lifecycle handler", "error handler", "client result"),
    *("source iter", "source next", "source close"),
    *("log handler", "program"),
)
