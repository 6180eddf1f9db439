"""`Dispatcher`: calls the user's handlers for received events, in order. A failed handler does not stop the next one.

Events and lifecycle events wait in one queue. A worker task takes the events from the queue and calls the handlers. The
worker task ends when the queue is empty. If the server asks for a client result, the handlers run in a separate task.
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
from .._guard.futures import resolve
from .._guard.tasks import spawn
from ..errors import SlowConsumerError
from ..messages import Invocation
from .backlog import Backlog, do_nothing
from .iterators import Messages, hub_event
from .queues import ClientResultQueue, EventQueue, HandlerQueue, LifecycleEvent
from .set_up import SetUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.logs import Log
    from ..interfaces import Handler
    from ..messages import HubMessage
    from ..options import Limits
    from .handlers import Handlers
    from .queues import Respond

# A worker task, which calls handlers, checks the time after each `_BATCH` of events. After `_SLICE` seconds, the worker
# task lets other tasks run: otherwise sync handlers of many events would block the event loop.
_BATCH = 128
_SLICE = 0.01
# An event without a handler is logged only once. To limit memory, at most `_NAMES` names of such events are stored,
# each cut to `_NAME` characters.
_NAMES, _NAME = 1024, 100
_BUSY = "The client is busy: too many calls wait for their results."


@attrs.define(eq=False)
class _Run:
    """One run of an async handler.

    The `_Run` is stored in the context variable `_current_run`. Tasks that the handler starts inherit the variable.

    Attributes:
        task: the task that runs the handler.
        active: whether the handler is still running. A task that the handler started may run longer.
    """

    task: asyncio.Task[Any]
    active: bool = True


_current_run: ContextVar[_Run | None] = ContextVar("signalr_sdk_handler", default=None)


def running_handler() -> asyncio.Task[Any] | None:
    """Return the task of the handler that calls this function, directly or from a task that the handler has started.

    Returns:
        The task of the handler; `None` if the caller is no handler.
    """
    run = _current_run.get()
    return run.task if run is not None and run.active else None


class Dispatcher:
    """Runs the handlers of one hub connection, for its whole life: reconnects keep the dispatcher.

    Attributes:
        backlog: counts the bytes of all messages that wait for handlers and iterators.
        respond: sends a client result to the server; set after each connect and reconnect.
        loop: the event loop of the connection, set by `begin`.
        fatal: called with the first error of a handler, to end the connection. `None` (the default) lets the connection
            go on after such an error.
        failed: the error that was passed to `fatal`; `None` before.
        set_up: the running set-up of a new connection, during which events are held back; otherwise `None`.
    """

    def __init__(self, handlers: Handlers, backlog: Backlog, limits: Limits, log: Log) -> None:
        self._logger = log
        self.respond: Respond = _nobody
        self.loop: asyncio.AbstractEventLoop | None = None
        self.fatal: Callable[[Exception], None] | None = None
        self.failed: Exception | None = None
        self.set_up: SetUp | None = None
        self._handlers = handlers
        self.backlog = backlog
        self._limits = limits
        self._concurrency = limits.handlers
        self._queue = HandlerQueue(backlog, limits.messages)
        backlog.join(self._queue)
        # The queues of iterators, by the name of their events in lower case; `None` is the key of iterators over all
        # events.
        self._subscribers: dict[str | None, tuple[EventQueue, ...]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._refusing: asyncio.Task[None] | None = None  # also in `_answering`
        self._barrier: asyncio.Task[None] | None = None
        # The tasks that run `on_closed` handlers. `stop` neither cancels nor awaits these tasks.
        self._closing: set[asyncio.Task[None]] = set()
        # The event "connected" whose handlers have not all returned.
        self._connected: LifecycleEvent | None = None
        self._unknown: set[str] = set()
        self._idle: list[asyncio.Future[None]] = []

    @functools.cached_property
    def _client_results(self) -> ClientResultQueue:
        # Create the queue at the first use, to save 1.5 KB of memory: few hubs ask for client results.
        queue = ClientResultQueue(self.backlog, self._limits.messages, self._logger, self._start_refusing)
        self.backlog.join(queue)
        return queue

    @property
    def is_read(self) -> bool:
        """Whether there is an iterator over events."""
        return bool(self._subscribers)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget the errors and the set-up of an earlier connection, because the user has called `start`."""
        self.loop, self.failed, self.set_up = loop, None, None

    def forget_link(self, respond: Respond) -> None:
        """Drop the references to the `HubLink` of a closed connection, so that Python can free this object.

        Do nothing if a new connection has replaced the references already.

        Args:
            respond: the value of `respond` that the closed connection has set.
        """
        if self.respond == respond:
            self.respond, self.backlog.relieved = _nobody, do_nothing

    # Received messages: into the queues

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int]) -> None:
        """See `Inbox.events`."""
        if self.set_up is not None:
            self.set_up.hold(zip(targets, arguments, sizes, strict=True), self._subscribers, self._split)
            return
        if self.failed is not None:
            return  # no further handler is called: see `end_by`
        if self._subscribers:
            targets, arguments, sizes = self._publish(targets, arguments, sizes)
        if targets:
            self._queue.put_all(zip(targets, arguments, strict=True), sizes)
            self._start_workers(len(targets))

    def message(self, message: HubMessage) -> None:
        """See `Inbox.message`. Handle an event or a request for a client result; ignore other messages."""
        if message.__class__ is not Invocation:
            # Ignore StreamInvocation, since a client has no streaming methods. Ignore CancelInvocation, since the
            # server discards a client result that comes too late.
            self._logger.debug("ignored a %s from the server", type(message).__name__)
        elif message.invocation_id is None:
            self.events([message.target], [message.arguments], [message.size])
        else:
            for queue in self._subscribers.get(message.target.lower(), ()):
                if not queue.named:
                    queue.put(message.arguments, message.size)
            self._client_results.add(message, self.respond)
            self._start_answering()

    def _split(self, target: str) -> tuple[str | None, str]:
        """Return two parts of a target: the key of the iterators over all such events, and the name of the event."""
        return None, target

    def _publish(self, *columns: list[Any]) -> tuple[list[Any], ...]:
        """Put events into the queues of their `Messages` iterators, and return the events for handlers.

        The arguments and the result are three lists of equal length: names, argument lists, sizes in bytes. An event
        is for handlers if a handler is registered for its name. An event without such a handler and without an iterator
        over its name is for the `on_any` handlers, or for the warning about events without a handler. An iterator over
        all events makes this warning unnecessary.
        """
        subscribers, handled = self._subscribers, self._handlers.events
        over_all = subscribers.get(None, ())
        for queue in over_all:
            queue.put_all(zip(*columns[:2], strict=True), columns[2])
        fallback = not over_all or bool(self._handlers.any)
        for_handlers: list[tuple[Any, ...]] = []
        for row in zip(*columns, strict=True):
            target, arguments, size = row
            key = target.lower()
            over_name = subscribers.get(key, ())
            for queue in over_name:
                queue.put_event(target, arguments, size)
            if (fallback and not over_name) or key in handled:
                for_handlers.append(row)
        return tuple(map(list, zip(*for_handlers, strict=True))) if for_handlers else ([], [], [])

    def push_lifecycle(self, name: str, *arguments: Any) -> None:
        """Queue a lifecycle event, if a handler is registered for it."""
        if name in self._handlers.lifecycle and (self.failed is None or name in ("error", "closed")):
            event = LifecycleEvent(name, arguments)
            if name == "connected":
                self._connected = event
            self._queue.put(event, 0)
            self._start_workers(1)

    @property
    def tells_connected(self) -> bool:
        """Whether `on_connected` handlers of the live connection wait to be called, or run."""
        return self._connected is not None

    def _note_told(self, event: LifecycleEvent) -> None:
        if self._connected is event:
            self._connected = None

    def push_error(self, error: Exception) -> None:
        """Log an error that no call can raise, and queue a call of the `on_error` handlers with the error."""
        self._logger.error("%s", error, exc_info=error)
        self.push_lifecycle("error", error)

    def subscribe(
        self,
        names: tuple[str, ...],
        buffer: int,
        *,
        named: bool,
        newest: bool,
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        convert: Callable[[Any], Any] | None = None,
    ) -> Messages[Any]:
        """Return an iterator over events that arrive after this call, in the order received.

        Args:
            names: the names of the events, in upper or lower case; empty for all events.
            buffer: the largest number of waiting events. If more events come, `newest` decides.
            named: if true, the iterator returns a `HubEvent` for each event; otherwise a tuple of its arguments.
            newest: if true, the oldest events are dropped; otherwise the connection stops reading for a while.
            loop: a function that returns the event loop of the connection, or `None` before `start`.
            convert: makes the user's value out of the list of arguments; by default see `named`.
        """
        queue = EventQueue(self.backlog, buffer, named=named, newest=newest, dropped=self.report_dropped)
        if self.set_up is not None and self.set_up.is_current:
            self.set_up.queues.append(queue)
        keys: set[str | None] = {name.lower() for name in names} or {None}
        for key in keys:
            self._subscribers[key] = (*self._subscribers.get(key, ()), queue)

        def release(queue: EventQueue) -> None:
            if self.loop is None or self.loop.is_closed():
                self._unsubscribe(keys, queue)
            else:
                self.loop.call_soon_threadsafe(self._unsubscribe, keys, queue)

        return Messages(queue, release, loop, convert or (hub_event if named else tuple))

    def _unsubscribe(self, keys: set[str | None], queue: EventQueue) -> None:
        for key in keys:
            left = tuple(each for each in self._subscribers.get(key, ()) if each is not queue)
            if left:
                self._subscribers[key] = left
            else:
                self._subscribers.pop(key, None)
        queue.end()

    def end_subscriptions(self, error: Exception | None = None) -> None:
        """End all `Messages` iterators, after the connection has ended without reconnecting.

        Args:
            error: raised by each iterator after its last event; `None` for an end without an error.
        """
        subscribers, self._subscribers = self._subscribers, {}
        for queues in subscribers.values():
            for queue in queues:
                queue.end(error)

    # The set-up of a new connection: holding events back while the `on_setup` handlers run

    @property
    def has_set_up(self) -> bool:
        """Whether an `on_setup` handler is registered."""
        return "setup" in self._handlers.lifecycle

    @property
    def in_set_up(self) -> bool:
        """Whether an `on_setup` handler is the caller, directly or by a task that it has started."""
        return self.set_up is not None and self.set_up.is_current

    def begin_set_up(self, link: object) -> SetUp:
        """Hold events back until `end_set_up`. `link` is the new connection."""
        self.set_up = SetUp(self.backlog, link)
        return self.set_up

    async def run_set_up(self, connection_id: str | None) -> None:
        """Call the `on_setup` handlers in order. The first exception of a handler is raised."""
        task, set_up = asyncio.current_task(), self.set_up
        assert task is not None
        assert set_up is not None
        set_up.enter()
        await self._call_set_up(self._handlers.lifecycle.get("setup", ()), connection_id, task)

    async def _call_set_up(
        self, handlers: tuple[Handler, ...], connection_id: str | None, task: asyncio.Task[Any]
    ) -> None:
        for handler in handlers:
            result = handler(connection_id)
            if inspect.isawaitable(result):
                await self._finish(result, task)

    def end_set_up(self, set_up: SetUp, *, up: bool) -> None:
        """Deliver the events that were held back (`up` is true), or discard them, because the set-up has failed."""
        if self.set_up is set_up:
            self.set_up = None
        rows = set_up.take()
        if up:
            if dropped := set_up.held.take_dropped():
                self.report_dropped(dropped)
            self._release(set_up, rows)
            return
        for queue in set_up.queues:
            for key in [key for key, queues in self._subscribers.items() if queue in queues]:
                self._unsubscribe({key}, queue)

    def _release(self, set_up: SetUp, rows: list[tuple[str, list[Any], int, bool]]) -> None:
        """Deliver the events that were held back, except to the iterators that have got these events already."""
        subscribers = self._subscribers
        others = {
            key: tuple(each for each in queues if each not in set_up.queues) for key, queues in subscribers.items()
        }
        # Hide the iterators of the set-up during this method, which does not wait for anything.
        self._subscribers = {key: queues for key, queues in others.items() if queues}
        targets, arguments, sizes = [], [], []
        for target, values, size, by_name in rows:
            # An event for which the set-up had an iterator needs no handler: no warning, and no `on_any`.
            takers: tuple[dict[Any, Any], ...] = (self._handlers.events, self._subscribers)
            if (
                not by_name
                or any(target.lower() in each for each in takers)
                or self._split(target)[0] in self._subscribers
            ):
                targets.append(target)
                arguments.append(values)
                sizes.append(size)
        try:
            if targets:
                self.events(targets, arguments, sizes)
        finally:
            self._subscribers = subscribers

    # Worker tasks: calling the handlers for the events in the queue

    def _start_workers(self, count: int) -> None:
        """Start worker tasks, which call handlers: one for each of `count` new events, `Limits.handlers` at most."""
        if self._barrier is None:
            for _ in range(min(count, self._concurrency - len(self._workers))):
                worker = spawn(self._work(), "events")
                self._workers.add(worker)
                worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        # Start a new worker task if events are still waiting: the program may have cancelled this worker task before
        # its first step, and the events would wait until the next event comes.
        self._workers.discard(worker)
        self._start_workers(len(self._queue.messages))
        self._check_idle()
        if not worker.cancelled() and isinstance(error := worker.exception(), Exception):
            # The worker task failed outside of a handler: a user's hub protocol has made an invalid event, for example
            # an event whose name is not a string.
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
                    self.report_dropped(queue.take_dropped())
                if time() > until:
                    await asyncio.sleep(0)
                    until = time() + _SLICE
        finally:
            workers.discard(task)
            self._check_idle()

    async def _handle_some(self, queue: HandlerQueue, task: asyncio.Task[None]) -> None:
        """Call the handlers for up to `_BATCH` events. Return early if an async handler was awaited.

        After the `await`, `_work` must check whether the connection was stopped meanwhile. A coroutine for each single
        event would take longer than a sync handler itself (tests/bench/test_receiving.py).
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
                if waited and self.failed is not None:
                    return
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
        if self.fatal is not None and event != "on_closed" and asyncio.current_task() in self._workers:
            self.end_by(event, error)
            return
        self._logger.error("a handler of '%s' failed: %s", event, error, exc_info=error)
        await self._tell("error", (error,))

    def end_by(self, event: str, error: Exception) -> None:
        """End the connection after an error of a handler (`handler_errors="raise"`), and discard all waiting events.

        The `on_error` handlers get the error before the `on_closed` handlers.
        """
        if self.fatal is None or self.failed is not None:
            return
        self.failed = error
        self._logger.warning("a handler of '%s' failed and ends the connection: %s", event, error, exc_info=error)
        closed = any(each.__class__ is LifecycleEvent and each.name == "closed" for each in self._queue.messages)
        self._queue.clear()
        self._queue.take_dropped()
        self.push_lifecycle("error", error)
        if closed:
            self.push_lifecycle("closed", error)
        self.fatal(error)

    async def _tell(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Call the handlers of a lifecycle event, such as "closed", in order. If a handler fails, call the next."""
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
                    if self.failed is error:
                        return

    async def _run_lifecycle(self, event: LifecycleEvent, task: asyncio.Task[None]) -> None:
        """Wait until the other workers have finished their events, then run the handlers of the lifecycle event alone.

        For example, `on_closed` handlers run after the handlers of all events that arrived before the connection ended.
        """
        self._barrier = task
        if event.name == "closed":
            self._closing.add(task)
        try:
            others = self._workers - {task}
            if others:
                await asyncio.wait(others)
            await self._tell(event.name, event.arguments)
        finally:
            self._note_told(event)
            self._closing.discard(task)
            if self._barrier is task:
                self._barrier = None
        if self._queue.messages and task in self._workers:
            self._start_workers(1)

    def _fallback(self, target: str) -> tuple[Handler, ...]:
        if self._handlers.any:
            # A handler of `on_any` is called with two arguments: the name of the event, and a tuple of its arguments.
            return tuple(functools.partial(with_name, handler, target) for handler in self._handlers.any)
        if None not in self._subscribers:
            self._warn_unknown(target)
        return ()

    def _warn_unknown(self, name: str) -> None:
        """Log that an event has no handler, once for each name."""
        name = name[:_NAME]
        if name not in self._unknown and len(self._unknown) < _NAMES:
            self._unknown.add(name)
            self._logger.warning("the hub sent the event '%s', for which there is no handler (said once)", name)

    def report_dropped(self, dropped: int) -> None:
        """Tell the user that events were dropped."""
        error = SlowConsumerError(
            f"{dropped} events were dropped, the oldest first: their handlers are too slow, and what waited went over "
            f"Limits.buffered_bytes ({self._limits.buffered_bytes})",
            dropped,
        )
        self._logger.warning("%s", error)
        self.push_lifecycle("error", error)

    # Client results: answering the server with what a handler returns

    def _start_answering(self) -> None:
        queue = self._client_results
        while queue.messages and len(self._answering) < self._limits.client_results:
            message, respond = queue.take_first()
            task = spawn(self._answer(message, respond), "client result")
            self._answering.add(task)
            task.add_done_callback(functools.partial(self._answered, message, respond))

    def _answered(self, message: Invocation, respond: Respond, task: asyncio.Task[None]) -> None:
        if task in self._answering and (task.cancelled() or task.exception() is not None):
            # The task that runs the handler was cancelled by the program, or ended by SystemExit. Send an error to the
            # server, or the server would wait for the client result for ever.
            assert message.invocation_id is not None
            answer = respond(message.invocation_id, None, "The handler was cancelled.")
            _ = spawn(answer, "client result", self._answering)
        self._answering.discard(task)
        self._start_answering()

    def _start_refusing(self) -> None:
        if self._refusing is None and self._client_results.refused:
            self._refusing = spawn(self._refuse(), "client result", self._answering)
            self._refusing.add_done_callback(self._refusing_ended)

    async def _refuse(self) -> None:
        """Answer dropped requests for a client result with an error: a server may wait for the answer for ever."""
        refused = self._client_results.refused
        while refused:
            invocation_id, respond = refused.popleft()
            await respond(invocation_id, None, _BUSY)

    def _refusing_ended(self, _task: asyncio.Task[None]) -> None:
        self._refusing = None
        self._start_refusing()
        self._start_answering()

    async def _answer(self, message: Invocation, respond: Respond) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert message.invocation_id is not None
        if self.set_up is not None and respond == self.respond:
            self.set_up.enter()
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

    # The end of the connection: discarding events, and waiting for handlers

    def discard(self) -> list[asyncio.Task[None]]:
        """Discard all waiting events, and cancel running handlers, except `on_closed` handlers and the calling handler.

        Returns:
            The cancelled tasks. Await these tasks before you report that the connection has stopped.
        """
        caller = running_handler()
        for message in self._queue.messages:
            if message.__class__ is LifecycleEvent and message.name == "closed":
                self.run_apart(message.name, *message.arguments)
        self._queue.clear()
        self._client_results.clear()
        self._queue.take_dropped()
        running = self._workers | self._answering
        if self.set_up is not None and not self.set_up.discarded:
            task = self.set_up.task
            if task is not None and (task is caller or not task.cancelling()):
                self.set_up.discarded = True
                running.add(task)
        tasks = [task for task in running - self._closing if task is not caller]
        self._workers.clear()
        self._answering.clear()
        self._barrier = self._connected = None
        for task in tasks:
            task.cancel()
        self._check_idle()
        return tasks

    def run_apart(self, name: str, *arguments: Any) -> None:
        """Run the handlers of one lifecycle event, such as "closed", in a new task, for which `stop` does not wait."""
        if name in self._handlers.lifecycle:
            _ = spawn(self._tell(name, arguments), f"on_{name}", self._closing)

    async def run_closed(self, error: Exception | None, limit: float | None) -> None:
        """Run the `on_closed` handlers, for at most `limit` seconds, since the event loop may be ending."""
        with suppress(TimeoutError):
            await bounded(
                self._tell("closed", (error,)), limit, whose="an on_closed handler", patience=0.2, log=self._logger
            )

    async def drained(self) -> None:
        """Wait until no event waits and no handler of an event runs. If a handler calls `drained`, return at once.

        Do not wait for the handlers of client results: after the end of the connection nobody reads their answers.
        """
        while self._workers and running_handler() is None:
            future = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future

    def _check_idle(self) -> None:
        if self._idle and not self._workers:
            idle, self._idle = self._idle, []
            for future in idle:
                resolve(future, None)


def with_name(handler: Handler, name: str, *arguments: Any) -> Any:
    """Call an `on_any` handler with the name of the event, and a tuple of its arguments."""
    return handler(name, arguments)


async def _nobody(_invocation_id: str, _result: Any, _error: str | None) -> None:
    """Discard a client result: this function is `Dispatcher.respond` while there is no connection."""
