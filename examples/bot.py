"""A bot that never dies: it comes back after every loss, is set up again, raises the alarm, stops on SIGTERM.

    python examples/bot.py https://example.com/chat

It wants a hub with the methods `JoinGroup(group)` and `SendToGroup(group, event, value)`, and for the rehearsal at the
end `AbortMe()`. Without the rehearsal it runs until it gets SIGTERM, as from `systemctl stop`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from signalr_sdk import ConnectionClosedError, HubConnection, Retry, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalr_sdk import RetryContext

QUESTIONS = 100  # that wait at most; more are held back at the hub


class AlertAfter:
    """A policy without any end, which raises the alarm once when so many attempts in a row have failed."""

    def __init__(self, failures: int, alert: Callable[[Exception | None], None]) -> None:
        self._failures = failures
        self._alert = alert
        self._policy = Retry.forever()

    def next_delay(self, context: RetryContext, /) -> float | None:
        """Return the seconds until the next attempt."""
        if context.attempt == self._failures:
            self._alert(context.error)
        return self._policy.next_delay(context)


class Bot:
    """Answers what it is asked in its group."""

    def __init__(self, url: str) -> None:
        policy = AlertAfter(5, lambda error: print(f"ALERT: five attempts have failed: {error}", file=sys.stderr))
        # An answer waits until the hub is back, however long that takes.
        self.hub = HubConnection(url, reconnect=policy, retry_start=policy, timeouts=Timeouts(ready=None))
        self._questions: asyncio.Queue[str] = asyncio.Queue(QUESTIONS)
        self.hub.on("Ask", self._questions.put)  # waits while the queue is full, and so in the end does the hub
        self.hub.on_setup(self._join)
        self.hub.on_error(lambda error: print(f"error: {error}", file=sys.stderr))

    async def _join(self, _connection_id: str | None) -> None:
        # For each connection, before it counts as up: the hub has forgotten the groups of the one before.
        await self.hub.invoke("JoinGroup", "bots")

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.hub.run())
            tasks.create_task(self._answer())

    async def _answer(self) -> None:
        while True:
            question = await self._questions.get()
            answer = f"{question}? Let me think about it."
            while True:
                try:
                    await self.hub.invoke("SendToGroup", "people", "Answer", answer)
                    break
                except ConnectionClosedError:
                    # It may have been sent, and will then be heard twice: for an answer better than not at all.
                    continue


async def rehearse(bot: Bot, url: str) -> None:
    """Ask the bot, have the hub throw it out, ask again, and end the process as the system would."""
    back = asyncio.Event()
    bot.hub.on_reconnected(lambda _connection_id: back.set())
    async with HubConnection(url) as person:
        answers = person.messages("Answer")
        await person.invoke("JoinGroup", "people")
        await bot.hub.wait_connected()
        await person.invoke("SendToGroup", "bots", "Ask", "Where are you")
        print((await answers.next(timeout=20))[0])
        await bot.hub.send("AbortMe")
        await back.wait()
        await person.invoke("SendToGroup", "bots", "Ask", "Still alive")
        print((await answers.next(timeout=20))[0])
    signal.raise_signal(signal.SIGTERM)


async def main(url: str) -> None:
    """Run the bot until SIGTERM."""
    bot = Bot(url)
    running = asyncio.create_task(bot.run())
    with suppress(NotImplementedError):  # Windows
        # Cancelled, it says good-bye to the hub and leaves nothing open.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    rehearsal = asyncio.create_task(rehearse(bot, url))
    with suppress(asyncio.CancelledError):
        await running
    await rehearsal
    print("stopped")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
