"""`Outbox`: a queue on disk in front of the calls of a hub."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, TypeVar

from .._guard.copying import Uncopied
from .._guard.foreign import cut_off
from .._guard.loops import check_loop, running_loop
from .._guard.tasks import spawn
from ..errors import LocalProtocolError, StateError
from .arguments import checked_count, checked_seconds
from .deliverer import DefaultRetry, Deliverer, DeliveryOptions, _log, call_handlers, public
from .entry import Entry, OutboxLimits, OutboxStats, StoredEntry, checked_id, checked_text
from .hub_gate import HubGate
from .ids import new_id
from .kept_values import encode_arguments
from .sqlite_store import SqliteStore

if TYPE_CHECKING:
    from .._hub.hub_connection import HubConnection
    from ..interfaces import RetryPolicy
    from .stores import OutboxStore

H = TypeVar("H", bound=Callable[..., object])
CallHandlers: TypeAlias = Callable[..., Awaitable[None]]

# `drain` looks this often, in seconds, whether entries are left.
_DRAIN_PAUSE = 0.5
_LAST_CHANCE = 0.2
# The outbox whose handler is the caller; nothing outside of a handler.
_callers: ContextVar[Sequence[_Handlers]] = ContextVar("signalr_sdk_outbox_handler", default=())
# The default of `batch`.
NO_BATCHES: Final[Mapping[str, int]] = MappingProxyType({})


class Outbox(Uncopied):
    """A queue on disk in front of the calls of a hub: at least once, in the order of `put` for each key.

    An outbox never starts or stops its hub. The outbox delivers while the hub is connected, and otherwise waits, also
    if the connection has ended for good (`reconnect=Retry.forever()` keeps it from that). On each connection, the
    `on_setup` handlers, and the `on_connected` handlers that were registered before the outbox was started, come first.

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
        hub = HubConnection("https://example.com/meters", retry_start=True, reconnect=Retry.forever())

        async with Outbox("meter.db", hub) as outbox, asyncio.TaskGroup() as tasks:
            tasks.create_task(hub.run())
            await outbox.put("Store", ID, "kitchen", 20.5, key="kitchen")
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
        self._store: OutboxStore = SqliteStore(store) if isinstance(store, str | os.PathLike) else store
        self._hub = hub
        if overflow not in ("refuse", "drop_oldest"):
            raise ValueError(f"overflow must be 'refuse' or 'drop_oldest', not {overflow!r}")
        self._overflow: Literal["refuse", "drop_oldest"] = overflow
        self._limits = limits
        self._close = checked_seconds("close", close)
        self._options = DeliveryOptions(
            retry=DefaultRetry() if retry is None else retry,
            timeout=None if timeout is None else checked_seconds("timeout", timeout),
            lanes=checked_count("lanes", lanes),
            batch={name: checked_count(f"batch[{name!r}]", most) for name, most in batch.items()},
            limits=limits,
        )
        self._handlers = _Handlers(self._call_handlers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._is_open = False
        self._gate: HubGate | None = None
        self._deliverer: Deliverer | None = None
        self._delivering: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        # After a `stop` in a handler: what waits for the handler.
        self._ending: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._store!r} {'started' if self._loop else 'stopped'}>"

    @property
    def store(self) -> OutboxStore:
        """The store."""
        return self._store

    # Starting and stopping

    async def start(self) -> None:
        """Open the store, and begin to deliver.

        Raises:
            StoreError: the store cannot be opened.
            StateError: the outbox is started already, or `stop()` was called meanwhile.
        """
        loop = running_loop()
        if self._loop is not None and self._pid == os.getpid() and not self._loop.is_closed():
            raise StateError("start() needs an outbox that is stopped, not a started one")
        self._loop, self._pid = loop, os.getpid()
        over = self._over = asyncio.Event()
        self._is_open = False
        try:
            await self._store.open()
        except BaseException:
            self._loop = None
            over.set()
            raise
        if self._loop is None:
            await self._end(None, None, over)
            raise StateError("stop() was called before the outbox was started")
        self._is_open = True
        if self._hub is not None:
            self._gate = HubGate(self._hub, self._note_open)
            self._deliverer = Deliverer(self._store, self._hub, self._gate, self._options, self._handlers)
            self._delivering = spawn(self._deliverer.run(), "outbox")

    async def stop(self) -> None:
        """Stop delivering. Waits up to `close` seconds for calls under way; entries without an answer stay.

        May be called any number of times. In a handler of the outbox, `stop` does not wait: the outbox ends when the
        handler has returned.
        """
        if self._loop is None:
            if self._ending is not None and not self._ending.done() and not self._handlers.has_called:
                await asyncio.wait({self._ending})
            return
        if self._pid != os.getpid() or self._loop.is_closed():
            self._loop = None
            return
        check_loop(self._loop)
        self._loop = None
        if not self._is_open:
            await self._over.wait()  # `start` opens the store now, and closes it again
            return
        deliverer, task, gate = self._deliverer, self._delivering, self._gate
        self._deliverer = self._delivering = self._gate = None
        if gate is not None:
            gate.end()
        ending = self._end(deliverer, task, self._over)
        if self._handlers.has_called:
            # The end waits for the handler, so the handler must not wait for the end.
            self._ending = spawn(ending, "end of an outbox")
        else:
            await ending

    async def _end(self, deliverer: Deliverer | None, task: asyncio.Task[None] | None, over: asyncio.Event) -> None:
        try:
            if deliverer is not None and task is not None:
                await self._end_delivering(deliverer, task)
        finally:
            try:
                await self._store.close()
            finally:
                over.set()

    async def _end_delivering(self, deliverer: Deliverer, task: asyncio.Task[None]) -> None:
        try:
            async with asyncio.timeout(self._close):
                await deliverer.finish()
        except TimeoutError:
            pass
        finally:
            await cut_off(task, _LAST_CHANCE, whose="an on_dead or on_delivered handler", log=_log)

    async def run(self) -> None:
        """Start the outbox, and return when `stop()` was called. Cancelling `run` stops the outbox.

        Raises:
            StoreError: the store cannot be opened.
        """
        async with self:
            await self._over.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    async def _call_handlers(self, handlers: tuple[Callable[..., object], ...], whose: str, *args: object) -> None:
        # A subclass in `signalr_sdk.sync` calls the handlers on a thread.
        await call_handlers(handlers, whose, *args)

    def _note_open(self) -> None:
        if self._deliverer is not None:
            self._deliverer.note_open()

    def _check_started(self) -> None:
        if self._pid != os.getpid() and self._pid:
            raise StateError("this outbox was started in the parent of this process: make another one in each process")
        if self._loop is None:
            raise StateError("the outbox is not started: use `async with`, or start()")
        check_loop(self._loop)

    # Putting

    async def put(
        self,
        method: str,
        *args: Any,
        key: str | None = None,
        id: str | None = None,
        expires: float | None = None,
    ) -> str:
        """Put a call into the outbox. When `put` returns, the call is on the disk.

        Puts at the same time keep the order of the calls, and share a sync of the disk. If `put` is cancelled, the call
        may have been put.

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
            StateError: the outbox is not started, or belongs to another process or event loop.
        """
        self._check_started()
        entry = self._entry(method, args, key, id, expires)
        await self._store.add(entry, entry.body, self._limits, self._overflow)
        return entry.id

    def _entry(
        self, method: str, args: tuple[Any, ...], key: str | None, own_id: str | None, expires: float | None
    ) -> StoredEntry:
        for name, value in (("method", method), ("key", key)):
            if value is not None or name == "method":
                if not isinstance(value, str):
                    raise TypeError(f"{name} must be a str, not {type(value).__name__}")
                checked_text(value, name)
        limits = self._limits
        body = encode_arguments(args)
        if len(body) > limits.entry_bytes:
            raise LocalProtocolError(
                f"the arguments of '{method}' take {len(body):,} bytes, more than limits.entry_bytes "
                f"({limits.entry_bytes:,})"
            )
        return StoredEntry(
            new_id() if own_id is None else checked_id(own_id),
            method,
            key,
            body,
            time.time(),
            limits.age if expires is None else checked_seconds("expires", expires),
            None if own_id is None else limits.remember,
        )

    # Handlers

    def on_dead(self, handler: H) -> H:
        """Register `handler(entry)`, called after an entry was given up. Returns the handler.

        The handler may be sync or async. What it raises is logged.
        """
        self._handlers.dead = (*self._handlers.dead, handler)
        return handler

    def on_delivered(self, handler: H) -> H:
        """Register `handler(entry, result)`, called after a delivery, with the result of the call or of its batch.

        The handler may be sync or async. What it raises is logged.
        """
        self._handlers.after_delivery = (*self._handlers.after_delivery, handler)
        return handler

    # Looking into the outbox

    async def entries(self, *, dead: bool | None = None, limit: int = 100, after: Entry | None = None) -> list[Entry]:
        """Return entries, oldest first.

        Args:
            dead: only dead ones (`True`), only waiting ones (`False`), or both.
            limit: the most entries.
            after: an entry: only those behind it are returned.
        """
        self._check_started()
        _ = checked_count("limit", limit)
        position = None if after is None else after.position
        return [public(each) for each in await self._store.entries(dead=dead, limit=limit, after=position)]

    async def retry(self, *ids: str) -> int:
        """Let dead entries wait again, at their old place and without attempts; all dead ones if no id is given.

        Returns:
            How many entries wait again.
        """
        self._check_started()
        count = await self._store.retry(ids)
        self._read_again()
        return count

    async def drop(self, *ids: str, all_dead: bool = False) -> int:
        """Remove entries, dead or waiting. A call that is under way may still arrive.

        Args:
            ids: the ids of the entries.
            all_dead: whether to remove all dead entries.

        Returns:
            How many entries were removed.
        """
        self._check_started()
        count = await self._store.drop(ids, all_dead)
        self._read_again()
        return count

    def _read_again(self) -> None:
        if self._deliverer is not None:
            self._deliverer.read_again()

    async def stats(self) -> OutboxStats:
        """Return the figures of the outbox."""
        self._check_started()
        return await self._store.stats()

    async def drain(self, timeout: float | None = None) -> None:
        """Return when no entry waits. Dead ones do not count.

        Args:
            timeout: seconds; `None` for no limit.

        Raises:
            TimeoutError: entries still wait.
            StateError: the outbox is not started, or was stopped meanwhile.
        """
        async with asyncio.timeout(timeout):
            while (await self.stats()).waiting:
                await self._store.changed(_DRAIN_PAUSE)


class _Handlers:
    """The user's handlers of one outbox.

    Args:
        call: calls the handlers.
    """

    def __init__(self, call: CallHandlers) -> None:
        self.dead: tuple[Callable[..., object], ...] = ()
        self.after_delivery: tuple[Callable[..., object], ...] = ()
        self._call = call

    @property
    def any_delivered(self) -> bool:
        return bool(self.after_delivery)

    async def delivered(self, entry: Entry, result: Any) -> None:
        await self._run(self.after_delivery, "an on_delivered handler", entry, result)

    async def died(self, entry: Entry) -> None:
        await self._run(self.dead, "an on_dead handler", entry)

    async def _run(self, handlers: tuple[Callable[..., object], ...], whose: str, *args: object) -> None:
        callers = [self]
        token = _callers.set(callers)
        try:
            await self._call(handlers, whose, *args)
        finally:
            callers.clear()  # a task that a handler has started may run longer
            _callers.reset(token)

    @property
    def has_called(self) -> bool:
        """Whether a running handler is the caller, directly or from a task or thread in its context."""
        return self in _callers.get()
