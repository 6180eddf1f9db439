"""Runs event handlers on one worker thread, and each handler of a client result on a thread of its own.

Received events wait in the bounded queue of the connection, as in the asyncio client. The event loop's thread hands
them to the worker thread in batches, because each switch between the threads is slow. The worker thread gets a batch
only after it has handled the batch before. So the queue fills up while handlers are slow, and the connection pauses
reading. `stop()` discards the events of a batch whose handlers were not called yet.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .._receiving.dispatcher import Dispatcher
from .._receiving.queues import LifecycleEvent
from ..errors import ConnectionClosedError
from ..options import ConnectionState
from .daemon_threads import Worker, call_on_loop, run_on_thread, start_thread
from .plain_functions import as_error, result_of

if TYPE_CHECKING:
    from .._life.managed_connection import ManagedConnection
    from ..interfaces import Handler
    from ..messages import Invocation

# The largest batch for the worker thread: this many events, or events that had this many bytes on the wire. A batch
# without a limit would empty the queue, and the connection would never pause reading.
_EVENTS = 256
_BYTES = 256 * 1024

# On the thread of `on_setup` handlers: a list that is not empty after this thread was abandoned, because the set-up has
# failed while a handler was running.
_abandoned: ContextVar[list[None] | tuple[()]] = ContextVar("signalr_sdk_abandoned", default=())


def check_set_up(connection: ManagedConnection[Any]) -> None:
    """Check that the caller is no `on_setup` handler whose set-up has failed while the handler was running.

    A later connection has a set-up of its own, and must not get the calls of an earlier one.

    Raises:
        ConnectionClosedError: it is one.
    """
    if _abandoned.get() and connection.state is not ConnectionState.DISCONNECTED:
        text = "the connection that this on_setup handler sets up has ended: nothing was sent"
        raise ConnectionClosedError(text, allow_reconnect=True)


class ThreadDispatcher(Dispatcher):
    """A `Dispatcher` of received messages whose handlers are plain functions, which it calls on threads."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._concurrency = 1  # the worker thread handles one event after another
        self._worker: Worker | None = None
        self._batch: deque[Any] = deque()

    # Events

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        queue = self._queue
        try:
            while queue.messages and task in self._workers:
                self._batch = batch = deque(queue.take_many(_EVENTS, _BYTES))
                self._worker = self._worker or Worker("events")
                await self._finish(self._worker.run(functools.partial(self._handle, batch)), task)
                if queue.dropped and queue.caught_up:
                    self.report_dropped(queue.take_dropped())
        finally:
            self._workers.discard(task)
            self._check_idle()

    def _handle(self, batch: deque[Any]) -> None:
        """Call the handlers of a batch of events, one event after another. Runs on the worker thread.

        An exception of a handler is logged and passed to the `on_error` handlers.
        """
        events = self._handlers.events
        while batch:
            try:
                message = batch.popleft()
            except IndexError:  # `discard` has just taken the last event
                return
            if message.__class__ is LifecycleEvent:
                self._call(message.name, message.arguments, batch)
                self._note_told(message)
                continue
            target, arguments = message
            for handler in events.get(target.lower()) or self._fallback(target):
                try:
                    result_of(handler(*arguments))
                except BaseException as raised:  # noqa: BLE001 - a handler may raise anything
                    if self._report(target, as_error(raised), batch):
                        break

    def _call(self, name: str, arguments: tuple[Any, ...], batch: deque[Any] | None = None) -> None:
        """Call all handlers of a lifecycle event, even if one handler fails.

        `name` is the event without `on_`: `closed` for the `on_closed` handlers. Must not run on the event loop's
        thread: a handler that calls the hub waits for that thread, and would wait for ever. `batch` is as for
        `_report`.
        """
        for handler in self._handlers.lifecycle.get(name, ()):
            try:
                result_of(handler(*arguments))
            except BaseException as raised:
                if name == "error":
                    self._logger.exception("an on_error handler failed")
                elif self._report(f"on_{name}", as_error(raised), batch):
                    break

    def _report(self, event: str, error: Exception, batch: deque[Any] | None) -> bool:
        """Report an error of a handler. Return whether the error ends the connection: call no more handlers then.

        Args:
            event: the name of the event.
            error: the error.
            batch: the batch that the worker thread is handling; `None` on another thread.
        """
        if self.fatal is not None and event != "on_closed" and batch is self._batch and self.loop is not None:
            batch.clear()
            call_on_loop(self.loop, self._end_by_batch, batch, event, error)
            return True
        self._logger.error("a handler of '%s' failed: %s", event, error, exc_info=error)
        self._call("error", (error,))
        return False

    def _end_by_batch(self, batch: deque[Any], event: str, error: Exception) -> None:
        if batch is self._batch:  # otherwise `stop` was called meanwhile, and perhaps `start`
            self.end_by(event, error)

    # Set-up and client results

    async def _call_set_up(
        self, handlers: tuple[Handler, ...], connection_id: str | None, task: asyncio.Task[Any]
    ) -> None:
        abandoned: list[None] = []

        # Do not use the worker thread: the handler of an event may be waiting there for this connection.
        def call_all() -> None:
            _abandoned.set(abandoned)
            for handler in handlers:
                if not abandoned:  # otherwise the handler before took too long, and the connection is closed
                    result_of(handler(connection_id))

        try:
            await self._finish(run_on_thread(call_all, "set-up"), task)
        except BaseException:
            abandoned.append(None)
            raise

    async def _ask(self, handler: Handler, message: Invocation, task: asyncio.Task[Any]) -> Any:
        job = run_on_thread(lambda: result_of(handler(*message.arguments)), "client result")
        return await self._finish(job, task)

    # The end

    def discard(self) -> list[asyncio.Task[None]]:
        """Discard all events whose handlers were not called yet, and end the worker thread.

        If a handler is running, the worker thread ends after this handler. The `closed` event is not discarded: its
        `on_closed` handlers run on a thread of their own.
        """
        batch, self._batch = self._batch, deque()
        while batch:
            try:
                message = batch.popleft()
            except IndexError:  # the worker thread has just taken the last event
                break
            if message.__class__ is LifecycleEvent and message.name == "closed":
                self.run_apart(message.name, *message.arguments)
        if self._worker is not None:
            self._worker.end()
            self._worker = None
        return super().discard()

    def run_apart(self, name: str, *arguments: Any) -> None:
        """Call the handlers of a lifecycle event on a new thread, and do not wait for them.

        `name` is, for example, `closed` for the `on_closed` handlers.
        """
        if name in self._handlers.lifecycle:
            start_thread(self._call, name, arguments, name=f"on_{name}")
