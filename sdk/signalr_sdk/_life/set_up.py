"""`set_up`: runs the `on_setup` handlers on a new connection, before the connection counts as up."""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from .._core.redaction import redact_error
from .._guard.foreign import cut_off, ends_program, error_of, heed_cancellation, spawn_contained
from .._guard.futures import resolve
from .._guard.tasks import retrieve, spawn
from .._sending.outgoing import loss
from ..errors import ConnectionClosedError, SetupError, SignalRError
from .closing import LAST_CHANCE

if TYPE_CHECKING:
    import logging

    from .._core.logs import Log
    from .._receiving.dispatcher import Dispatcher
    from .._receiving.set_up import SetUp
    from .link import Link

    class Close(Protocol):
        """Closes the link of a set-up."""

        async def __call__(self, cause: Exception, /, *, goodbye: bool) -> None: ...


# A program may cancel all tasks, the task that ends a set-up too. That task is then started again, at most this number
# of times.
_TRIES = 3


async def set_up(
    link: Link,
    dispatcher: Dispatcher,
    close: Close,
    *,
    limit: float | None,
    log: Log | logging.Logger,
) -> asyncio.Task[SignalRError | None]:
    """Receive messages, and run the `on_setup` handlers beside. If a handler fails, close the connection.

    Args:
        link: the new connection, on which neither `begin` nor `run` was called.
        dispatcher: calls the handlers, and holds back events. After success, call its `end_set_up`.
        close: closes the link, as `close_link` does.
        limit: seconds for all handlers together; `None` for no limit.
        log: the log of the connection.

    Returns:
        The task that receives: its result is the result of `link.run`.

    Raises:
        SetupError: a handler failed, the time was over, or the connection was lost.
    """
    run = dispatcher.begin_set_up(link)
    stuck: asyncio.Future[SignalRError] = asyncio.get_running_loop().create_future()
    link.stuck = functools.partial(resolve, stuck)
    # Receive in a task of its own, which goes on after the set-up: a receive that is cancelled and started again would
    # lose bytes.
    receiving = spawn(link.run(), "receive")
    receiving.add_done_callback(retrieve)
    end = functools.partial(_end, dispatcher, run, receiving, close, log)
    try:
        link.begin()
        handlers = run.task = spawn_contained(dispatcher.run_set_up(link.connection_id), "an on_setup handler")
        handlers.add_done_callback(retrieve)
        first: set[asyncio.Future[Any]] = {receiving, handlers, stuck}
        await asyncio.wait(first, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if handlers.done() and not handlers.cancelled() and handlers.exception() is None:
            return receiving
        cause = _cause(handlers, receiving, stuck, limit)
    except BaseException:
        await end(ConnectionClosedError("the connection was ended during its set-up"), lost=False)
        raise
    await end(cause, lost=not handlers.done() and (receiving.done() or stuck.done()))
    heed_cancellation()
    text = redact_error(cause) if isinstance(cause, SignalRError) else f"{type(cause).__name__}: {redact_error(cause)}"
    raise SetupError(f"the set-up of the connection failed: {text}") from cause


def _cause(
    handlers: asyncio.Task[None],
    receiving: asyncio.Task[SignalRError | None],
    stuck: asyncio.Future[SignalRError],
    limit: float | None,
) -> Exception:
    """Return the reason why the set-up has failed."""
    if handlers.done():
        return error_of(asyncio.CancelledError() if handlers.cancelled() else _raised(handlers), "an on_setup handler")
    if stuck.done():
        return stuck.result()
    if not receiving.done():
        return TimeoutError(f"the on_setup handlers did not end within {limit} s (Timeouts.setup)")
    if receiving.cancelled():
        return ConnectionClosedError("the task that receives was cancelled", allow_reconnect=True)
    if receiving.exception() is not None:
        return loss("receiving failed", _raised(receiving))
    return receiving.result() or ConnectionClosedError("the server closed the connection", allow_reconnect=False)


def _raised(task: asyncio.Task[Any]) -> BaseException:
    raised = task.exception()
    assert raised is not None
    if ends_program(raised):
        # KeyboardInterrupt or SystemExit has already stopped the event loop. End the current task as cancelled: asyncio
        # cancels every task when the event loop ends.
        raise asyncio.CancelledError from raised
    return raised


async def _end(
    dispatcher: Dispatcher,
    run: SetUp,
    receiving: asyncio.Task[SignalRError | None],
    close: Close,
    log: Log | logging.Logger,
    cause: Exception,
    *,
    lost: bool,
) -> None:
    """End the handlers and the connection of a set-up that has failed or was cancelled."""
    for _ in range(_TRIES):
        ending = spawn(_end_in_order(run, receiving, close, log, cause, lost=lost), "end a set-up")
        # Ignore further cancellations of the current task until all is closed. That has a time limit.
        while not ending.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({ending})
        if not ending.cancelled():
            break
        # The program has cancelled `ending`, perhaps before its first step: end the rest in a new task.
    dispatcher.end_set_up(run, up=False)


async def _end_in_order(
    run: SetUp,
    receiving: asyncio.Task[SignalRError | None],
    close: Close,
    log: Log | logging.Logger,
    cause: Exception,
    *,
    lost: bool,
) -> None:
    if lost:
        # Close the lost connection first: the pending calls of the handlers then raise ConnectionClosedError.
        await close(cause, goodbye=False)
    if run.task is not None and not run.task.done() and not run.discarded:
        await cut_off(run.task, LAST_CHANCE, whose="an on_setup handler", log=log)
    await close(cause, goodbye=True)
    if not receiving.done():
        await cut_off(receiving, LAST_CHANCE, whose="the HTTP client", log=log)
