"""`Outbox` for programs without asyncio: it runs the asyncio `Outbox` on the event loop's thread."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from .._guard.copying import Uncopied
from ..delivery.entry import Entry, OutboxLimits, OutboxStats
from ..delivery.outbox import NO_BATCHES
from ..delivery.outbox import Outbox as AsyncOutbox
from .daemon_threads import run_on_thread
from .hub_connection import asyncio_hub
from .loop_use import LoopUse
from .plain_functions import as_error, plain, result_of
from .twins import twin_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ..delivery.stores import OutboxStore
    from ..interfaces import RetryPolicy
    from .async_hub import AsyncHub
    from .hub_connection import HubConnection

H = TypeVar("H", bound=Callable[..., object])

_log = logging.getLogger("signalr_sdk.delivery")


class _ThreadOutbox(AsyncOutbox):
    """The asyncio outbox, which calls handlers on a thread, and says when it is over."""

    def __init__(self, store: str | os.PathLike[str] | OutboxStore, hub: AsyncHub | None, **options: Any) -> None:
        super().__init__(store, hub, **options)
        self._thread_hub = hub

    async def _call_handlers(self, handlers: tuple[Callable[..., object], ...], whose: str, *args: object) -> None:
        def call_all() -> None:
            for handler in handlers:
                try:
                    result_of(handler(*args))
                except BaseException as raised:  # noqa: BLE001 - users' code may raise anything
                    _log.error("%s failed", whose, exc_info=as_error(raised))

        if not handlers:
            return
        if self._thread_hub is None:
            await run_on_thread(call_all, "outbox handler")
        else:
            # `stop` sees by the context whether a handler calls it.
            await self._thread_hub.run_handler(partial(contextvars.copy_context().run, call_all))

    async def wait_over(self) -> None:
        """Return when `stop()` was called."""
        await self._over.wait()


@twin_of(AsyncOutbox)
class Outbox(Uncopied):
    """A queue on disk in front of the calls of a hub, for programs without asyncio.

    Works like `signalr_sdk.delivery.Outbox`, without `await`. Many threads may put at the same time. Ctrl-C interrupts
    a method that waits; an entry whose `put` was interrupted may have been put. Handlers are plain functions, and are
    called on the thread of the connection's handlers.

    An outbox never starts or stops its hub. The outbox delivers while the hub is connected, and otherwise waits, also
    if the connection has ended for good (`reconnect=Retry.forever()` keeps it from that). On each connection, the
    `on_connected` handlers that were registered before the outbox was started come first.

    If the answer to a call is lost, the call is made again, with the same id. A hub method that remembers ids makes
    that exactly once.

    Args:
        store: the path of a file, or an `OutboxStore`.
        hub: the hub to call. Without a hub, the outbox only puts, and another process delivers.
        retry: asked after a `HubError` and an `InvocationTimeoutError`. `attempt` is 0 after the first failure, and
            `elapsed` counts from that failure. `None` from the policy gives the entry up: it is dead then. By default
            10 attempts, with random delays that grow up to 60 s.
        timeout: seconds for each call; `None` for no limit.
        lanes: how many keys at most have a call under way at the same time.
        batch: hub methods that take one list, each with the most entries in one call. An entry's item in the list is
            its argument, or the list of its arguments if it has not exactly one.
        limits: the bounds, see `OutboxLimits`.
        overflow: at a bound, `"refuse"` makes `put` raise `OutboxFullError`; `"drop_oldest"` drops dead entries, then
            the oldest ones.
        close: how many seconds `stop()` waits for calls under way.

    Raises:
        ValueError: an argument is invalid.

    Example:
        ```python
        with Outbox("meter.db", hub) as outbox, hub:
            outbox.put("Store", ID, "kitchen", 20.5, key="kitchen")
        ```
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | OutboxStore,
        hub: HubConnection | None = None,
        *,
        retry: RetryPolicy | None = None,
        timeout: float | None = 60.0,
        lanes: int = 1,
        batch: Mapping[str, int] = NO_BATCHES,
        limits: OutboxLimits = OutboxLimits(),  # noqa: B008 - immutable
        overflow: Literal["refuse", "drop_oldest"] = "refuse",
        close: float = 5.0,
    ) -> None:
        self._outbox = _ThreadOutbox(
            store,
            None if hub is None else asyncio_hub(hub),
            retry=retry,
            timeout=timeout,
            lanes=lanes,
            batch=batch,
            limits=limits,
            overflow=overflow,
            close=close,
        )
        self._loop_use = LoopUse()

    def __repr__(self) -> str:
        return f"<signalr_sdk.sync.Outbox {repr(self._outbox).partition(' ')[2]}"

    @property
    def store(self) -> OutboxStore:
        return self._outbox.store

    # Starting and stopping

    def start(self) -> None:
        self._loop_use.call(self._start)

    async def _start(self) -> None:
        await self._outbox.start()
        self._loop_use.keep_loop_for(self._outbox.wait_over(), self._outbox.stop)

    def stop(self) -> None:
        self._loop_use.call(self._stop)

    async def _stop(self) -> None:
        await self._outbox.stop()

    def run(self) -> None:
        """Start the outbox, and return when `stop()` was called on another thread. Ctrl-C stops the outbox.

        Raises:
            StoreError: the store cannot be opened.
        """
        with self:
            self._loop_use.call(self._outbox.wait_over)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    # Putting

    def put(
        self,
        method: str,
        *args: Any,
        key: str | None = None,
        id: str | None = None,
        expires: float | None = None,
    ) -> str:
        """Put a call into the outbox. When `put` returns, the call is on the disk.

        Puts of several threads at the same time share a sync of the disk. If Ctrl-C interrupts `put`, the call may have
        been put.

        Args:
            method: the name of the hub method.
            args: the arguments, without streams. `ID`, at any depth, stands for the id. They are kept as they are now:
                what is changed later changes nothing.
            key: calls with the same key are made one after another, each after the answer to the one before. `None` is
                a key too.
            id: an id of your own, up to 200 characters: the same call, put again with the same id, is put once. The id
                is remembered for `OutboxLimits.remember` seconds after the delivery.
            expires: seconds after which the call is dropped instead of made; `OutboxLimits.age` by default.

        Returns:
            The id of the entry.

        Raises:
            OutboxFullError: a bound of `OutboxLimits` is reached.
            StoreError: the disk is full, or the store failed. Nothing of the call is kept.
            LocalProtocolError: an argument cannot be kept, or the call is larger than `OutboxLimits.entry_bytes`.
            ValueError: the id was used for another call.
            StateError: the outbox is not started, or belongs to another process.
        """
        return self._loop_use.call(self._outbox.put, method, *args, key=key, id=id, expires=expires)

    # Handlers

    def on_dead(self, handler: H) -> H:
        """Register `handler(entry)`, called after an entry was given up. Returns the handler.

        The handler is a plain function. What it raises is logged.
        """
        return self._outbox.on_dead(plain(handler, "a handler"))

    def on_delivered(self, handler: H) -> H:
        """Register `handler(entry, result)`, called after a delivery, with the result of the call or of its batch.

        The handler is a plain function. What it raises is logged.
        """
        return self._outbox.on_delivered(plain(handler, "a handler"))

    # Looking into the outbox

    def entries(self, *, dead: bool | None = None, limit: int = 100, after: Entry | None = None) -> list[Entry]:
        return self._loop_use.call(self._outbox.entries, dead=dead, limit=limit, after=after)

    def retry(self, *ids: str) -> int:
        return self._loop_use.call(self._outbox.retry, *ids)

    def drop(self, *ids: str, all_dead: bool = False) -> int:
        return self._loop_use.call(self._outbox.drop, *ids, all_dead=all_dead)

    def stats(self) -> OutboxStats:
        return self._loop_use.call(self._outbox.stats)

    def drain(self, timeout: float | None = None) -> None:
        self._loop_use.call(self._outbox.drain, timeout)
