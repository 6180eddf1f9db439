"""From received events to the user's handlers: in order, off the receive loop, each handler's errors isolated.

Events and lifecycle events wait in one queue and are worked off one after another by a task that lives only while
there is something to do, so an idle connection costs none. Questions of the server (client results) run beside it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import SignalRError, SlowConsumerError
from ..messages import Invocation
from .backlog import Backlog, WaitingQueue
from .iterators import EventQueue, Messages

if TYPE_CHECKING:
    from .._core.logs import Log
    from ..interfaces import Handler
    from ..messages import HubMessage
    from ..options import Limits
    from .handlers import Handlers

# After so many events the worker looks at the time, and gives the event loop a turn if it had so many seconds.
_BATCH = 128
_SLICE = 0.01
# So many names of events without a handler are remembered, to warn about each only once.
_NAMES = 1024


@attrs.define(eq=False)
class LifecycleEvent:
    """Stands in the queue of events, so that its handlers run between those of the events around it."""

    name: str
    arguments: tuple[Any, ...]


@attrs.define(eq=False)
class _Run:
    """One async handler that runs. Tasks that it starts inherit the context variable: `active` says if it is over."""

    task: asyncio.Task[Any]
    active: bool = True


_current_run: ContextVar[_Run | None] = ContextVar("signalr_sdk_handler", default=None)


def running_handler() -> asyncio.Task[Any] | None:
    """Return the task of the handler that the caller is part of."""
    run = _current_run.get()
    return run.task if run is not None and run.active else None


Respond = Callable[[str, Any, "str | None"], Awaitable[None]]
"""Sends the answer to a question: its id, the result, and the error if it failed."""


class Dispatcher:
    """Runs handlers. Belongs to one `HubConnection` and outlives its connections.

    Attributes:
        respond: sends answers over the connection whose messages are being pushed; set with each new connection.
        loop: the event loop of the connection; set by its `start`.
    """

    def __init__(self, handlers: Handlers, backlog: Backlog, limits: Limits, log: Log) -> None:
        self._logger = log
        self.respond: Respond
        self.loop: asyncio.AbstractEventLoop | None = None
        self._handlers = handlers
        self._backlog = backlog
        self._limits = limits
        self._concurrency = limits.handlers
        self._queue = _EventsWaiting(backlog, limits.messages)
        backlog.join(self._queue)
        self._subscribers: dict[str, tuple[EventQueue, ...]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._barrier: asyncio.Task[None] | None = None
        # Tasks that run on_closed handlers, which no stop() cancels.
        self._farewells: set[asyncio.Task[None]] = set()
        self._unknown: set[str] = set()
        self._idle: list[asyncio.Future[None]] = []

    @functools.cached_property
    def _questions(self) -> _QuestionsWaiting:
        # Made when first needed: most hubs ask nothing, and its empty deques take 1.5 KB of each connection.
        questions = _QuestionsWaiting(self._backlog, self._limits.messages, self._logger)
        self._backlog.join(questions)
        return questions

    # Taking in

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int]) -> None:
        """Take events: see `Inbox`."""
        if self._subscribers:
            targets, arguments, sizes = self._publish(targets, arguments, sizes)
        if targets:
            self._queue.put_all(zip(targets, arguments, strict=True), sizes)
            self._start_workers(len(targets))

    def message(self, message: HubMessage) -> None:
        """Take a question of the server, or an event in a rare shape: see `Inbox`."""
        if message.__class__ is not Invocation:
            # Clients have no streaming methods, and the answer to a question that was let go of is ignored there.
            self._logger.debug("ignored a %s from the server", type(message).__name__)
        elif message.invocation_id is None:
            self.events([message.target], [message.arguments], [message.size])
        else:
            self._publish([message.target], [message.arguments], [message.size])
            self._questions.add(message, self.respond)
            self._start_answering()

    def _publish(self, *columns: list[Any]) -> tuple[list[Any], ...]:
        """Give events to those who iterate over them; return the columns of those that are for handlers too."""
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
        """Take a lifecycle event; it is not even queued if nobody is registered for it."""
        if name in self._handlers.lifecycle:
            self._queue.put(LifecycleEvent(name, arguments), 0)
            self._start_workers(1)

    def push_error(self, error: Exception) -> None:
        """Take an error that no caller can be told."""
        self._logger.error("%s", error, exc_info=error)
        self.push_lifecycle("error", error)

    def subscribe(self, event: str, buffer: int, *, newest: bool) -> Messages:
        """Return an iterator over the events of this name from now on."""
        queue = EventQueue(self._backlog, buffer, newest=newest, dropped=self._report_dropped)
        key = event.lower()
        self._subscribers[key] = (*self._subscribers.get(key, ()), queue)

        def let_go(queue: EventQueue) -> None:
            if self.loop is None or self.loop.is_closed():
                self._unsubscribe(key, queue)
            else:
                self.loop.call_soon_threadsafe(self._unsubscribe, key, queue)

        return Messages(queue, let_go)

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
        """Have so many more events handled beside those that are, as far as that is allowed."""
        if self._barrier is None:
            for _ in range(min(count, self._concurrency - len(self._workers))):
                self._workers.add(asyncio.create_task(self._work(), name="signalr_sdk events"))

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        queue, workers, time = self._queue, self._workers, asyncio.get_running_loop().time
        until = time() + _SLICE
        try:
            while queue.messages and self._barrier is None and task in workers:
                await self._handle_some(queue, task)
                if queue.dropped and queue.calm:
                    self._report_dropped(queue.forgive())
                if time() > until:
                    await asyncio.sleep(0)
                    until = time() + _SLICE
        finally:
            workers.discard(task)
            self._check_idle()

    async def _handle_some(self, queue: _EventsWaiting, task: asyncio.Task[None]) -> None:
        """Handle events until one of them has made us wait. (A coroutine for each would cost more than a handler.)."""
        messages, events = queue.messages, self._handlers.events
        waited = False
        for _ in range(_BATCH):
            if waited or not messages:
                break
            message = messages.popleft()
            if message.__class__ is not tuple:
                queue.settle()
                await self._run_lifecycle(message, task)
                return
            target, arguments = message
            for handler in events.get(target.lower()) or self._fallback(target):
                try:
                    result = handler(*arguments)
                    if result is not None and inspect.isawaitable(result):
                        queue.settle()
                        waited = True
                        await self._finish(result, task)
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it may raise anything
                    queue.settle()
                    waited = True
                    await self._failed(target, _handlers_own(error, task))
        queue.settle()

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
        """Call lifecycle handlers, one after another, whatever each of them does."""
        task = asyncio.current_task()
        assert task is not None
        for handler in self._handlers.lifecycle.get(name, ()):
            try:
                result = handler(*arguments)
                if result is not None and inspect.isawaitable(result):
                    await self._finish(result, task)
            except (Exception, asyncio.CancelledError) as raised:
                error = _handlers_own(raised, task)
                if name == "error":
                    self._logger.exception("an on_error handler failed")
                else:
                    await self._failed(f"on_{name}", error)

    async def _run_lifecycle(self, event: LifecycleEvent, task: asyncio.Task[None]) -> None:
        """Wait until no event is being handled, run the lifecycle handlers, go on."""
        self._barrier = task
        if event.name == "closed":
            self._farewells.add(task)
        try:
            others = self._workers - {task}
            if others:
                await asyncio.wait(others)
            await self._tell(event.name, event.arguments)
        finally:
            self._farewells.discard(task)
            if self._barrier is task:
                self._barrier = None
        if self._queue.messages and task in self._workers:
            self._start_workers(1)

    def _fallback(self, target: str) -> tuple[Handler, ...]:
        if self._handlers.any:
            # They want the name and the arguments as two arguments.
            return tuple(functools.partial(_with_name, handler, target) for handler in self._handlers.any)
        if target not in self._unknown and len(self._unknown) < _NAMES:
            self._unknown.add(target)
            self._logger.warning("the hub sent the event '%.100s', for which there is no handler (said once)", target)
        return ()

    def _report_dropped(self, dropped: int) -> None:
        error = SlowConsumerError(
            f"{dropped} events were dropped, the oldest first: their handlers are too slow, and what waited went over "
            f"Limits.buffered_bytes ({self._limits.buffered_bytes})",
            dropped,
        )
        self._logger.warning("%s", error)
        self.push_lifecycle("error", error)

    # Answering the server's questions

    def _start_answering(self) -> None:
        while self._questions.messages and len(self._answering) < self._limits.client_results:
            message, respond = self._questions.take_question()
            task = asyncio.create_task(self._answer(message, respond), name="signalr_sdk client result")
            self._answering.add(task)
            task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
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
            except (Exception, asyncio.CancelledError) as raised:
                failure = _handlers_own(raised, task)
                self._logger.warning("the handler of '%s' failed: %s", message.target, failure, exc_info=failure)
                error = str(failure) or type(failure).__name__
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
        """Throw away what waits and cancel what runs, but not the handler that calls this, nor on_closed handlers.

        Returns:
            The cancelled tasks, to be awaited.
        """
        caller = running_handler()
        for message in self._queue.messages:
            if message.__class__ is LifecycleEvent and message.name == "closed":
                self.run_apart(message.name, *message.arguments)
        self._queue.clear()
        self._questions.clear()
        self._queue.forgive()
        tasks = [task for task in (self._workers | self._answering) - self._farewells if task is not caller]
        self._workers.clear()
        self._answering.clear()
        self._barrier = None
        for task in tasks:
            task.cancel()
        self._check_idle()
        return tasks

    def run_apart(self, name: str, *arguments: Any) -> None:
        """Run lifecycle handlers in a task of their own, which nobody waits for or cancels."""
        if name in self._handlers.lifecycle:
            task = asyncio.create_task(self._tell(name, arguments), name=f"signalr_sdk on_{name}")
            self._farewells.add(task)
            task.add_done_callback(self._farewells.discard)

    async def drained(self) -> None:
        """Return when nothing waits and no handler runs; at once if called by a handler."""
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


def _handlers_own(raised: BaseException, task: asyncio.Task[Any]) -> Exception:
    """Return what a handler has raised as an error to report; raise it again if it is that this task is cancelled."""
    if isinstance(raised, Exception):
        return raised
    if task.cancelling():
        raise raised
    # Something that the handler waited for was cancelled, not we.
    error = SignalRError("a handler was cancelled from inside")
    error.__cause__ = raised
    return error


def _with_name(handler: Handler, name: str, *arguments: Any) -> Any:
    return handler(name, arguments)


class _EventsWaiting(WaitingQueue):
    """The events that wait for handlers. Lifecycle events among them are never dropped.

    Attributes:
        dropped: how many were dropped in this episode of slowness.
    """

    __slots__ = ("dropped",)

    def __init__(self, backlog: Backlog, mark: int) -> None:
        super().__init__(backlog, mark)
        self.dropped = 0

    def forgive(self) -> int:
        """End the episode; return how many were dropped in it."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def give_way(self, excess: int) -> None:
        goal, kept = self.held - excess, []
        while self.held > goal and len(self.messages) > 1:
            message = self.take()
            if message.__class__ is LifecycleEvent:
                kept.append(message)
            else:
                self.dropped += 1
        self.messages.extendleft(reversed(kept))
        self.sizes.extendleft(0 for _ in kept)


class _QuestionsWaiting(WaitingQueue):
    """The questions of the server that wait for a free place."""

    __slots__ = ("_logger", "_responds")

    def __init__(self, backlog: Backlog, mark: int, log: Log) -> None:
        super().__init__(backlog, mark)
        self._logger = log
        self._responds: deque[Respond] = deque()

    def add(self, message: Invocation, respond: Respond) -> None:
        self._responds.append(respond)
        self.put(message, message.size)

    def take_question(self) -> tuple[Invocation, Respond]:
        return self.take(), self._responds.popleft()

    def clear(self) -> None:
        self._responds.clear()
        super().clear()

    def give_way(self, excess: int) -> None:
        goal, dropped = self.held - excess, 0
        while self.held > goal and len(self.messages) > 1:
            self.take_question()
            dropped += 1
        self._logger.warning(
            "%d questions of the hub were dropped: more wait than Limits.buffered_bytes allows", dropped
        )
