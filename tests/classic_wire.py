"""A classic SignalR client that does nothing by itself: a test sends each request, and reads each envelope."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from signalr_sdk import Transport
from signalr_sdk.testing import SimulatedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from signalr_sdk.testing import ClassicHubServer

WIRE_NAMES = {
    Transport.WEBSOCKETS: "webSockets",
    Transport.SERVER_SENT_EVENTS: "serverSentEvents",
    Transport.LONG_POLLING: "longPolling",
}
LIMIT = 8.0  # seconds for each answer


def simulated(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a simulated network: its times do not depend on the speed of the machine."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        SimulatedNetwork(seed=1).run(test(*args, **kwargs))

    return run


class TransportEndedError(Exception):
    """The transport has ended: with the code of a close frame, or `None` without one."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code


class ClassicWire:
    """One connection to a classic server, over one transport at a time.

    Args:
        url: the URL of the hubs.
        transport: the transport.
        hubs: the hubs to receive events from.
        user: the bearer token.
        protocol: the version of the protocol.

    Attributes:
        cursor: the cursor of the last envelope that was read.
        groups_token: the last groups token that was read.
        inits: how many init messages have come.
    """

    def __init__(
        self,
        url: str,
        transport: Transport,
        *hubs: str,
        user: str | None = None,
        protocol: str = "2.1",
    ) -> None:
        self.url, self.transport = url, transport
        self.user, self.protocol = user, protocol
        self.hubs = hubs
        self.token = self.connection_id = ""
        self.cursor = self.groups_token = ""
        self.inits = 0
        self.session = aiohttp.ClientSession()
        self._web_socket: aiohttp.ClientWebSocketResponse | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._messages: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.drop()
        await self.session.close()

    # Requests

    def request(self, command: str, **more: str) -> tuple[str, dict[str, str], dict[str, str]]:
        """Return the URL, query and headers of a request."""
        query = {"clientProtocol": self.protocol, "transport": WIRE_NAMES[self.transport]}
        if self.hubs:
            query["connectionData"] = json.dumps([{"name": name} for name in self.hubs])
        if self.token:
            query["connectionToken"] = self.token
        headers = {} if self.user is None else {"Authorization": f"Bearer {self.user}"}
        return f"{self.url}/{command}", query | more, headers

    async def get(self, command: str, method: str = "GET", **more: str) -> tuple[int, str]:
        """Send a request; return status and text of the answer."""
        url, query, headers = self.request(command, **more)
        data = {"data": query.pop("data")} if "data" in query else None
        async with self.session.request(method, url, params=query, headers=headers, data=data) as answer:
            return answer.status, await answer.text()

    async def negotiate(self) -> dict[str, Any]:
        """Negotiate; return the answer."""
        status, text = await self.get("negotiate")
        assert status == 200, (status, text)
        answer: dict[str, Any] = json.loads(text)
        self.token, self.connection_id = answer.get("ConnectionToken", ""), answer.get("ConnectionId", "")
        return answer

    async def start(self) -> Self:
        """Negotiate, open the transport, wait for the init message, and send `/start`."""
        await self.negotiate()
        await self.open("connect")
        envelope = await self.envelope()
        assert envelope["S"] == 1
        assert await self.get("start") == (200, '{ "Response": "started" }')
        return self

    async def call(self, method: str, *arguments: Any, hub: str = "", call_id: Any = 0, state: Any = None) -> Any:
        """Call a hub method; return the answer. Messages that come before the answer are kept for `next`."""
        message: dict[str, Any] = {"H": hub or self.hubs[0], "M": method, "A": arguments, "I": call_id}
        if state is not None:
            message["S"] = state
        if self._web_socket is None:
            status, text = await self.get("send", "POST", data=json.dumps(message))
            assert status == 200, (status, text)
            return json.loads(text)
        await self._web_socket.send_str(json.dumps(message))
        while True:
            answer = await self._read()
            if "C" not in answer and answer:
                return answer
            self._take(answer)

    async def send(self, text: str) -> None:
        """Send any text, and wait for no answer."""
        if self._web_socket is None:
            await self.get("send", "POST", data=text)
        else:
            await self._web_socket.send_str(text)

    # The transport

    async def open(self, command: str, **more: str) -> None:
        """Open the transport with `/connect` or `/reconnect`, with the last cursor and groups token."""
        if command != "connect":
            more = {"messageId": self.cursor, "groupsToken": self.groups_token} | more
        url, query, headers = self.request(command, **{name: value for name, value in more.items() if value})
        if self.transport is Transport.WEBSOCKETS:
            self._web_socket = await self.session.ws_connect(url, params=query, headers=headers)
            return
        method = "POST" if self.transport is Transport.LONG_POLLING else "GET"
        self._response = await self.session.request(method, url, params=query, headers=headers)
        if self._response.status != 200:
            raise AssertionError((self._response.status, await self._response.text()))

    async def reconnect(self, **more: str) -> None:
        """Leave the old transport, and open another one with `/reconnect`."""
        await self.drop()
        await self.open("reconnect", **more)

    async def drop(self) -> None:
        """Close the TCP connection of the transport."""
        web_socket, self._web_socket = self._web_socket, None
        response, self._response = self._response, None
        if web_socket is not None:
            await web_socket.close()
        if response is not None:
            response.close()

    async def envelope(self) -> dict[str, Any]:
        """Return the next envelope that is no sign of life. Its messages also go to `next`."""
        while not (envelope := await self._read()):
            pass
        self._take(envelope)
        return envelope

    async def next(self, count: int = 1) -> list[Any]:
        """Return the next messages."""
        while len(self._messages) < count:
            await self.envelope()
        taken, self._messages = self._messages[:count], self._messages[count:]
        return taken

    async def events(self, count: int = 1) -> list[tuple[Any, ...]]:
        """Return the next events, each as its name and its arguments."""
        return [(message["M"], *message["A"]) for message in await self.next(count)]

    def _take(self, envelope: dict[str, Any]) -> None:
        self.cursor = envelope.get("C", self.cursor)
        self.groups_token = envelope.get("G", self.groups_token)
        self.inits += envelope.get("S", 0)
        self._messages += envelope.get("M", ())

    async def _read(self) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT):
            match self.transport:
                case Transport.WEBSOCKETS:
                    text = await self._read_web_socket()
                case Transport.SERVER_SENT_EVENTS:
                    text = await self._read_event()
                case _:
                    text = await self._read_poll()
        found: dict[str, Any] = json.loads(text)
        return found

    async def _read_web_socket(self) -> str:
        assert self._web_socket is not None
        message = await self._web_socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise TransportEndedError(message.data if message.type is aiohttp.WSMsgType.CLOSE else None)
        text: str = message.data
        return text

    async def _read_event(self) -> str:
        assert self._response is not None
        while True:
            line = (await self._response.content.readline()).decode()
            if not line:
                raise TransportEndedError
            if line.startswith("data: {"):
                return line.removeprefix("data: ")

    async def _read_poll(self) -> str:
        if self._response is None:
            await self.open("poll")
        assert self._response is not None
        response, self._response = self._response, None
        text = await response.text()
        if not text.strip():
            raise TransportEndedError
        return text


def wire(
    server: ClassicHubServer, transport: Transport, *hubs: str, user: str | None = None, path: str | None = None
) -> ClassicWire:
    """Return a client of a server."""
    return ClassicWire(server.url(path), transport, *hubs, user=user)
