"""`Supervisor`: runs one task that connects, reconnects after each loss, and ends when the connection has ended.

Only the `Supervisor` changes the state of the connection (`_core.lifecycle`).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from .._core import urls
from .._core.lifecycle import Event, State
from .._guard import foreign
from .._guard.futures import fail, resolve
from .._guard.loops import running_loop
from .._guard.tasks import end_tasks, retrieve, spawn, warn_of_left
from .._receiving.dispatcher import running_handler
from ..errors import ConnectionClosedError, SignalRError, StateError
from ..options import ConnectionState
from .closing import LAST_CHANCE, close_link
from .connector import Connector
from .link import Link
from .reasons import CANCELLED, ended_early, given_up, log_level, wrapped
from .status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._connecting.options import ConnectionOptions
    from .._receiving.dispatcher import Dispatcher
    from .attempts import Attempts
    from .link import NotResumed

L = TypeVar("L", bound=Link)


class Supervisor(Status[L]):
    """Starts a connection, reconnects after a loss if the retry policy allows a reconnect, and stops the connection.

    A `Link` is the connection from a handshake to the next loss; a reconnect makes a new link.

    Args:
        connect: makes one attempt to connect, and returns a `Link` whose handshake is done. If `connect` is cancelled,
            it must leave no connection open.
        options: the options of the connection.
        dispatcher: runs the lifecycle handlers.
        attempts: counts attempts, and asks the retry policies.
        shows_resuming: whether users see a connection as reconnecting while it is resumed, and not as connected.
    """

    def __init__(
        self,
        connect: Callable[[], Coroutine[Any, Any, L]],
        *,
        options: ConnectionOptions,
        dispatcher: Dispatcher,
        attempts: Attempts,
        shows_resuming: bool = False,
    ) -> None:
        resuming = ConnectionState.RECONNECTING if shows_resuming else ConnectionState.CONNECTED
        super().__init__(options, dispatcher, resuming)
        self._shows_resuming = shows_resuming
        # The connection that is being resumed, if users see this: `link` is `None` then.
        self._suspended: L | None = None
        self._connect_once = connect
        self._options = options
        self._logger = options.logs.hub
        self._attempts = attempts
        self._main: asyncio.Task[None] | None = None
        # All running tasks that connect and reconnect: `_main`, which belongs to the latest `start`, and tasks of
        # earlier calls of `start`, which are still closing their transports.
        self._mains: set[asyncio.Task[None]] = set()
        self._cancelled: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[None] | None = None
        # If the program cancels `_stopping`, the task that stops the connection, then `_main` must finish the stop. If
        # `_main` takes too long, this timer starts a new task that finishes the stop.
        self._replacing: asyncio.TimerHandle | None = None
        self._connector = self._new_connector()
        # The task that receives, if it was begun before a set-up: `_main` awaits this task.
        self._receiving: asyncio.Task[SignalRError | None] | None = None
        # The connection that `reconnect` or `end_by` has given up, until `_main` has closed it.
        self._given_up: L | None = None
        # The time limit around a stateful reconnect: `reconnect` lets this limit expire.
        self._resuming: asyncio.Timeout | None = None

    def _new_connector(self) -> Connector[L]:
        return Connector(self._connect_once, options=self._options, dispatcher=self._dispatcher)

    # Start and stop, as called by the user

    async def start(self) -> None:
        """See `HubConnection.start`."""
        if self.lifecycle.state is not State.DISCONNECTED:
            raise StateError(f"start() needs a connection that is disconnected, not {self.lifecycle.public}")
        loop = running_loop()
        self.lifecycle.fire(Event.START)
        self.loop = loop
        self._dispatcher.begin(loop)
        self.thread = get_ident()
        self.closed = loop.create_future()
        self._attempts.begin()
        self._hint = ""
        self._connector = self._new_connector()
        started: asyncio.Future[None] = loop.create_future()
        main = self._new_main(self._live(started, functools.partial(self._first_link, self._main)))
        main.add_done_callback(functools.partial(self._note_main_over, started))
        try:
            await started
        except asyncio.CancelledError:
            main.cancel()
            # Ignore further cancellations of `start` until the task `main` has ended, so that no transport stays open.
            # `main` ends soon, because closing a transport has a time limit.
            while not main.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({main})
            raise
        except ConnectionClosedError:
            if self._stopping is not None:
                # `stop` has ended this `start`, and is still closing the connection: wait, so that the caller may call
                # `start` again at once.
                await self.stop()
            raise

    def _new_main(self, life: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        main = self._main = spawn(life, "connection", self._mains)
        main.add_done_callback(retrieve)
        return main

    def _note_main_over(self, started: asyncio.Future[None], main: asyncio.Task[None]) -> None:
        # If the program cancels the task `main` before its first step, the task runs no code. Without this callback,
        # `start`, which waits for `main` to connect, would never return.
        if self._main is main and self.lifecycle.state is State.CONNECTING:
            self._end_start(started, None)
        fail(started, ended_early(self.lifecycle.state))

    async def stop(self) -> None:
        """See `HubConnection.stop`."""
        if self._stopping is None:
            if self.lifecycle.state is State.DISCONNECTED:
                await self._end_remains()
                return
            live = self.lifecycle.state is State.CONNECTED
            self.lifecycle.fire(Event.STOP)
            if not live and self._main is not None:
                # Cancel the attempt to connect before the next `await`: otherwise the attempt may succeed during the
                # `await`, and the connection would be up in spite of `stop`.
                self._main.cancel()
            self._cancelled = self._dispatcher.discard()
            # After `reconnect`, `_main` may not have begun to close the connection that was given up: close it here.
            link = self.link or self._suspended or self._given_up
            self.link = self._suspended = self._given_up = None
            self._stopping = spawn(self._shut_down(link, self._cancelled), "stop")
            self._stopping.add_done_callback(functools.partial(self._note_stopped, link))
        elif running_handler() in self._cancelled:
            # The caller is a handler. An earlier call of `stop` has cancelled this handler, and waits until it ends.
            # Return: otherwise the handler and the earlier call would wait for each other for ever.
            return
        stopping = self._stopping
        await asyncio.wait({stopping})
        while self._stopping is stopping and (tasks := self._unfinished()):
            # The program has cancelled `stopping`, the task that stops the connection. `_main` finishes the stop, or a
            # new task if `_main` takes too long: wait for these tasks.
            await asyncio.wait(tasks, timeout=LAST_CHANCE)

    async def _end_remains(self) -> None:
        """Do what `stop` does after the connection has ended: cancel handlers, and wait until transports are closed."""
        await self._end_tasks({*self._dispatcher.discard(), *self._unfinished()}, self._timeouts.close)

    def _unfinished(self) -> set[asyncio.Task[None]]:
        # A task that is done is still in `_mains` until its done callbacks have run: one of them may start a successor.
        loop = asyncio.get_running_loop()
        return {main for main in self._mains if main.get_loop() is loop}

    async def _shut_down(self, link: L | None, handlers: list[asyncio.Task[None]]) -> None:
        stopped = ConnectionClosedError("stop() was called")
        self._fail_waiters(stopped)
        time = asyncio.get_running_loop().time
        end = None if self._timeouts.close is None else time() + self._timeouts.close
        if link is not None:
            await self._close(link, stopped, goodbye=True)
        # Call `discard` a second time: while the connection was closing, new handlers may have begun, for an event or
        # for an error. These handlers must be cancelled too.
        tasks = {*handlers, *self._dispatcher.discard(), *self._unfinished()}
        in_time = True
        while tasks and in_time:
            in_time = await self._end_tasks(tasks, None if end is None else max(end - time(), 0))
            tasks = set(self._dispatcher.discard())
        if not in_time:
            self._logger.info("stop() took longer than %s s and dropped the connection", self._timeouts.close)

    async def _end_tasks(self, tasks: set[asyncio.Task[None]], limit: float | None) -> bool:
        """Wait until tasks have ended. After `limit` seconds, cancel them, and leave behind what still runs.

        Returns:
            Whether all tasks ended within the limit.
        """
        in_time = not tasks or not (await asyncio.wait(tasks, timeout=limit))[1]
        self._leave_behind(await end_tasks(tasks, 0.0, LAST_CHANCE))
        return in_time

    def _leave_behind(self, tasks: set[asyncio.Task[None]]) -> None:
        self._mains -= tasks
        named: set[asyncio.Task[Any]] = set(tasks)
        if self._main in tasks:
            if self._receiving is not None and not self._receiving.done():
                # `_main` waits for this task, in which users' code runs: name that place in the warning.
                named = named - {self._main} | {self._receiving}
            self._main = None
        warn_of_left(named, self._logger)

    def _note_stopped(self, link: L | None, stopping: asyncio.Task[None]) -> None:
        if self._stopping is not stopping:
            return
        if stopping.cancelled() and self._main is not None:
            # The program has cancelled `stopping`, the task that stops the connection. Let the task `_main` finish the
            # stop. Do not start a new task: if the event loop is ending, nobody would wait for the new task.
            self._main.cancel()
            if self._main.done():
                self._finish_stop(link, self._main)
            else:
                loop = stopping.get_loop()
                self._replacing = loop.call_later(LAST_CHANCE, self._finish_stop, link, self._main)
            return
        # Read `was_connected` first: a log handler may call `start`.
        was_connected = self._attempts.was_connected
        self._end_stop()
        if was_connected:
            self._dispatcher.run_apart("closed", None)

    def _finish_stop(self, link: L | None, main: asyncio.Task[None]) -> None:
        if self._main is not main or self._stopping is None:
            return
        if not main.done():
            self._leave_behind({main})
        stopped = ConnectionClosedError("stop() was called")
        # If the program cancels the new task before its first step, the task runs no code. Then make another new task:
        # otherwise the state would stay DISCONNECTING.
        self._new_main(self._abandon(link, stopped)).add_done_callback(functools.partial(self._finish_stop, link))

    def _end_stop(self) -> None:
        self.lifecycle.fire(Event.CLOSED)
        if self._replacing is not None:
            self._replacing.cancel()
            self._replacing = None
        self._stopping, self._cancelled = None, []
        self._end_waits(None)
        self._logger.info("stopped")

    # The task `_main`: connecting, running a link, reconnecting, ending

    @property
    def _is_superseded(self) -> bool:
        """Whether another task has replaced the current task as `_main`.

        This happens after users' code in the current task has ignored its cancellation.
        """
        return asyncio.current_task() is not self._main

    async def _live(
        self,
        started: asyncio.Future[None],
        next_link: Callable[[], Coroutine[Any, Any, L | None]],
        link: L | None = None,
    ) -> None:
        """Connect, receive, and reconnect after each loss. Return when the connection has ended for good.

        This coroutine is the task `_main`. A `Link` is the connection from a handshake to the next loss.

        Args:
            started: a future that is resolved when the first `Link` is live.
            next_link: returns the first `Link`, with its handshake done; `None` if the connection has ended.
            link: a lost `Link` that `next_link` is to close. If `next_link` fails, `_live` closes this `Link`.
        """
        try:
            link = await next_link()
            while link is not None:
                self._go_live(link)
                resolve(started, None)
                link = await self._live_once(link)
        except BaseException as raised:
            if not foreign.is_closing(raised) and not self._is_superseded:
                await self._fail(started, link, raised)
            if foreign.ends_program(raised) or foreign.is_closing(raised):
                raise

    async def _fail(self, started: asyncio.Future[None], link: L | None, raised: BaseException) -> None:
        """End the connection after `_main` was cancelled or failed with an unexpected exception."""
        cancelled = isinstance(raised, asyncio.CancelledError)
        if cancelled:
            foreign.forgive_cancellation()
        failed = self._dispatcher.failed
        if self.lifecycle.state is State.CONNECTING:
            self._end_start(started, failed or (None if cancelled else raised))
            return
        if failed is not None and self.lifecycle.state is not State.DISCONNECTING:
            await self._end_by_handler(link, failed)
            return
        if cancelled and self.lifecycle.state is not State.DISCONNECTING:
            self._hint = f"; {CANCELLED}"
        if isinstance(raised, Exception):
            self._logger.error("the connection failed", exc_info=raised)  # a bug in the package
        ended = ConnectionClosedError(CANCELLED)
        await self._abandon(link, ended if cancelled else wrapped(raised))

    async def _abandon(self, link: L | None, cause: SignalRError) -> None:
        """End the connection at once, in any state.

        `_abandon` starts no tasks, since the event loop may be ending. While `stop` is running and not cancelled,
        `_abandon` does nothing, since `stop` ends the connection.
        """
        stopping, state, was_connected = self._stopping, self.lifecycle.state, self._attempts.was_connected
        if state is State.DISCONNECTED or (stopping is not None and not stopping.cancelling()):
            return
        self.link = self._suspended = None
        _ = self._dispatcher.discard()
        error = None if state is State.DISCONNECTING else cause
        if state is not State.DISCONNECTING:
            self.lifecycle.fire(Event.GIVEN_UP if state is State.RECONNECTING else Event.LOST_FOR_GOOD)
            self._end_waits(cause)
            self._logger.info("the connection has ended: %s", cause)
        try:
            if link is not None:
                await self._close(link, cause, goodbye=False)
        finally:
            # In `finally`, because the program may cancel the current task during `_close`. Without the calls in this
            # block, the state would stay DISCONNECTING, and no `on_closed` handler would run.
            if state is State.DISCONNECTING:
                self._end_stop()
            if was_connected:
                await self._dispatcher.run_closed(error, self._timeouts.close)

    async def _first_link(self, previous: asyncio.Task[None] | None) -> L:
        if previous is not None and not previous.done() and previous.get_loop() is self.loop:
            # The task of the previous `start` may still be closing its transport. Wait for this task, so that the
            # connection never has two open transports.
            await asyncio.wait({previous})
        while True:
            try:
                return await self._connector.connect()
            except Exception as error:
                delay = self._attempts.delay_of_start(error)
                foreign.heed_cancellation()  # the retry policy may have called `stop`
                if delay is None:
                    raise
                text = "the connection could not be started, next attempt in %.1f s: %s"
                self._logger.log(log_level(error), text, delay, error)
            await self._connector.sleep(delay)
            self._attempts.count += 1

    def _go_live(self, link: L) -> None:
        again = self.lifecycle.state is State.RECONNECTING
        self.lifecycle.fire(Event.CONNECT_OK)
        self.link = link
        self.links += 1
        self._attempts.note_up()
        connection_id = link.connection_id
        self._dispatcher.push_lifecycle("connected", connection_id)
        if again:
            self._dispatcher.push_lifecycle("reconnected", connection_id)
        link.stuck = functools.partial(self._replace_stuck, link)
        if self._connector.receiving is None:
            link.begin()
        elif self._dispatcher.set_up is not None:
            self._dispatcher.end_set_up(self._dispatcher.set_up, up=True)
        link.go_live()
        self._wake_waiters()
        if self._logger.isEnabledFor(logging.INFO):
            url, kind = urls.without_query(self._options.url), link.transport_kind
            self._logger.info("connected to %s over %s (%s)", url, kind, connection_id or "no id")

    async def _live_once(self, link: L) -> L | None:
        """Receive until the connection is lost, then reconnect. Return the new `Link`; `None` if not reconnected."""
        while True:
            self._receiving, self._connector.receiving = self._connector.receiving, None
            error = await (self._receiving or link.run())
            if self._is_superseded:
                return None
            # Users' code in `link.run` may have ignored the cancellation of this task: end the connection now.
            foreign.heed_cancellation()
            foreign.forget_locals(error)
            if self._dispatcher.failed is not None and self.lifecycle.state is not State.DISCONNECTING:
                await self._end_by_handler(link, self._dispatcher.failed)
                return None
            cause = error or ConnectionClosedError("the server closed the connection", allow_reconnect=False)
            self._attempts.note_lost()
            if not link.is_resumable or self.lifecycle.state is not State.CONNECTED:
                break
            self._begin_resuming(link, cause)
            not_resumed = await self._resume(link, cause)
            if self._given_up is link:
                break
            if not_resumed is not None:
                return await self._lose(link, not_resumed.error, not_resumed.delay)
            self._end_resuming(link)
        return await self._lose(link, cause, self._delay(link, cause), in_order=error is None)

    def _delay(self, link: L, cause: SignalRError) -> float | None:
        """Ask the retry policy after a loss, unless the user has called `stop` or `reconnect` already."""
        if self.lifecycle.state is State.DISCONNECTING or self._given_up is link:
            return None
        return self._attempts.delay(cause)

    def _begin_resuming(self, link: L, cause: SignalRError) -> None:
        self.lifecycle.fire(Event.LOST_RESUMABLE)
        if self._shows_resuming:
            self.link, self._suspended = None, link
            self._logger.warning("the transport is lost: %s", cause)
            self._dispatcher.push_lifecycle("reconnecting", cause)

    def _end_resuming(self, link: L) -> None:
        self.lifecycle.fire(Event.RESUMED)
        self._attempts.note_up()
        if self._shows_resuming:
            self.link, self._suspended = link, None
            self._dispatcher.push_lifecycle("reconnected", link.connection_id)
            self._wake_waiters()

    async def _resume(self, link: L, cause: SignalRError) -> NotResumed | None:
        """Try to resume a lost connection. Return early, if `reconnect` gives up the connection meanwhile."""
        try:
            async with asyncio.timeout(None) as self._resuming:
                return await link.resume(cause, self._attempts)
        except TimeoutError:
            if self._given_up is not link:
                raise
            return None
        finally:
            self._resuming = None

    async def _replace(self, link: L) -> L | None:
        """Close a connection that `reconnect` has given up, and make a new one at once."""
        await self._close(link, given_up(), goodbye=True, answer=False)
        self._given_up = None
        return await self._reconnect(0.0)

    def _replace_stuck(self, link: L, error: SignalRError) -> None:
        """Reconnect in a new task, because users' code in the task `_main` ignores its cancellation."""
        main = self._main
        if main is None or main.done() or link not in (self.link, self._given_up):
            return
        self._leave_behind({main})
        started: asyncio.Future[None] = main.get_loop().create_future()
        started.set_result(None)
        following = functools.partial(self._after_stuck, link, error)
        self._continue(link, self._live(started, following, link))

    def _continue(self, link: L, life: Coroutine[Any, Any, None]) -> None:
        """Make a new `_main`. If the program cancels the task before its first step, end the connection in another."""

        def note_over(main: asyncio.Task[None]) -> None:
            if self._main is main and self.lifecycle.state not in (State.DISCONNECTED, State.DISCONNECTING):
                self._continue(link, self._abandon(link, ConnectionClosedError(CANCELLED)))

        self._new_main(life).add_done_callback(note_over)

    async def _after_stuck(self, link: L, error: SignalRError) -> L | None:
        if self.lifecycle.state is State.DISCONNECTING:
            # `stop` was called before the first step of this task: for example, by a log handler that got the warning
            # of `_leave_behind`.
            return None
        self._attempts.note_lost()
        if self._dispatcher.failed is not None:
            await self._end_by_handler(link, self._dispatcher.failed)
            return None
        return await self._lose(link, error, self._delay(link, error))

    async def _lose(self, link: L, error: SignalRError, delay: float | None, *, in_order: bool = False) -> L | None:
        """Close a lost connection, and reconnect. Return the new `Link`; `None` if there is no new connection.

        Args:
            link: the lost connection.
            error: why the connection was lost.
            delay: seconds until the first attempt to reconnect; `None` to end the connection instead.
            in_order: whether the server closed the connection without an error. If the connection ends then, the user
                is told of no error.
        """
        # Users' code may have called `stop` or `reconnect` meanwhile, the retry policy too: with an eager task factory,
        # a task that the policy makes runs at once.
        if self.lifecycle.state is State.DISCONNECTING:
            return None
        if self._given_up is link:
            return await self._replace(link)
        if delay is None:
            self.link = self._suspended = None
            self.lifecycle.fire(Event.LOST_FOR_GOOD)
            self._report_end(None if in_order else error)
            await self._close(link, error, goodbye=False)
            return None
        self._begin_reconnecting(error, delay)
        time = asyncio.get_running_loop().time
        due = time() + delay
        await self._close(link, error, goodbye=False)
        return await self._reconnect(due - time())

    def _begin_reconnecting(self, error: SignalRError, delay: float) -> None:
        self.link = self._suspended = None
        resuming = self.lifecycle.state is State.RESUMING
        self.lifecycle.fire(Event.RESUME_REFUSED if resuming else Event.LOST)
        self._logger.warning("the connection is lost, next attempt in %.1f s: %s", delay, error)
        if not (resuming and self._shows_resuming):
            self._dispatcher.push_lifecycle("reconnecting", error)

    async def _reconnect(self, delay: float) -> L | None:
        while True:
            await self._connector.sleep(delay)
            self._attempts.count += 1
            try:
                return await self._connector.connect()
            except Exception as error:  # noqa: BLE001 - the retry policy decides about every error
                again = self._attempts.delay(error)
                foreign.heed_cancellation()  # the retry policy may have called `stop`
                if again is None:
                    self.lifecycle.fire(Event.GIVEN_UP)
                    self._report_end(error if isinstance(error, SignalRError) else wrapped(error))
                    return None
                delay = again
                count, text = self._attempts.count, "attempt %d failed, next in %.1f s: %s"
                self._logger.log(log_level(error), text, count, delay, error)

    def end_by(self, _error: Exception) -> None:
        """End the connection, because a handler has raised `Dispatcher.failed` (`handler_errors="raise"`)."""
        if self.link is not None and self.lifecycle.state is State.CONNECTED:
            # Do not cancel `_main`: users' code in `link.run` may ignore that. `lose` then calls `link.stuck`.
            link = self._given_up = self.link
            self.link = None
            link.lose(ConnectionClosedError("a handler failed", allow_reconnect=False))
        elif self._main is not None and self.lifecycle.state not in (State.DISCONNECTED, State.DISCONNECTING):
            self._main.cancel()

    async def _end_by_handler(self, link: L | None, error: Exception) -> None:
        state = self.lifecycle.state
        if state is not State.DISCONNECTED:
            self.link = self._suspended = None
            self.lifecycle.fire(Event.GIVEN_UP if state is State.RECONNECTING else Event.LOST_FOR_GOOD)
            self._report_end(error)
            if link is not None:
                await self._close(link, error, goodbye=True)

    def _report_end(self, error: Exception | None) -> None:
        self._end_waits(error)
        self._dispatcher.push_lifecycle("closed", error)
        # Log last: a log handler may call `start`, and a connection that has begun anew must not be ended.
        self._logger.info("the connection has ended: %s", error or "the server closed it in good order")

    async def _close(self, link: L, cause: Exception, *, goodbye: bool, answer: bool = True) -> None:
        limit, log = self._timeouts.close, self._logger
        await close_link(link, cause, goodbye=goodbye, answer=answer, limit=limit, log=log)

    def _end_start(self, started: asyncio.Future[None], raised: BaseException | None) -> None:
        """End a `start` that did not succeed: all attempts failed, or `_main` was cancelled."""
        self.lifecycle.fire(Event.CONNECT_FAILED)
        error: Exception = ended_early(self.lifecycle.state)
        if isinstance(raised, Exception):
            error = raised
        elif raised is not None:
            error.__cause__ = raised
        self._end_waits(error)
        fail(started, error)

    def _end_waits(self, error: Exception | None) -> None:
        """Wake every caller that waits for the connection or for its events, because the connection has ended."""
        self.loop = self._given_up = None
        failed = self._dispatcher.failed
        self._fail_waiters(error)
        if self.closed is not None:
            resolve(self.closed, error if isinstance(error, SignalRError) or error is failed else None)
        self._dispatcher.end_subscriptions(failed)

    # Reconnecting, as called by the user

    async def reconnect(self) -> None:
        """See `HubConnection.reconnect`."""
        state = self.lifecycle.state
        if self._dispatcher.in_set_up:
            raise StateError("an on_setup handler cannot call reconnect(): raise an error to end the new connection")
        if state in (State.DISCONNECTED, State.DISCONNECTING):
            raise StateError(f"reconnect() needs a connection, not one that is {self.lifecycle.public}: start() it")
        if state in (State.CONNECTED, State.RESUMING) and self._dispatcher.failed is None:
            self._give_up()
        self._connector.hurry()
        await self.wait_connected()

    def _give_up(self) -> None:
        link = self._given_up = self.link or self._suspended
        error = given_up()
        self._begin_reconnecting(error, 0.0)
        if link is not None:
            link.lose(error)
        if self._resuming is not None:
            self._resuming.reschedule(-math.inf)
