"""Lets a thread of its own handle the log records of the event loop's thread, so that a log handler may call a hub.

A user's thread that logs holds the lock of the log handler while the handler runs. If the handler calls a hub, this
thread waits for the event loop's thread. So the event loop's thread must not wait for the lock of a log handler when it
logs a record itself: both threads would wait for ever.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import ClassVar

from .daemon_threads import exit_begun, start_thread

# The most log records that may wait for slow log handlers; further records are lost. Without this limit, a log handler
# that sends each record through a hub, whose sending is logged too, would fill the memory.
_MOST_RECORDS = 10_000
# `flush` checks at intervals of this many seconds whether the log thread still runs: after the end of the log thread,
# `flush` would wait in vain until its deadline.
_SLICE = 0.05


class LogThread:
    """A daemon thread that passes the log records of one event loop's thread to the log handlers, in order.

    The thread starts with the first record, and ends after `end`.

    Attributes:
        running: the log threads of this process that have not ended. The exit of the interpreter waits for their
            records.
    """

    running: ClassVar[set[LogThread]] = set()

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._started = False
        self._lost = 0

    def put(self, record: logging.LogRecord) -> None:
        """Let the log thread handle a record. Must be called on the event loop's thread.

        The record is lost if too many records wait. During the exit of the interpreter, which starts no thread any
        more, the record may be handled on the current thread.
        """
        if not self._started:
            if exit_begun.is_set():
                _handle(record)
                return
            self._started = True
            self.running.add(self)
            start_thread(self._run, name="log")
        if self._jobs.qsize() < _MOST_RECORDS:
            self._jobs.put(partial(_handle, record))
        else:
            self._lost += 1

    def end(self) -> None:
        """Let the log thread handle all records that wait, and then end. Must be called on the event loop's thread."""
        self._jobs.put(None)

    def flush(self, until: float) -> None:
        """Block this thread until all waiting records are handled, or `time.monotonic()` has reached `until`."""
        handled = threading.Event()
        self._jobs.put(handled.set)
        while self in self.running and time.monotonic() < until:
            if handled.wait(_SLICE):
                return

    def _run(self) -> None:
        told = 0
        try:
            while (job := self._jobs.get()) is not None:
                job()
                if (lost := self._lost) > told:
                    text = "log handlers are too slow: %d records of the event loop's thread were lost"
                    logging.getLogger("signalr_sdk.hub").warning(text, lost - told)
                    told = lost
        finally:
            self.running.discard(self)


def _handle(record: logging.LogRecord) -> None:
    with suppress(BaseException):  # to log what the user's log handler raised would fail again
        logging.getLogger(record.name).handle(record)


def divert(current_log_thread: Callable[[], LogThread | None]) -> None:
    """Let log threads handle all records that this package logs on event loops' threads.

    Args:
        current_log_thread: returns the log thread of the current thread; `None` if the current thread runs no event
            loop of `signalr_sdk.sync`, and handles its records itself.
    """

    def is_handled_here(record: logging.LogRecord) -> bool:
        log_thread = current_log_thread()
        if log_thread is not None:
            log_thread.put(record)
        return log_thread is None

    for name in ("hub", "transport", "negotiate", "http"):
        # Put this filter before the user's filters on the logger: otherwise the user's filters would see each record
        # twice, on the event loop's thread and on the log thread.
        logging.getLogger(f"signalr_sdk.{name}").filters.insert(0, is_handled_here)
