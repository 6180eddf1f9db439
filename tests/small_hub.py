"""A small hub server with every transport, for tests that look at requests and change responses."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from aiohttp import WSMsgType, web
from tests.servers import app_server

from signalr_sdk import HubConnection, JsonProtocol, MessagePackProtocol, TransferFormat, Transport
from signalr_sdk.messages import Completion, HubMessage, Invocation, Ping, StreamInvocation, StreamItem
from signalr_sdk.protocols.framing import BinaryFraming, TextFraming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from signalr_sdk import HubProtocol

_LIMIT = 1 << 30

# Each transport with each hub protocol that the transport can carry.
COMBINATIONS = [
    pytest.param(Transport.WEBSOCKETS, JsonProtocol, id="WebSockets-json"),
    pytest.param(Transport.WEBSOCKETS, MessagePackProtocol, id="WebSockets-messagepack"),
    pytest.param(Transport.SERVER_SENT_EVENTS, JsonProtocol, id="ServerSentEvents-json"),
    pytest.param(Transport.LONG_POLLING, JsonProtocol, id="LongPolling-json"),
    pytest.param(Transport.LONG_POLLING, MessagePackProtocol, id="LongPolling-messagepack"),
]


@attrs.frozen
class Asked:
    """One request: `kind` is negotiate, websocket, sse, poll, post or delete."""

    kind: str
    target: str
    headers: Mapping[str, str]

    @property
    def token(self) -> str | None:
        """The Authorization header."""
        return self.headers.get("Authorization")


def kind_of(request: web.Request) -> str:
    """Return the kind of a request."""
    if request.path.endswith("/negotiate"):
        return "negotiate"
    if request.method != "GET":
        return request.method.lower()
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return "websocket"
    return "sse" if "text/event-stream" in request.headers.get("Accept", "") else "poll"


async def _nothing(_request: web.Request) -> web.StreamResponse | None:
    return None


class SmallHub:
    """A hub with the methods `Echo(value)`, `Repeat(length)` and the stream `Count(n)`.

    Attributes:
        asked: all requests, in order.
        before: called with each request; may return a response, which is sent then.
        calls: messages of the client that are not answered here.
        pinged: set when a ping of the hub protocol has come.
        pongs: payloads of WebSocket pongs.
        most_posts: the largest number of POSTs of messages at the same time.
    """

    def __init__(self, transports: tuple[str, ...] = tuple(Transport), protocol: HubProtocol | None = None) -> None:
        self.protocol = protocol or JsonProtocol()
        self.transports = transports
        self.url = ""
        self.asked: list[Asked] = []
        self.before: Callable[[web.Request], Awaitable[web.StreamResponse | None]] = _nothing
        self.cookies: dict[str, str] = {}
        self.answers_handshake = True
        self.calls: asyncio.Queue[HubMessage] = asyncio.Queue()
        self.pinged = asyncio.Event()
        self.pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self.most_posts = 0
        self._posts = 0
        self._wire: asyncio.Transport | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._handlers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            "negotiate": self._negotiate,
            "websocket": self._web_socket,
            "sse": self._events,
            "poll": self._poll,
            "post": self._post,
            "delete": self._delete,
        }
        self._renew()

    def _renew(self) -> None:
        binary = self.protocol.transfer_format is TransferFormat.BINARY
        self._framing = BinaryFraming(_LIMIT) if binary else TextFraming(_LIMIT)
        self._shaken = self._polled = False
        self._said: asyncio.Queue[bytes | None] = asyncio.Queue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SmallHub]:
        """Serve on a free port."""
        app = web.Application(client_max_size=_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._serve)
        async with app_server(app) as url:
            self.url = url + "/hub"
            try:
                yield self
            finally:
                # aiohttp does not end the handler of a request whose client has gone. The handler may wait for ever.
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)

    def client(self, **options: Any) -> HubConnection:
        """Return a connection to this hub that does not reconnect."""
        return HubConnection(self.url, **{"reconnect": False, "protocol": self.protocol, **options})

    def count(self, kind: str) -> int:
        """Return how many requests of this kind there were."""
        return sum(asked.kind == kind for asked in self.asked)

    def say(self, *messages: HubMessage) -> None:
        """Send messages in one WebSocket message, event or answer to a poll (JSON: one event for each message)."""
        self._said.put_nowait(b"".join(self.protocol.encode(message) for message in messages))

    def end(self) -> None:
        """End the transport properly, without a Close message."""
        self._said.put_nowait(None)

    def write(self, data: bytes) -> None:
        """Write to the TCP connection of the WebSocket."""
        assert self._wire is not None
        self._wire.write(data)

    # Requests

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        kind = kind_of(request)
        self.asked.append(Asked(kind, request.path_qs, request.headers))
        answer = await self.before(request)
        if answer is not None:
            return answer
        return await self._handlers[kind](request)

    async def _negotiate(self, _request: web.Request) -> web.Response:
        self._renew()
        offered = [{"transport": name, "transferFormats": ["Text", "Binary"]} for name in self.transports]
        answer = web.json_response(
            {"negotiateVersion": 1, "connectionId": "i", "connectionToken": "t", "availableTransports": offered}
        )
        for name, value in self.cookies.items():
            answer.set_cookie(name, value)
        return answer

    async def _post(self, request: web.Request) -> web.Response:
        self._posts += 1
        self.most_posts = max(self.most_posts, self._posts)
        self._hear(await request.read())
        self._posts -= 1
        return web.Response()

    async def _web_socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0, autoping=False, compress=False)
        await socket.prepare(request)
        self._wire = request.transport
        writer = asyncio.create_task(self._write(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.PONG:
                    self.pongs.put_nowait(message.data)
                elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    data = message.data
                    self._hear(data.encode() if isinstance(data, str) else data)
        finally:
            writer.cancel()
            await asyncio.wait({writer})
        return socket

    async def _write(self, socket: web.WebSocketResponse) -> None:
        while (data := await self._said.get()) is not None:
            if self.protocol.transfer_format is TransferFormat.BINARY:
                await socket.send_bytes(data)
            else:
                await socket.send_str(data.decode())
        await socket.close()

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b":\r\n\r\n")
        while (data := await self._said.get()) is not None:
            await response.write(b"data: " + data + b"\r\n\r\n")
        return response

    async def _delete(self, _request: web.Request) -> web.Response:
        self.end()
        return web.Response(status=202)

    async def _poll(self, _request: web.Request) -> web.Response:
        if not self._polled:
            self._polled = True
            return web.Response()
        data = await self._said.get()
        return web.Response(status=204) if data is None else web.Response(body=data)

    # Messages

    def _hear(self, data: bytes) -> None:
        if not self._shaken:
            _request, _, data = data.partition(b"\x1e")
            self._shaken = True
            if self.answers_handshake:
                self._said.put_nowait(b"{}\x1e")
        for frame in self._framing.feed(data):
            message = self.protocol.decode(frame)
            assert message is not None
            self._answer(message)

    def _answer(self, message: HubMessage) -> None:
        match message:
            case Ping():
                self.pinged.set()
            case Invocation(target="Echo", invocation_id=str(name)):
                self.say(Completion(name, message.arguments[0], has_result=True))
            case Invocation(target="Repeat", invocation_id=str(name)):
                self.say(Completion(name, "x" * message.arguments[0], has_result=True))
            case StreamInvocation(target="Count", invocation_id=name):
                self.say(*(StreamItem(name, n) for n in range(message.arguments[0])), Completion(name))
            case _:
                self.calls.put_nowait(message)
