"""Results on standard output, as JSON; one a line, each flushed, and written so that a slow reader holds up nothing."""

from __future__ import annotations

import asyncio
import base64
import datetime
import functools
import json
import math
import os
import queue
import stat
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any

T = TypeVar("T")

# So many lines may wait for the reader; then what makes them waits too.
_MARK = 1024
# Seconds that those have, once the command is interrupted.
_PATIENCE = 1.0
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class OutputError(Exception):
    """Standard output takes no more.

    Attributes:
        reader_gone: it is a pipe whose reader has left, which is no failure.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.reader_gone = isinstance(error, BrokenPipeError)


def as_json(result: object) -> str:
    """Return a result as JSON; MessagePack brings values that JSON has not."""
    return json.dumps(_plain(result), ensure_ascii=False)


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            # JSON has no other numbers; these are .NET's names for them.
            return value if math.isfinite(value) else _NOT_FINITE[str(value)]
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
        case datetime.datetime():
            return value.isoformat()
        case _:
            return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _line(value: object) -> bytes:
    text = as_json(value)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        return f"{text}\n".encode(encoding)
    except UnicodeEncodeError:
        # Half a surrogate pair, or a terminal that has no such character.
        return f"{json.dumps(_plain(value))}\n".encode()


def print_json(value: object) -> None:
    """Write one result.

    Raises:
        OutputError: it cannot be written.
    """
    write = _raw_writer()
    try:
        write(_line(value))
    except OSError as error:
        raise OutputError(error) from None


def _raw_writer() -> Callable[[bytes], None]:
    """Return what writes to standard output, past Python's buffer.

    A thread that is stuck in a write would hold the lock of that buffer, and with it the end of the process.
    """
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        # Captured in memory.
        return _write_text
    return functools.partial(_write_all, descriptor)


def _write_text(data: bytes) -> None:
    sys.stdout.write(data.decode())


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class JsonLines:
    """Writes values as lines, in a thread; within its context.

    Raises:
        OutputError: standard output takes no more.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._less = asyncio.Event()
        self._broken: asyncio.Future[OSError] = self._loop.create_future()
        self._write = _raw_writer()
        self._watched = _write_only_pipe()
        self._thread = threading.Thread(target=self._run, name="signalr_sdk output", daemon=True)

    async def write(self, value: object) -> None:
        """Hand a value over; wait while too many wait to be written."""
        self._check()
        self._waiting += 1
        self._queue.put(_line(value))
        while self._waiting >= _MARK:
            self._less.clear()
            await self._less.wait()
            self._check()

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; it is cancelled when nobody reads any more."""
        task = asyncio.create_task(work)
        try:
            ends: set[asyncio.Future[Any]] = {task, self._broken}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            self._check()
        return task.result()

    async def __aenter__(self) -> Self:
        self._thread.start()
        if self._watched is not None:
            # The system tells of a reader that leaves, also while there is nothing to write.
            self._loop.add_reader(self._watched, self._fail, BrokenPipeError())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Who interrupts it does not want to wait for a reader that has stopped.
        patience = _PATIENCE if kind is not None and issubclass(kind, asyncio.CancelledError) else None
        try:
            async with asyncio.timeout(patience):
                while self._waiting and not self._broken.done():
                    self._less.clear()
                    await self._less.wait()
        except TimeoutError:
            return
        finally:
            self._queue.put(None)
            self._unwatch()
        if kind is None:
            self._check()

    def _check(self) -> None:
        if self._broken.done():
            raise OutputError(self._broken.result())

    def _wrote(self, count: int) -> None:
        self._waiting -= count
        self._less.set()

    def _fail(self, error: OSError) -> None:
        if not self._broken.done():
            self._broken.set_result(error)
        self._less.set()
        self._unwatch()

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._watched = None

    # In the thread

    def _run(self) -> None:
        # The loop may be gone, if the command was interrupted meanwhile.
        with suppress(RuntimeError):
            while lines := self._take():
                try:
                    self._write(b"".join(lines))
                except OSError as error:
                    self._loop.call_soon_threadsafe(self._fail, error)
                    return
                self._loop.call_soon_threadsafe(self._wrote, len(lines))

    def _take(self) -> list[bytes]:
        """Return all that waits, at least one line; none at the end."""
        lines: list[bytes] = []
        while not lines or not self._queue.empty():
            line = self._queue.get()
            if line is None:
                # Found again by the next call.
                self._queue.put(None)
                break
            lines.append(line)
        return lines


def _write_only_pipe() -> int | None:
    """Return the descriptor of standard output if it is a pipe: waiting until it can be read is waiting for its end."""
    if sys.platform == "win32":
        return None
    # There is no such module on Windows.
    import fcntl

    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return None
    write_only = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    return descriptor if write_only and stat.S_ISFIFO(os.fstat(descriptor).st_mode) else None
