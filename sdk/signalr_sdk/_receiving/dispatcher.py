"""From received events to the user's handlers: in order, not in the task that receives, with errors isolated.

Events and lifecycle events wait in one queue. A worker task handles them one after another and lives only while events
wait, so an idle connection has no such task. Handlers that the server wants a client result of run beside the worker.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import attrs

from .._guard.foreign import bounded, error_of, text_of
from .._guard.tasks import spawn
from ..errors import SlowConsumerError
from ..messages import Invocation
from .iterators import Messages
from .queues import ClientResultQueue, EventQueue, HandlerQueue, LifecycleEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.logs import Log
    from ..interfaces import Handler
    from ..messages import HubMessage
    from ..options import Limits
    from .backlog import Backlog
    from .handlers import Handlers
    from .queues import Respond

# The worker looks at the time after so many events. It gives the event loop a turn after so many seconds.
_BATCH = 128
_SLICE = 0.01
# The names of so many events without a handler are remembered, each cut at so many characters, so that each is warned
# about only once.
_NAMES, _NAME = 1024, 100


@attrs.define(eq=False)
class _Run:
    """A running async handler. Tasks that the handler starts inherit it by their context: see `active`."""

    task: asyncio.Task[Any]
    active: bool = True


_current_run: ContextVar[_Run | None] = ContextVar("signalr_sdk_handler", default=None)


def running_handler() -> asyncio.Task[Any] | None:
    """Return the task of the handler that calls this, directly or in a task that it started; else `None`."""
    run = _current_run.get()
    return run.task if run is not None and run.active else None


class Dispatcher:
    """Runs the handlers of one hub connection, over all of its links: the `Inbox` of their sessions.

    Attributes:
        backlog: counts what waits.
        respond: sends client results over the link that hands on messages; each new link sets it.
        loop: the event loop of the connection; `start` sets it.
    """

    def __init__(self, handlers: Handlers, backlog: Backlog, limits: Limits, log: Log) -> None:
        self._logger = log
        self.respond: Respond = _nobody
        self.loop: asyncio.AbstractEventLoop | None = None
        self._handlers = handlers
        self.backlog = backlog
        self._limits = limits
        self._concurrency = limits.handlers
        self._queue = HandlerQueue(backlog, limits.messages)
        backlog.join(self._queue)
        self._subscribers: dict[str, tuple[EventQueue, ...]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._barrier: asyncio.Task[None] | None = None
        # The tasks of on_closed handlers, which no stop() cancels.
        self._closing: set[asyncio.Task[None]] = set()
        self._unknown: set[str] = set()
        self._idle: list[asyncio.Future[None]] = []

    @functools.cached_property
    def _client_results(self) -> ClientResultQueue:
        # The queue is made at its first use: few hubs want client results, and empty deques take 1.5 KB.
        queue = ClientResultQueue(self.backlog, self._limits.messages, self._logger)
        self.backlog.join(queue)
        return queue

    def forget_link(self, respond: Respond) -> None:
        """Keep a closed link no longer in memory, unless another one has taken its place already."""
        if self.respond == respond:
            self.respond, self.backlog.relieved = _nobody, _nothing

    # What comes in

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int]) -> None:
        """See `Inbox.events`."""
        if self._subscribers:
            targets, arguments, sizes = self._publish(targets, arguments, sizes)
        if targets:
            self._queue.put_all(zip(targets, arguments, strict=True), sizes)
            self._start_workers(len(targets))

    def message(self, message: HubMessage) -> None:
        """See `Inbox.message`: an invocation that wants a client result, or an event in a rare shape."""
        if message.__class__ is not Invocation:
            # A client has no streaming methods, and the server ignores client results that it no longer waits for.
            self._logger.debug("ignored a %s from the server", type(message).__name__)
        elif message.invocation_id is None:
            self.events([message.target], [message.arguments], [message.size])
        else:
            self._publish([message.target], [message.arguments], [message.size])
            self._client_results.add(message, self.respond)
            self._start_answering()

    def _publish(self, *columns: list[Any]) -> tuple[list[Any], ...]:
        """Give events to their iterators; return the columns of the events that are for handlers too."""
        for_handlers: list[tuple[Any, ...]] = []
        for row in zip(*columns, strict=True):
            target, arguments, size = row
            key = target.lower()
            subscribers = self._subscribers.get(key)
            for queue in subscribers or ():
                queue.put(arguments, size)
            if not subscribers or key in self._handlers.events:
                for_handlers.append(row)
        return tuple(map(list, zip(*for_handlers, strict=True))) if for_handlers else ([], [], [])

    def push_lifecycle(self, name: str, *arguments: Any) -> None:
        """Queue a lifecycle event, if a handler is registered for it."""
        if name in self._handlers.lifecycle:
            self._queue.put(LifecycleEvent(name, arguments), 0)
            self._start_workers(1)

    def push_error(self, error: Exception) -> None:
        """Log an error that no caller can be told, and give it to `on_error` handlers."""
        self._logger.error("%s", error, exc_info=error)
        self.push_lifecycle("error", error)

    def subscribe(
        self, event: str, buffer: int, *, newest: bool, loop: Callable[[], asyncio.AbstractEventLoop | None]
    ) -> Messages:
        """Return an iterator over the events of this name from now on.

        Args:
            event: the name, in any case.
            buffer: the mark of the iterator's queue.
            newest: keep the newest events instead of pausing reading.
            loop: returns the event loop of the connection, while there is one.
        """
        queue = EventQueue(self.backlog, buffer, newest=newest, dropped=self._report_dropped)
        key = event.lower()
        self._subscribers[key] = (*self._subscribers.get(key, ()), queue)

        def release(queue: EventQueue) -> None:
            if self.loop is None or self.loop.is_closed():
                self._unsubscribe(key, queue)
            else:
                self.loop.call_soon_threadsafe(self._unsubscribe, key, queue)

        return Messages(queue, release, loop)

    def _unsubscribe(self, key: str, queue: EventQueue) -> None:
        left = tuple(each for each in self._subscribers.get(key, ()) if each is not queue)
        if left:
            self._subscribers[key] = left
        else:
            self._subscribers.pop(key, None)
        queue.end()

    def end_subscriptions(self) -> None:
        """End all iterators: the connection is gone for good."""
        subscribers, self._subscribers = self._subscribers, {}
        for queues in subscribers.values():
            for queue in queues:
                queue.end()

    # Handling events

    def _start_workers(self, count: int) -> None:
        """Start workers for so many more events, up to `Limits.handlers` workers in all."""
        if self._barrier is None:
            for _ in range(min(count, self._concurrency - len(self._workers))):
                worker = spawn(self._work(), "events")
                self._workers.add(worker)
                worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        # Events still wait if the program has cancelled the worker, maybe before its first step.
        self._workers.discard(worker)
        self._start_workers(len(self._queue.messages))
        self._check_idle()
        if not worker.cancelled() and isinstance(error := worker.exception(), Exception):
            # A hub protocol of the user's has made an event of nonsense.
            self.push_error(error)

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        queue, workers, time = self._queue, self._workers, asyncio.get_running_loop().time
        until = time() + _SLICE
        try:
            while queue.messages and self._barrier is None and task in workers:
                await self._handle_some(queue, task)
                if queue.dropped and queue.caught_up:
                    self._report_dropped(queue.take_dropped())
                if time() > until:
                    await asyncio.sleep(0)
                    until = time() + _SLICE
        finally:
            workers.discard(task)
            self._check_idle()

    async def _handle_some(self, queue: HandlerQueue, task: asyncio.Task[None]) -> None:
        """Handle a batch of events; return early after a handler that was awaited, since much may have changed.

        A coroutine for each event would cost more than a plain handler does (tests/bench/test_receiving.py).
        """
        messages, events = queue.messages, self._handlers.events
        waited = False
        for _ in range(_BATCH):
            if waited or not messages:
                break
            message = messages.popleft()
            if message.__class__ is not tuple:
                queue.release_taken()
                await self._run_lifecycle(message, task)
                return
            target, arguments = message
            for handler in events.get(target.lower()) or self._fallback(target):
                try:
                    result = handler(*arguments)
                    if result is not None and inspect.isawaitable(result):
                        queue.release_taken()
                        waited = True
                        await self._finish(result, task)
                except BaseException as raised:  # noqa: BLE001 - a handler may raise anything
                    queue.release_taken()
                    waited = True
                    await self._failed(target, error_of(raised, "a handler"))
        queue.release_taken()

    async def _finish(self, result: Any, task: asyncio.Task[None]) -> Any:
        run = _Run(task)
        token = _current_run.set(run)
        try:
            return await result
        finally:
            run.active = False
            _current_run.reset(token)

    async def _failed(self, event: str, error: Exception) -> None:
        self._logger.error("a handler of '%s' failed: %s", event, error, exc_info=error)
        await self._tell("error", (error,))

    async def _tell(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Call lifecycle handlers one after another, also after one that fails."""
        task = asyncio.current_task()
        assert task is not None
        for handler in self._handlers.lifecycle.get(name, ()):
            try:
                result = handler(*arguments)
                if result is not None and inspect.isawaitable(result):
                    await self._finish(result, task)
            except BaseException as raised:
                error = error_of(raised, "a handler")
                if name == "error":
                    self._logger.exception("an on_error handler failed")
                else:
                    await self._failed(f"on_{name}", error)

    async def _run_lifecycle(self, event: LifecycleEvent, task: asyncio.Task[None]) -> None:
        """Wait until no other event is being handled, then run the lifecycle handlers."""
        self._barrier = task
        if event.name == "closed":
            self._closing.add(task)
        try:
            others = self._workers - {task}
            if others:
                await asyncio.wait(others)
            await self._tell(event.name, event.arguments)
        finally:
            self._closing.discard(task)
            if self._barrier is task:
                self._barrier = None
        if self._queue.messages and task in self._workers:
            self._start_workers(1)

    def _fallback(self, target: str) -> tuple[Handler, ...]:
        if self._handlers.any:
            # Handlers of `on_any` get the name and the arguments as two arguments.
            return tuple(functools.partial(_with_name, handler, target) for handler in self._handlers.any)
        name = target[:_NAME]
        if name not in self._unknown and len(self._unknown) < _NAMES:
            self._unknown.add(name)
            self._logger.warning("the hub sent the event '%s', for which there is no handler (said once)", name)
        return ()

    def _report_dropped(self, dropped: int) -> None:
        error = SlowConsumerError(
            f"{dropped} events were dropped, the oldest first: their handlers are too slow, and what waited went over "
            f"Limits.buffered_bytes ({self._limits.buffered_bytes})",
            dropped,
        )
        self._logger.warning("%s", error)
        self.push_lifecycle("error", error)

    # Client results

    def _start_answering(self) -> None:
        queue = self._client_results
        while queue.messages and len(self._answering) < self._limits.client_results:
            message, respond = queue.take_first()
            task = spawn(self._answer(message, respond), "client result")
            self._answering.add(task)
            task.add_done_callback(functools.partial(self._answered, message, respond))

    def _answered(self, message: Invocation, respond: Respond, task: asyncio.Task[None]) -> None:
        if task in self._answering and (task.cancelled() or task.exception() is not None):
            # The program has cancelled the task, or is ending: the server must not wait for ever.
            assert message.invocation_id is not None
            answer = respond(message.invocation_id, None, "The handler was cancelled.")
            self._answering.add(spawn(answer, "client result", self._answering))
        self._answering.discard(task)
        self._start_answering()
        self._check_idle()

    async def _answer(self, message: Invocation, respond: Respond) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert message.invocation_id is not None
        result: Any = None
        handlers = self._handlers.events.get(message.target.lower(), ())
        error: str | None = None if handlers else "Client didn't provide a result."
        for handler in handlers:
            try:
                value = await self._ask(handler, message, task)
            except BaseException as raised:
                failure = error_of(raised, "a handler")
                self._logger.warning("the handler of '%s' failed: %s", message.target, failure, exc_info=failure)
                error = text_of(failure)
                continue
            error = None
            if value is not None and result is not None:
                error = "Client provided multiple results."
                break
            result = value if value is not None else result
        await respond(message.invocation_id, result, error)

    async def _ask(self, handler: Handler, message: Invocation, task: asyncio.Task[Any]) -> Any:
        value = handler(*message.arguments)
        return await self._finish(value, task) if inspect.isawaitable(value) else value

    # The end

    def discard(self) -> list[asyncio.Task[None]]:
        """Discard all that waits, and cancel handlers that run, but not one that calls this, nor `on_closed` ones.

        Returns:
            The cancelled tasks. The caller awaits them.
        """
        caller = running_handler()
        for message in self._queue.messages:
            if message.__class__ is LifecycleEvent and message.name == "closed":
                self.run_apart(message.name, *message.arguments)
        self._queue.clear()
        self._client_results.clear()
        self._queue.take_dropped()
        tasks = [task for task in (self._workers | self._answering) - self._closing if task is not caller]
        self._workers.clear()
        self._answering.clear()
        self._barrier = None
        for task in tasks:
            task.cancel()
        self._check_idle()
        return tasks

    def run_apart(self, name: str, *arguments: Any) -> None:
        """Run lifecycle handlers in a task that nobody waits for or cancels."""
        if name in self._handlers.lifecycle:
            _ = spawn(self._tell(name, arguments), f"on_{name}", self._closing)

    async def run_closed(self, error: Exception | None, limit: float | None) -> None:
        """Run `on_closed` handlers for so many seconds at most; the event loop may be at its end."""
        with suppress(TimeoutError):
            await bounded(
                self._tell("closed", (error,)), limit, whose="an on_closed handler", patience=0.2, log=self._logger
            )

    async def drained(self) -> None:
        """Return when no event waits and no handler runs; at once inside a handler."""
        while (self._workers or self._answering) and running_handler() is None:
            future = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future

    def _check_idle(self) -> None:
        if self._idle and not self._workers and not self._answering:
            idle, self._idle = self._idle, []
            for future in idle:
                if not future.done():
                    future.set_result(None)


def _with_name(handler: Handler, name: str, *arguments: Any) -> Any:
    return handler(name, arguments)


async def _nobody(_invocation_id: str, _result: Any, _error: str | None) -> None:
    """Send no client result: there is no link."""


def _nothing() -> None:
    """Do nothing when consumers have caught up: there is no link whose reading could go on."""
