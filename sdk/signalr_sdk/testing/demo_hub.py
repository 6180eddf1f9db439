"""The hub of `signalr demo` and `signalr serve`: a chat, and a method for each kind of call."""

from __future__ import annotations

# Import `AsyncIterator` at run time: the server evaluates the annotations of hub methods.
from collections.abc import AsyncIterator

from .hubs import Hub, HubException


class DemoHub(Hub):
    """A chat with rooms, and a method for each kind of call: results, events, streams, client results, errors."""

    async def send_message(self, user: str, text: str) -> None:
        """Send the event `ReceiveMessage` to all clients."""
        await self.clients.all.send("ReceiveMessage", user, text)

    async def join_room(self, room: str) -> None:
        """Add the caller to a room. A member of a room gets the messages that are sent to the room."""
        await self.groups.add(self.context.connection_id, room)

    async def leave_room(self, room: str) -> None:
        """Remove the caller from a room: the caller gets no more messages that are sent to the room."""
        await self.groups.remove(self.context.connection_id, room)

    async def send_to_room(self, room: str, user: str, text: str) -> None:
        """Send the event `ReceiveMessage` to the clients in a room."""
        await self.clients.group(room).send("ReceiveMessage", user, text)

    async def add(self, a: int, b: int) -> int:
        """Return the sum of two numbers."""
        return a + b

    async def flood(self, event: str, count: int, size: int) -> None:
        """Send the caller `count` events. The arguments are a number (0, 1, 2, ...) and a text of `size` characters."""
        text = "x" * size
        for number in range(count):
            await self.clients.caller.send(event, number, text)

    async def counter(self, count: int) -> AsyncIterator[int]:
        """Stream `count` numbers, beginning with 0."""
        for number in range(count):
            yield number

    async def sum(self, numbers: AsyncIterator[int]) -> int:
        """Return the sum of the numbers that the client streams."""
        total = 0
        async for number in numbers:
            total += number
        return total

    async def greet(self) -> str:
        """Call the client's method `YourName`, and return a greeting with the result."""
        name = await self.clients.caller.invoke("YourName", result_type=str)
        return f"Hello, {name}!"

    async def fail(self, text: str) -> None:
        """Raise a `HubException` with this text: the client's call fails with the same text."""
        raise HubException(text)
