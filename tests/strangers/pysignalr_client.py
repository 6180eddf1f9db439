"""pysignalr against a hub server. Prints one JSON object a line, with a name and either a value or an error.

It has only WebSockets, negotiates version 0, and gets no result of a call with an upload.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from pysignalr.client import SignalRClient
from pysignalr.protocol.json import JSONProtocol
from pysignalr.protocol.messagepack import MessagepackProtocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pysignalr.messages import CompletionMessage

LIMIT = 20.0  # seconds for one check on a slow machine: the others still run when one hangs


def say(name: str, **outcome: Any) -> None:
    sys.stdout.write(json.dumps({"name": name, **outcome}) + "\n")
    sys.stdout.flush()


async def check(name: str, work: Awaitable[Any]) -> None:
    try:
        say(name, value=await asyncio.wait_for(work, LIMIT))
    except Exception as error:  # noqa: BLE001 - whatever it was is printed, and the test judges it
        say(name, error=str(error) or type(error).__name__)


class Stranger:
    """A connection of pysignalr whose calls can be awaited."""

    def __init__(self, url: str, protocol: str) -> None:
        self.opened = asyncio.Event()
        self._client = SignalRClient(url, MessagepackProtocol() if protocol == "messagepack" else JSONProtocol())
        self._client.on_open(self._on_open)
        self._client.on_error(self._on_error)
        self.on = self._client.on
        self.run = self._client.run

    async def _on_open(self) -> None:
        self.opened.set()

    async def _on_error(self, _message: CompletionMessage) -> None:
        """Errors of calls come to their own callbacks too; without this one they end the connection."""

    async def invoke(self, method: str, *arguments: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def receive(message: Any) -> None:
            if message.error:
                answer.set_exception(RuntimeError(message.error))
            else:
                answer.set_result(message.result)

        await self._client.send(method, list(arguments), on_invocation=receive)
        return await answer

    async def send(self, method: str, *arguments: Any) -> None:
        await self._client.send(method, list(arguments))

    async def stream(self, method: str, *arguments: Any) -> list[Any]:
        items: list[Any] = []
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        async def take(item: Any) -> None:
            items.append(item)

        async def complete(_message: Any) -> None:
            done.set_result(items)

        async def fail(message: CompletionMessage) -> None:
            done.set_exception(RuntimeError(f"after {items}: {message.error}"))

        await self._client.stream(method, list(arguments), on_next=take, on_complete=complete, on_error=fail)
        return await done

    async def upload(self, method: str, *items: Any) -> None:
        async with self._client.client_stream(method) as stream:
            for item in items:
                await stream.send(item)

    def next(self, event: str) -> asyncio.Future[Any]:
        arguments: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def take(values: Any) -> None:
            if not arguments.done():
                arguments.set_result(values)

        self.on(event, take)
        return arguments


async def big_string(hub: Stranger) -> int:
    return len(await hub.invoke("BigString", 300_000))


async def calls(hub: Stranger) -> None:
    await check("Add", hub.invoke("Add", 1, 2))
    await check("Echo", hub.invoke("Echo", {"a": [1, None, "x", 1.5]}))
    await check("Nothing", hub.invoke("Nothing"))
    await check("Length", hub.invoke("Length", "é" * 100_000))
    await check("BigString", big_string(hub))
    await check("ThrowHubException", hub.invoke("ThrowHubException", "boom"))
    await check("Missing", hub.invoke("Missing"))
    await check("send", hub.send("Record", "sent"))


async def streams(hub: Stranger) -> None:
    await check("stream Counter", hub.stream("Counter", 4, 0))
    await check("stream CounterThenThrow", hub.stream("CounterThenThrow", 3, "oops"))
    await check("upload", hub.upload("RecordAll", "a", "b"))


async def events(hub: Stranger) -> None:
    async def call_me() -> Any:
        event = hub.next("Event")
        await hub.invoke("CallMe", "Event", [1, "a", None])
        return await event

    async def group() -> Any:
        event = hub.next("Group")
        await hub.invoke("JoinGroup", "strangers")
        await hub.invoke("SendToGroup", "strangers", "Group", {"n": 1})
        return await event

    async def flood() -> Any:
        numbers: list[int] = []
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def take(values: Any) -> None:
            numbers.append(values[0])
            if len(numbers) == 1000:
                done.set_result(numbers == list(range(1000)))

        hub.on("Flood", take)
        await hub.send("Flood", "Flood", 1000, 10)
        return await done

    await check("CallMe", call_me())
    await check("group", group())
    await check("Flood, in order", flood())


async def client_results(hub: Stranger) -> None:
    # pysignalr reads nothing while a callback runs, so what a callback answers it has at hand.
    async def answer(values: Any) -> Any:
        return f"{values[0]}!"

    async def refuse(_values: Any) -> Any:
        raise ValueError("no")

    hub.on("Ask", answer)
    hub.on("Refuse", refuse)
    await check("AskCaller", hub.invoke("AskCaller", "Ask", "hi"))
    await check("AskCaller, throwing", hub.invoke("AskCaller", "Refuse", "hi"))
    await check("AskCaller, without a handler", hub.invoke("AskCaller", "Nobody", "hi"))


PARTS: tuple[Callable[[Stranger], Awaitable[None]], ...] = (calls, streams, events, client_results)


async def main() -> None:
    hub = Stranger(sys.argv[1], sys.argv[2])
    running = asyncio.create_task(hub.run())
    opened = asyncio.create_task(hub.opened.wait())
    await asyncio.wait([running, opened], timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    say("connection", value=await hub.invoke("ConnectionId"))
    for part in PARTS:
        await part(hub)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(main())
