"""A bot under an eager task factory, with which tasks begin to run inside of `create_task` (Python 3.12 or later).

    python examples/eager_bot.py https://example.com/chat

It wants a hub with the methods `JoinGroup(group)` and `SendToGroup(group, event, value)`. The proxy belongs to the
rehearsal.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

from signalr_sdk import HubConnection, Retry
from signalr_sdk.testing import FaultProxy


class Bot:
    """Answers what it is asked, each question in a task of its own."""

    def __init__(self, url: str, tasks: asyncio.TaskGroup) -> None:
        self.hub = HubConnection(url, reconnect=Retry.forever(), retry_start=True)
        self.hub.on("Ask", lambda question: tasks.create_task(self._answer(question)))
        self.hub.on_setup(lambda _connection_id: self.hub.invoke("JoinGroup", "bots"))

    async def _answer(self, question: str) -> None:
        await self.hub.send("SendToGroup", "people", "Answer", f"{question}? Let me think about it.")


async def main(url: str) -> None:
    """Ask the bot, lose the line, ask again."""
    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    there = urlsplit(url)
    async with (
        FaultProxy(there.port or 80, there.hostname or "") as proxy,
        HubConnection(url) as person,
        asyncio.TaskGroup() as tasks,
    ):
        bot, back = Bot(proxy.url(there.path), tasks), asyncio.Event()
        bot.hub.on_reconnected(lambda _connection_id: back.set())
        running = tasks.create_task(bot.hub.run())
        await person.invoke("JoinGroup", "people")
        await bot.hub.wait_connected()
        async with person.messages("Answer") as answers:
            await person.invoke("SendToGroup", "bots", "Ask", "Where are you")
            print((await answers.next(timeout=20))[0])
            proxy.cut()
            await back.wait()
            await person.invoke("SendToGroup", "bots", "Ask", "Still alive")
            print((await answers.next(timeout=20))[0])
        running.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
