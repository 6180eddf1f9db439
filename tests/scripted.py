"""A server without sockets: the test plays the server, and decides what is sent and when."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from signalr_sdk import ConnectionClosedError, HubConnection
from signalr_sdk.interfaces import HttpRequest, HttpResponse, HttpStream, WebSocketOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

NEGOTIATED = {
    "negotiateVersion": 1,
    "connectionId": "public-id",
    "connectionToken": "secret-id",
    "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
}


class ScriptedSocket:
    """One WebSocket: its methods for the client are those of `WebSocket`, its other methods are for the test."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.closed = asyncio.Event()
        self.stalled = asyncio.Event()
        self.stalled.set()
        self._to_client: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._from_client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    # The client's side

    async def receive(self) -> bytes | None:
        got = await self._to_client.get()
        self._to_client.task_done()
        if isinstance(got, Exception):
            raise got
        return got

    async def send(self, data: bytes, /) -> None:
        await self.stalled.wait()
        if self.closed.is_set():
            raise ConnectionClosedError("the socket is closed", allow_reconnect=True)
        for record in data.split(b"\x1e")[:-1]:
            self._from_client.put_nowait(json.loads(record))

    async def flush(self) -> None:
        await self.stalled.wait()
        if self.closed.is_set():
            raise ConnectionClosedError("the socket is closed", allow_reconnect=True)

    async def close(self) -> None:
        self.closed.set()
        self._to_client.put_nowait(None)

    # The server's side, for the test

    async def next(self) -> dict[str, Any]:
        """Return the next message of the client that is not a ping."""
        while True:
            message = await self._from_client.get()
            if message.get("type") != 6:
                return message

    @property
    def waiting(self) -> int:
        """How many payloads the client has not read."""
        return self._to_client.qsize()

    async def all_read(self) -> None:
        """Return when the client has read all payloads."""
        await self._to_client.join()

    def say(self, *messages: dict[str, Any] | bytes) -> None:
        """Send these messages in one frame."""
        parts = [m if isinstance(m, bytes) else json.dumps(m).encode() + b"\x1e" for m in messages]
        self._to_client.put_nowait(b"".join(parts))

    def event(self, target: str, *arguments: Any) -> None:
        self.say(event(target, *arguments))

    def answer(self, call: dict[str, Any], result: Any = None) -> None:
        self.say({"type": 3, "invocationId": call["invocationId"], "result": result})

    def fail(self, call: dict[str, Any], error: str) -> None:
        self.say({"type": 3, "invocationId": call["invocationId"], "error": error})

    def item(self, call: dict[str, Any], item: Any) -> None:
        self.say({"type": 2, "invocationId": call["invocationId"], "item": item})

    def vanish(self, text: str = "WebSocket closed with code 1006") -> None:
        """End the connection as the loss of its TCP connection does."""
        self.fail_receive(ConnectionClosedError(text, allow_reconnect=True))

    def fail_receive(self, error: Exception) -> None:
        """End the connection with an error of the transport."""
        self.closed.set()
        self._to_client.put_nowait(error)

    async def shake_hands(self, *more: dict[str, Any] | bytes) -> None:
        request = await self.next()
        assert request["protocol"] == "json"
        self.say({}, *more)


def event(target: str, *arguments: Any) -> dict[str, Any]:
    return {"type": 1, "target": target, "arguments": list(arguments)}


def question(name: str, target: str, *arguments: Any) -> dict[str, Any]:
    return {**event(target, *arguments), "invocationId": name}


class ScriptedServer:
    """An `HttpClient` and `WebSocketConnector` behind which the test plays the server."""

    def __init__(self) -> None:
        self.sockets: asyncio.Queue[ScriptedSocket] = asyncio.Queue()
        self.negotiate: Callable[[], HttpResponse] = lambda: HttpResponse(200, (), json.dumps(NEGOTIATED).encode())
        self.connect: Callable[[], Awaitable[None]] | None = None
        self.requests: list[HttpRequest] = []

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        self.requests.append(request)
        return self.negotiate()

    def stream(self, request: HttpRequest, /) -> AbstractAsyncContextManager[HttpStream]:
        raise NotImplementedError("the script has WebSockets only")

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> ScriptedSocket:
        if self.connect is not None:
            await self.connect()
        socket = ScriptedSocket(request)
        self.sockets.put_nowait(socket)
        return socket

    def hub(self, **options: Any) -> HubConnection:
        return HubConnection("http://hub.test/chat", **{"http": self, "reconnect": False, **options})

    async def accept(self, hub: HubConnection, *more: dict[str, Any] | bytes) -> ScriptedSocket:
        """Start the hub connection; return the server's side of its WebSocket."""
        start = asyncio.create_task(hub.start())
        socket = await self.sockets.get()
        await socket.shake_hands(*more)
        await start
        return socket
