"""A chat in the terminal: each line that you type goes to everybody, and what anybody says is printed.

    python examples/chat.py https://example.com/chat

It wants a hub with a method `SendToAll(event, text)` that sends the event on to all its clients. End it with Ctrl-D.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from signalr_sdk import HubConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def typed_lines() -> AsyncIterator[str]:
    """Yield what is typed, without blocking the event loop."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.rstrip("\n")


async def main(url: str) -> None:
    """Chat until the input ends."""
    hub = HubConnection(url)

    @hub.on("chat")
    def show(text: str) -> None:
        print(f"< {text}")

    @hub.on_reconnecting
    def tell(error: Exception) -> None:
        print(f"connection lost, trying again: {error}", file=sys.stderr)

    async with hub:
        print(f"connected over {hub.transport}")
        async for line in typed_lines():
            await hub.send("SendToAll", "chat", line)
        # The answer to a call comes after what was sent before it, so the last line has come back by now.
        await hub.invoke("Echo", None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
