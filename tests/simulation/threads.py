"""`signalr_sdk.sync` on a simulated network: real threads, of which one runs at a time.

Threads and the event loop pass a baton. A thread keeps the baton until it waits for a lock or a queue. Then the event
loop goes on; in each of its turns, each thread whose wait is over has the baton once. So the order of all steps is the
same in each run, and the clock leaps only while all threads wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from collections import deque
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pytest

from signalr_sdk.sync import HubConnection, daemon_threads, doorbell, log_thread, loop_use, portal
from signalr_sdk.testing.simulated.loop import running_simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator

T = TypeVar("T")

_END: Any = object()


class Baton:
    """Lets the threads and the simulated event loop of the current thread run one at a time."""

    def __init__(self) -> None:
        loop = running_simulation()
        assert loop is not None
        self.loop = loop
        self._threads: list[BatonThread] = []
        self._back = threading.Semaphore(0)
        self._select = loop._leaping.select

    # The event loop

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Let `signalr_sdk.sync` use this event loop and threads with a baton while the block runs."""
        baton = self

        class Thread(BatonThread):
            def __init__(self, **options: Any) -> None:
                super().__init__(baton, options["target"], *options["args"])

        class Portal(LoopPortal):
            def __init__(self) -> None:
                super().__init__(baton)

        names = {"get_ident": threading.get_ident, "main_thread": threading.main_thread, "Event": threading.Event}
        replaced = SimpleNamespace(**names, Lock=lambda: Lock(baton), Thread=Thread)
        with pytest.MonkeyPatch.context() as patch:
            for module in (daemon_threads, doorbell, log_thread, loop_use):
                patch.setattr(module, "threading", replaced)
            for module in (daemon_threads, log_thread):
                patch.setattr(module, "SimpleQueue", lambda: Queue(baton))
            patch.setattr(portal, "Portal", Portal)
            patch.setattr(self.loop._leaping, "select", self._run_threads)
            try:
                yield
            finally:
                portal.process._current.clear()
                portal.process.portals.pop(threading.get_ident(), None)

    def _run_threads(self, timeout: float | None = None) -> Any:
        have_run = False
        for thread in [*self._threads]:
            if thread.may_run():
                have_run = True
                thread.go_on()
                self._back.acquire()
        return self._select(0 if have_run else timeout)

    async def call(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a function on a thread of its own; return its result. Cancelling the wait is Ctrl-C for the thread."""
        outcome: list[Callable[[], T]] = []
        ended = self.loop.create_future()

        def work() -> None:
            try:
                result = function(*args, **options)
            except BaseException as error:  # noqa: BLE001 - the caller gets the error
                outcome.append(lambda raised=error: _throw(raised))  # type: ignore[misc]
            else:
                outcome.append(lambda: result)

        # In the context of the caller, which may be a set-up handler.
        thread = BatonThread(self, contextvars.copy_context().run, work)
        thread.on_end = lambda: self.loop.call_soon_threadsafe(ended.set_result, None)
        thread.start()
        try:
            await asyncio.wait({ended})
        except asyncio.CancelledError:
            thread.interrupted = True
            await asyncio.wait({ended})
            raise
        return outcome[0]()

    # The threads

    def add(self, thread: BatonThread) -> None:
        """Let a new thread have the baton soon."""
        self._threads.append(thread)

    def remove(self, thread: BatonThread) -> None:
        """Note that a thread has ended, and take its baton back."""
        self._threads.remove(thread)
        self._back.release()

    def give_back(self) -> None:
        """Let the event loop go on."""
        self._back.release()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Block this thread until `ready` returns true.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """
        if not ready():
            thread = threading.current_thread()
            assert isinstance(thread, BatonThread), "the event loop's thread would wait for itself"
            thread.wait(ready)

    def run_on_loop(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await a coroutine on the event loop; block this thread until then."""
        tasks: list[asyncio.Task[T]] = []
        context = contextvars.copy_context()
        self.loop.call_soon_threadsafe(lambda: tasks.append(asyncio.create_task(work())), context=context)
        self.wait(lambda: bool(tasks) and tasks[0].done())
        return tasks[0].result()


class BatonThread(threading.Thread):
    """A thread that runs only while it has the baton.

    Attributes:
        interrupted: whether Ctrl-C has interrupted the wait of this thread.
        on_end: called at the end of this thread, on this thread.
    """

    def __init__(self, baton: Baton, target: Callable[..., object], *args: Any) -> None:
        super().__init__(daemon=True)
        self.interrupted = False
        self.on_end: Callable[[], object] = lambda: None
        self._baton = baton
        self._work = target, args
        self._may_go = threading.Semaphore(0)
        self._ready: Callable[[], bool] = lambda: True

    def start(self) -> None:
        """Start this thread; it waits for the baton."""
        self._baton.add(self)
        super().start()

    def run(self) -> None:
        """Do the work of this thread."""
        self._may_go.acquire()
        function, args = self._work
        try:
            function(*args)
            self.on_end()
        finally:
            self._baton.remove(self)

    def wait(self, ready: Callable[[], bool]) -> None:
        """Give the baton back, and take it again when `ready` returns true."""
        self._ready = ready
        self._baton.give_back()
        self._may_go.acquire()
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt

    # The event loop's thread calls the methods below.

    def may_run(self) -> bool:
        """Return whether the wait of this thread is over."""
        return self.interrupted or self._ready()

    def go_on(self) -> None:
        """Let this thread run."""
        self._may_go.release()


class Lock:
    """See `threading.Lock`."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._held = False

    def acquire(self, *, timeout: float = -1) -> bool:
        """See `threading.Lock.acquire`."""
        loop, deadline = self._baton.loop, math.inf
        if self._held and timeout >= 0:
            deadline = loop.time() + timeout
            loop.call_soon_threadsafe(loop.call_at, deadline, lambda: None)  # the clock leaps no farther
        self._baton.wait(lambda: not self._held or loop.time() >= deadline)
        got, self._held = not self._held, True
        return got

    def release(self) -> None:
        """See `threading.Lock.release`."""
        self._held = False


class Queue:
    """See `queue.SimpleQueue`."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._items: deque[Any] = deque()
        self.put = self._items.append

    def get(self) -> Any:
        """See `queue.SimpleQueue.get`."""
        self._baton.wait(lambda: bool(self._items))
        return self._items.popleft()

    def qsize(self) -> int:
        """See `queue.SimpleQueue.qsize`."""
        return len(self._items)


class LoopPortal(portal.Portal):
    """A portal whose event loop is that of the simulation, which goes on when the portal has ended."""

    def __init__(self, baton: Baton) -> None:
        self.loop = loop = baton.loop
        self.doorbell = doorbell.Doorbell(loop)
        self.log_thread = log_thread.LogThread()
        self.ended = False
        self.forked = False
        self._uses = 0
        self._unwanted = asyncio.Event()
        self._lives = {}
        portal.process.portals[loop._own_thread] = self
        loop.call_soon_threadsafe(loop.call_later, portal._UNUSED, self.end_if_unused)

    def end_if_unused(self) -> None:
        """See `Portal.end_if_unused`."""
        super().end_if_unused()
        if self.ended and portal.process.portals.get(self.loop._own_thread) is self:  # type: ignore[attr-defined]
            del portal.process.portals[threading.get_ident()]
            self.log_thread.end()


class ThreadedHub:
    """A connection of `signalr_sdk.sync` as the fault suite uses one: each call is made on a thread of its own.

    Args:
        baton: lets threads run.
        url: see `HubConnection`.
        options: see `HubConnection`.
    """

    def __init__(self, baton: Baton, url: str, **options: Any) -> None:
        client = options.pop("http")
        self._baton = baton
        self._hub = HubConnection(url, http=None if client is None else lambda: client, **options)
        # `StateChanges` watches the table of states.
        self._life = self._hub._hub._life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    async def start(self) -> None:
        """See `HubConnection.start`."""
        await self._baton.call(self._hub.start)

    async def stop(self) -> None:
        """See `HubConnection.stop`."""
        await self._baton.call(self._hub.stop)

    async def wait_closed(self) -> None:
        """See `HubConnection.wait_closed`."""
        await self._baton.call(self._hub.wait_closed)

    async def invoke(self, method: str, *args: Any, **options: Any) -> Any:
        """See `HubConnection.invoke`."""
        return await self._baton.call(self._hub.invoke, method, *map(self._as_plain, args), **options)

    async def send(self, method: str, *args: Any) -> None:
        """See `HubConnection.send`."""
        await self._baton.call(self._hub.send, method, *args)

    async def reconnect(self) -> None:
        """See `HubConnection.reconnect`."""
        await self._baton.call(self._hub.reconnect)

    def on_setup(self, handler: Callable[[str | None], Coroutine[Any, Any, None]]) -> None:
        """See `HubConnection.on_setup`. The handler is async, and its calls are made on threads."""
        self._hub.on_setup(lambda connection_id: self._baton.run_on_loop(lambda: handler(connection_id)))

    def messages(self, event: str) -> ThreadedMessages:
        """See `HubConnection.messages`."""
        return ThreadedMessages(self._baton, lambda: self._hub.messages(event))

    def stream(self, method: str, *args: Any) -> ThreadedStream:
        """See `HubConnection.stream`."""
        return ThreadedStream(self._baton, lambda: self._hub.stream(method, *map(self._as_plain, args)))

    def _as_plain(self, argument: Any) -> Any:
        return self._items(argument) if hasattr(argument, "__anext__") else argument

    def _items(self, source: Any) -> Generator[Any, None, None]:
        """Yield the items of an async generator, on the thread of an upload."""

        async def following() -> Any:
            return await anext(source, _END)

        try:
            while (item := self._baton.run_on_loop(following)) is not _END:
                yield item
        finally:
            self._baton.run_on_loop(source.aclose)


class ThreadedStream:
    """See `Stream`. The stream is opened when it is first used."""

    def __init__(self, baton: Baton, open_stream: Callable[[], Any]) -> None:
        self._baton = baton
        self._open = open_stream
        self._stream: Any = None

    async def __aenter__(self) -> Self:
        self._stream = await self._baton.call(lambda: self._open().__enter__())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._baton.call(self._stream.__exit__, *error)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._stream is None:
            self._stream = await self._baton.call(self._open)
        item = await self._baton.call(next, self._stream, _END)
        if item is _END:
            raise StopAsyncIteration
        return item

    next = __anext__


class ThreadedMessages:
    """See `Messages`. Subscribed when it is entered."""

    def __init__(self, baton: Baton, subscribe: Callable[[], Any]) -> None:
        self._baton = baton
        self._subscribe = subscribe
        self._messages: Any = None

    async def __aenter__(self) -> Self:
        self._messages = await self._baton.call(self._subscribe)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._baton.call(self._messages.__exit__, *error)

    async def next(self, timeout: float | None = None) -> tuple[Any, ...]:
        """See `Messages.next`."""
        arguments: tuple[Any, ...] = await self._baton.call(self._messages.next, timeout)
        return arguments


def _throw(error: BaseException) -> Any:
    raise error
