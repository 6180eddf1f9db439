"""Set-up handlers that go wrong, and what must hold: calls of others reach a connection only after its set-up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signalr_sdk import HubConnection

    from .wrongs import Chance

# The connection id, while a set-up handler runs, in its context. "" in a handler of a client result: such a handler may
# call the hub during a set-up.
_inside: ContextVar[str | None] = ContextVar("inside a set-up", default=None)


class SetUps:
    """The `on_setup` handlers of a connection, and the calls that reach the server meanwhile.

    Attributes:
        running: the connection ids whose set-up handlers are running, or have failed.
        done: the connection ids whose set-up handlers have all succeeded.
        broken: what does not hold.
        active: whether the connection has set-up handlers at all.
    """

    def __init__(self, chance: Chance, *, active: bool) -> None:
        self.running: set[str] = set()
        self.done: set[str] = set()
        self.broken: list[str] = []
        self.active = active
        self._chance = chance

    def whose(self) -> str:
        """Return the first argument of a call: who makes it, so that the server knows whether it may come already."""
        inside = _inside.get()
        return "anybody" if inside == "" else inside if inside in self.running else "others"

    def answering(self) -> None:
        """Note that the current task answers a question of the server."""
        _inside.set("")

    def called(self, connection_id: str, message: dict[str, Any]) -> None:
        """Check a call that has reached the server."""
        allowed = connection_id in self.done or not self.active
        if not allowed and not {"anybody", connection_id}.intersection(message["arguments"][:1]):
            self.broken.append(f"a call of others came before the set-up of {connection_id} had succeeded: {message}")

    # Handlers of the asyncio connection

    def register(self, hub: HubConnection) -> None:
        """Register the handlers. The last one only notes the success, and never fails."""

        async def talk(connection_id: str) -> None:
            self.begin(connection_id)
            await self._talk(hub)

        def go_wrong(_connection_id: str) -> Any:
            return self._chance.meddle_now("set-up")

        if self.active:
            hub.on_setup(talk)
            hub.on_setup(go_wrong)
            hub.on_setup(self.succeeded)

    def begin(self, connection_id: str) -> None:
        """Note that the handlers of a connection have begun."""
        if connection_id in self.done or connection_id in self.running:
            self.broken.append(f"{connection_id} was set up twice")
        self.running.add(connection_id)
        _inside.set(connection_id)

    def succeeded(self, connection_id: str) -> None:
        """Note that the handlers of a connection have succeeded."""
        self.running.discard(connection_id)
        self.done.add(connection_id)

    async def _talk(self, hub: HubConnection) -> None:
        chance = self._chance
        await chance.meddle("set-up")
        for what in chance.random.choices(["invoke", "send", "stream", "wait", "leave a task", "iterate"], k=2):
            match what:
                case "invoke":
                    await hub.invoke("Echo", self.whose())
                case "send":
                    await hub.send("Log", self.whose())
                case "stream":
                    async for _ in hub.stream("Count", self.whose()):
                        break
                case "wait":
                    with suppress(TimeoutError):
                        await hub.wait_for("tick", 0.1)
                case "leave a task":
                    chance.leave(self._outlive(hub))
                case _:
                    chance.leave(_iterate(hub))
        await chance.meddle("set-up")

    async def _outlive(self, hub: HubConnection) -> None:
        """Call the hub during the set-up, and after it like others."""
        for pause in (0.0, 0.5, 20.0):
            await asyncio.sleep(pause)
            await hub.invoke("Echo", self.whose(), timeout=30)


async def _iterate(hub: HubConnection) -> None:
    async for _event in hub.events("tick", "tock"):
        await asyncio.sleep(0)
