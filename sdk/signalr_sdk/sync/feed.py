"""`Feed` for programs without asyncio: it runs the asyncio `Feed` on the event loop's thread."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from .._guard.copying import Uncopied
from ..delivery.feed import Feed as AsyncFeed
from .daemon_threads import Worker
from .hub_connection import asyncio_hub
from .loop_use import LoopUse
from .twins import twin_of

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator

    from ..delivery.entry import Position
    from ..delivery.stores import CursorStore
    from .hub_connection import HubConnection

T = TypeVar("T")

# The items that a thread fetches from `catch_up` at once.
_ITEMS = 64


@twin_of(AsyncFeed)
class Feed(Uncopied, Generic[T]):
    """Numbered events of a hub as an iterator, for programs without asyncio: each number once, in order, without gaps.

    Works like `signalr_sdk.delivery.Feed`, without `await`. `catch_up` is called on a thread, and may call the hub.
    `number` and `epoch` are called on the event loop's thread, and must not block. Ctrl-C interrupts a wait for the
    next item, and loses nothing. Let one thread read a feed.

    Args:
        hub: the hub connection, which the feed never starts or stops.
        event: the name of the event.
        number: returns the number of an item. Numbers rise by one.
        catch_up: returns the items behind a `Position`: any iterable, such as `hub.stream(...)` or the list of
            `hub.invoke(...)`. A failure is logged, and tried again with growing delays.
        epoch: returns which series of numbers an item belongs to. `catch_up` gets the epoch in its `Position`, and
            returns everything from the beginning if the hub has another epoch by now.
        store: keeps the position: a path, a `SqliteStore` (also the one of an outbox), or a `CursorStore`; `None`: this
            object, so that the position is not kept over a restart of the program.
        name: tells apart several feeds in one store; by default the name of the event.
        start: where to begin without a kept position: behind this number or `Position` (0: with all there is); `None`:
            with the first event that comes.
        buffer: the most items that wait to be read. Others are let go, and fetched again.
        gap_timeout: seconds before missing numbers are given up.
        check_every: how often to look for events that were lost in silence, in seconds; `None`: never.
        on_gap: what to do when numbers are given up: `"raise"` a `FeedGapError` in their place, or `"continue"` with a
            warning in the log.
        on_reset: the same for a new series of numbers, with a `FeedResetError`.
        auto_ack: asking for the next item acknowledges the one before. With `False`, call `ack()`.

    Raises:
        ValueError: an argument is invalid.

    Example:
        ```python
        with Feed(hub, "Trade", number=lambda trade: trade["n"], start=0, store="trades.db",
                  catch_up=lambda at: hub.stream("TradesSince", at.number)) as trades:
            for trade in trades:
                process(trade)
        ```
    """

    def __init__(
        self,
        hub: HubConnection,
        event: str,
        *,
        number: Callable[[T], int],
        catch_up: Callable[[Position], Iterable[T]],
        epoch: Callable[[T], str | int] | None = None,
        store: str | os.PathLike[str] | CursorStore | None = None,
        name: str | None = None,
        start: int | Position | None = None,
        buffer: int = 1024,
        gap_timeout: float = 30.0,
        check_every: float | None = None,
        on_gap: Literal["raise", "continue"] = "raise",
        on_reset: Literal["raise", "continue"] = "raise",
        auto_ack: bool = True,
    ) -> None:
        self._feed: AsyncFeed[T] = AsyncFeed(
            asyncio_hub(hub),
            event,
            number=number,
            catch_up=lambda at: _on_thread(catch_up, at),
            epoch=epoch,
            store=store,
            name=name,
            start=start,
            buffer=buffer,
            gap_timeout=gap_timeout,
            check_every=check_every,
            on_gap=on_gap,
            on_reset=on_reset,
            auto_ack=auto_ack,
        )
        self._loop_use = LoopUse()
        self._over: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<signalr_sdk.sync.{repr(self._feed)[1:]}"

    @property
    def position(self) -> Position | None:
        return self._feed.position

    def __enter__(self) -> Self:
        self._loop_use.call(self._enter)
        return self

    async def _enter(self) -> None:
        await self._feed.__aenter__()
        self._over = asyncio.Event()
        self._loop_use.keep_loop_for(self._over.wait(), self._leave)

    def __exit__(self, *_exception: object) -> None:
        self._loop_use.call(self._leave)

    async def _leave(self) -> None:
        over, self._over = self._over, None
        if over is not None:
            try:
                await self._feed.__aexit__(None, None, None)
            finally:
                over.set()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Return the next item. With `auto_ack`, acknowledge the item before.

        Raises:
            FeedGapError: numbers were given up. The iteration can go on behind them.
            FeedResetError: the numbers begin anew. The iteration can go on with the new series.
            StateError: the feed is not entered.
        """
        return self._loop_use.call_next(self._feed.__anext__)

    def ack(self) -> None:
        self._loop_use.call(self._feed.ack)


async def _on_thread(catch_up: Callable[[Position], Iterable[T]], at: Position) -> AsyncGenerator[T, None]:
    """Call the user's function and iterate over its answer, on a thread."""
    worker = Worker("catch_up")
    opened: list[Any] = []

    def fetch() -> list[T]:
        if not opened:
            answer = catch_up(at)
            opened.extend((iter(answer), answer))
        return list(itertools.islice(opened[0], _ITEMS))

    def close() -> None:
        for name in ("cancel", "close"):
            if opened and hasattr(opened[1], name):
                getattr(opened[1], name)()
                return

    try:
        while items := await worker.run(fetch):
            for item in items:
                yield item
    finally:
        try:
            await worker.run(close)
        finally:
            worker.end()
