"""A WebSocket client that sends exactly what a test gives it, with the JSON protocol."""

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
    """A WebSocket that is open within its `async with`.

    Args:
        url: URL of the hub; there is no negotiation.
        handshake: sent first; nothing is sent for `None`.
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
        """Send each text in a frame of its own."""
        for text in texts:
            if isinstance(text, str):
                await self.socket.send_str(text)
            else:
                await self.socket.send_bytes(text)

    async def hear(self) -> str | None:
        """Return the next record without its separator; `None` when the WebSocket is closed."""
        while not self._records:
            message = await self.socket.receive(5)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.code = self.socket.close_code
                return None
            text = message.data if isinstance(message.data, str) else message.data.decode()
            *self._records, self._pending = (self._pending + text).split(END)
        return self._records.pop(0)

    async def hear_all(self) -> list[str]:
        """Return all records until the WebSocket is closed."""
        heard = []
        while (record := await self.hear()) is not None:
            heard.append(record)
        return heard

    async def hears(self, records: Iterable[str]) -> None:
        """Assert that exactly these records come next; `None` stands for the close."""
        wanted = list(records)
        assert [await self.hear() for _ in wanted] == wanted

    async def messages(self) -> list[dict[str, Any]]:
        """Return the decoded messages up to a completion or the close."""
        heard: list[dict[str, Any]] = []
        while (record := await self.hear()) is not None:
            heard.append(json.loads(record))
            if heard[-1].get("type") == 3:
                break
        return heard


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition is true.

    Raises:
        TimeoutError: the condition is not true within 5 s.
    """
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # conditions of any kind
            await asyncio.sleep(0)
