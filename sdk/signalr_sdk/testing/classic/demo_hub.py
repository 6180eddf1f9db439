"""The hub of `signalr serve --classic`: a chat, and a method for each kind of call."""

from __future__ import annotations

from ..hubs import HubException

# Import `Progress` at run time: the server evaluates the annotations of hub methods.
from .hubs import ClassicHub, Progress


class ClassicDemoHub(ClassicHub):
    """A chat with rooms, and a method for each kind of call: results, events, progress, state, errors."""

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

    async def count(self) -> int:
        """Count the calls in the member `count` of the caller's state, and return the number."""
        state = self.clients.caller.state
        state["count"] = state.get("count", 0) + 1
        return int(state["count"])

    async def work(self, steps: int, progress: Progress) -> str:
        """Report each step to the caller, beginning with 0."""
        for step in range(steps):
            progress(step)
        return "done"

    async def flood(self, event: str, count: int, size: int) -> None:
        """Send the caller `count` events. The arguments are a number (0, 1, 2, ...) and a text of `size` characters."""
        text = "x" * size
        for number in range(count):
            await self.clients.caller.send(event, number, text)

    async def fail(self, text: str) -> None:
        """Raise a `HubException` with this text: the client's call fails with the same text."""
        raise HubException(text)
