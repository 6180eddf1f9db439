"""Other clients behind the few methods that `signalr bench` calls, so that all can be measured in the same way."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module
from inspect import isasyncgen
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgpack
import orjson

from signalr_sdk import HubConnection
from signalr_sdk.protocols.framing import BinaryFraming, frame_binary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_END = "\x1e"


class Raw:
    """aiohttp and orjson or msgpack, and nothing that a client is for: no bounds, no cancellation, no errors."""

    def __init__(self, url: str, protocol: str) -> None:
        self._url = url
        self._binary = protocol == "messagepack"
        self._protocol = protocol
        self._stack = AsyncExitStack()
        self._ids = map(str, itertools.count(1))
        self._calls: dict[str, asyncio.Future[Any]] = {}
        self._streams: dict[str, Callable[[Any], None]] = {}
        self._handlers: dict[str, Callable[..., None]] = {}
        self._framing = BinaryFraming(1 << 30)

    async def __aenter__(self) -> Self:
        session = await self._stack.enter_async_context(aiohttp.ClientSession())
        async with session.post(f"{self._url}/negotiate?negotiateVersion=1") as answer:
            token = (await answer.json())["connectionToken"]
        connecting = session.ws_connect(f"{self._url}?id={token}", max_msg_size=0)
        self._ws = await self._stack.enter_async_context(connecting)
        await self._ws.send_str(json.dumps({"protocol": self._protocol, "version": 1}) + _END)
        await self._ws.receive()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self._reading.cancel()

    async def _read(self) -> None:
        async for message in self._ws:
            if self._binary:
                frames = self._framing.feed(message.data)
                while self._framing.unread:
                    frames += self._framing.feed(b"")
                for frame in frames:
                    self._take_array(msgpack.unpackb(frame))
            else:
                for text in message.data.split(_END):
                    if text:
                        self._take_object(orjson.loads(text))

    def _take_object(self, members: dict[str, Any]) -> None:
        kind = members["type"]
        if kind == 1:
            self._handlers[members["target"]](*members["arguments"])
        elif kind == 2:
            self._streams[members["invocationId"]](members["item"])
        elif kind == 3:
            self._calls.pop(members["invocationId"]).set_result(members.get("result"))

    def _take_array(self, members: list[Any]) -> None:
        kind = members[0]
        if kind == 1:
            self._handlers[members[3]](*members[4])
        elif kind == 2:
            self._streams[members[2]](members[3])
        elif kind == 3:
            self._calls.pop(members[2]).set_result(members[4] if len(members) > 4 else None)

    async def _say(self, members: dict[str, Any], array: list[Any]) -> None:
        if self._binary:
            await self._ws.send_bytes(frame_binary(msgpack.packb(array)))
        else:
            await self._ws.send_str(orjson.dumps(members).decode() + _END)

    def on(self, event: str, handler: Callable[..., None]) -> None:
        self._handlers[event] = handler

    async def send(self, method: str, *args: Any) -> None:
        members = {"type": 1, "target": method, "arguments": args}
        await self._say(members, [1, {}, None, method, args, []])

    async def invoke(self, method: str, *args: Any) -> Any:
        name = next(self._ids)
        answer = self._calls[name] = asyncio.get_running_loop().create_future()
        given, uploads = ([*args[:-1]], args[-1:]) if args and isasyncgen(args[-1]) else ([*args], ())
        streams = [f"s{name}" for _ in uploads]
        members = {"type": 1, "invocationId": name, "target": method, "arguments": given, "streamIds": streams}
        await self._say(members, [1, {}, name, method, given, streams])
        for stream, items in zip(streams, uploads, strict=True):
            async for item in items:
                await self._say({"type": 2, "invocationId": stream, "item": item}, [2, {}, stream, item])
            await self._say({"type": 3, "invocationId": stream}, [3, {}, stream, 2])
        return await answer

    @asynccontextmanager
    async def stream(self, method: str, *args: Any) -> AsyncIterator[AsyncIterator[Any]]:
        name = next(self._ids)
        items: list[Any] = []
        self._streams[name] = items.append
        answer = self._calls[name] = asyncio.get_running_loop().create_future()
        members = {"type": 4, "invocationId": name, "target": method, "arguments": args}
        await self._say(members, [4, {}, name, method, args, []])
        await answer
        yield _each(items)


class Pysignalr:
    """https://pypi.org/project/pysignalr"""

    def __init__(self, url: str, protocol: str) -> None:
        chosen = None
        if protocol == "messagepack":
            chosen = import_module("pysignalr.protocol.messagepack").MessagepackProtocol()
        self._client: Any = import_module("pysignalr.client").SignalRClient(url, protocol=chosen, max_size=None)

    async def __aenter__(self) -> Self:
        opened = asyncio.Event()

        async def note_open() -> None:
            opened.set()

        self._client.on_open(note_open)
        self._running = asyncio.create_task(self._client.run())
        await asyncio.wait_for(opened.wait(), 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    def on(self, event: str, handler: Callable[..., None]) -> None:
        async def take(arguments: list[Any]) -> None:
            handler(*arguments)

        self._client.on(event, take)

    async def send(self, method: str, *args: Any) -> None:
        await self._client.send(method, list(args))

    async def invoke(self, method: str, *args: Any) -> Any:
        if args and isasyncgen(args[-1]):
            async with self._client.client_stream(method) as upload:
                async for item in args[-1]:
                    await upload.send(item)
            # It shows no result: with the answer to another call all has arrived.
            args, method = (1, 2), "Add"
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def take(message: Any) -> None:
            answer.set_result(message.result)

        await self._client.send(method, list(args), take)
        return await answer

    @asynccontextmanager
    async def stream(self, method: str, *args: Any) -> AsyncIterator[AsyncIterator[Any]]:
        items: list[Any] = []
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def take(item: Any) -> None:
            items.append(item)

        async def end(_message: Any) -> None:
            over.set_result(None)

        await self._client.stream(method, list(args), take, end)
        await over
        yield _each(items)


class Aiosignalr:
    """https://pypi.org/project/aiosignalr"""

    def __init__(self, url: str, protocol: str) -> None:
        self._url = url
        self._client: Any = import_module("aiosignalr.client").HubConnection(protocol=protocol)
        self.on = self._client.on
        self.send = self._client.send

    async def __aenter__(self) -> Self:
        await self._client.start(self._url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.stop()

    async def invoke(self, method: str, *args: Any) -> Any:
        if not (args and isasyncgen(args[-1])):
            return await self._client.invoke(method, *args)
        async with self._client.client_stream(method) as upload:
            async for item in args[-1]:
                await upload.send_item(item)
        return upload.result

    @asynccontextmanager
    async def stream(self, method: str, *args: Any) -> AsyncIterator[AsyncIterator[Any]]:
        yield await self._client.stream(method, *args)


async def _each(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def ours(url: str, protocol: Any) -> HubConnection:
    """Return this client."""
    return HubConnection(url, protocol=protocol, reconnect=False)


CLIENTS: dict[str, Callable[[str, str], Any]] = {
    "raw": Raw,
    "ours": ours,
    "pysignalr": Pysignalr,
    "aiosignalr": Aiosignalr,
}
