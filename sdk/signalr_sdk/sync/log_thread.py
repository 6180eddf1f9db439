"""Log records of the loop's thread are handled on a thread of their own, where a log handler may call a hub.

A log handler has a lock. A thread that logs holds the lock while the handler runs; if the handler calls a hub, the
thread waits for the loop's thread, which must not wait for the lock to log a record of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, ClassVar

from .daemon_threads import has_exit_begun, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

# So many records may wait for slow handlers; the next ones are lost. A handler that sends each record through a hub
# whose sending is logged too would else fill the memory.
_MOST_RECORDS = 10_000
# How often a thread that waits for the last record looks whether the log thread still runs, in seconds.
_SLICE = 0.05


class LogThread:
    """A daemon thread that hands the log records of one loop's thread to their handlers, in order.

    The thread starts with the first record and ends after `end`.

    Attributes:
        running: the log threads of this process that have not ended.
    """

    running: ClassVar[set[LogThread]] = set()

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._started = False
        self._lost = 0

    def put(self, record: logging.LogRecord) -> None:
        """Have a record handled, soon and on the log thread. Only for the loop's thread."""
        if not self._started:
            if has_exit_begun():
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
        """Let the thread end after the records that it has. Only for the loop's thread."""
        self._jobs.put(None)

    def flush(self, until: float) -> None:
        """Return when all records are handled, or at this time of `time.monotonic`."""
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


class Diversion(logging.Filter):
    """Takes the records of a loop's thread out of a logger, which gets them back on the log thread.

    Args:
        log_thread: returns the log thread if the current thread is a loop's thread.
    """

    def __init__(self, log_thread: Callable[[], LogThread | None]) -> None:
        super().__init__()
        self._log_thread = log_thread

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be handled on this thread."""
        log_thread = self._log_thread()
        if log_thread is None:
            return True
        log_thread.put(record)
        return False


def divert(log_thread: Callable[[], LogThread | None]) -> None:
    """Have the records that the package logs on a loop's thread handled on its log thread."""
    for name in ("hub", "transport", "negotiate", "http"):
        # First, so that all other filters of the logger run once, on the log thread.
        logging.getLogger(f"signalr_sdk.{name}").filters.insert(0, Diversion(log_thread))
