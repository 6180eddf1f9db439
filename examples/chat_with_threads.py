"""A chat in the terminal without asyncio: each line that you type goes to everybody, and what anybody says is printed.

    python examples/chat_with_threads.py https://example.com/chat

It wants a hub with a method `SendToAll(event, text)` that sends the event on to all its clients. End it with Ctrl-D or
Ctrl-C.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from signalr_sdk.sync import HubConnection


def main(url: str) -> None:
    """Chat until the input ends."""
    hub = HubConnection(url)

    @hub.on("chat")
    def show(text: str) -> None:
        # On a thread of the connection: it prints while the main thread waits for the next line.
        print(f"< {text}")

    @hub.on_reconnecting
    def tell(error: Exception) -> None:
        print(f"connection lost, trying again: {error}", file=sys.stderr)

    with hub, suppress(KeyboardInterrupt):
        print(f"connected over {hub.transport}")
        for line in sys.stdin:
            hub.send("SendToAll", "chat", line.rstrip("\n"))
        # The answer to a call comes after what was sent before it, so the last line has come back by now.
        hub.invoke("Echo", None)


if __name__ == "__main__":
    main(sys.argv[1])
