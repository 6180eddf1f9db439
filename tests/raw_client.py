"""A client that says exactly what it is told to, over a WebSocket and in JSON."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

END = "\x1e"
SHAKE_HANDS = '{"protocol":"json","version":1}' + END


def call(target: str, *arguments: Any, name: str | None = "1", type: int = 1, **more: Any) -> str:
    """Return the text of an invocation."""
    named = {} if name is None else {"invocationId": name}
    return json.dumps({"type": type, **named, "target": target, "arguments": list(arguments), **more}) + END


class RawClient:
    """A WebSocket, open while in its `async with`.

    Args:
        url: of the hub, negotiation is skipped.
        handshake: the first thing it says; with `None` nothing.
    """

    def __init__(self, url: str, handshake: str | None = SHAKE_HANDS) -> None:
        self._url = url
        self._handshake = handshake
        self._session = aiohttp.ClientSession()
        self._records: list[str] = []
        self._pending = ""
        self.code: int | None = None

    async def __aenter__(self) -> Self:
        try:
            self.socket = await self._session.ws_connect(self._url, max_msg_size=0)
            if self._handshake is not None:
                await self.say(self._handshake)
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()
        await self._session.close()

    async def say(self, *texts: str | bytes) -> None:
        """Send a frame for each."""
        for text in texts:
            if isinstance(text, str):
                await self.socket.send_str(text)
            else:
                await self.socket.send_bytes(text)

    async def hear(self) -> str | None:
        """Return the next record without its end, `None` at the close."""
        while not self._records:
            message = await self.socket.receive(5)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.code = self.socket.close_code
                return None
            text = message.data if isinstance(message.data, str) else message.data.decode()
            *self._records, self._pending = (self._pending + text).split(END)
        return self._records.pop(0)

    async def hear_all(self) -> list[str]:
        """Return all records until the close."""
        heard = []
        while (record := await self.hear()) is not None:
            heard.append(record)
        return heard

    async def hears(self, records: Iterable[str]) -> None:
        """Assert that exactly these come next, and `None` for the close."""
        wanted = list(records)
        assert [await self.hear() for _ in wanted] == wanted

    async def messages(self) -> list[dict[str, Any]]:
        """Return what is said until a completion or the close, decoded."""
        heard: list[dict[str, Any]] = []
        while (record := await self.hear()) is not None:
            heard.append(json.loads(record))
            if heard[-1].get("type") == 3:
                break
        return heard


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds.

    Raises:
        TimeoutError: it does not.
    """
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # conditions of any kind
            await asyncio.sleep(0)
