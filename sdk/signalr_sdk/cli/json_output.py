"""Writes results as JSON to standard output. `JsonLines` writes each result as a line, in a thread of its own.

The thread keeps a slow reader of the output from blocking the event loop. Every line is flushed at once. While the
reader is slow `JsonLines.write` waits; if the reader leaves, the command ends.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import functools
import json
import math
import os
import queue
import re
import select
import stat
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .._guard.futures import resolve
from .._guard.tasks import spawn
from .colors import paint_json, stdout_has_colors

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

# With this many queued lines `JsonLines.write` waits: a slow reader of the output must not fill the memory.
_LIMIT = 1024
# After Ctrl-C the output thread has this many seconds to write the queued lines. Lines that are not written by then are
# lost.
_INTERRUPT_GRACE = 1.0
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class OutputError(Exception):
    """Standard output cannot be written to.

    Attributes:
        reader_gone: whether standard output is a pipe whose reader has left, which is no failure.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.reader_gone: bool = isinstance(error, BrokenPipeError)


def as_json(result: object) -> str:
    r"""Return a result as JSON. Characters that could control a terminal are escaped, for example as `\u009b`.

    A value that JSON cannot hold, for example bytes of MessagePack, becomes a text.
    """
    text = json.dumps(_plain(result), ensure_ascii=False)
    # Escape the characters that are not printable: a hub could use them to control the user's terminal. In a JSON text
    # such characters are only inside of strings, and JSON allows escapes there.
    return text if text.isprintable() else _NOT_ASCII.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            # JSON has no NaN and no infinite numbers. Write them as the same strings as .NET, for example "NaN".
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
        # Encode the plain text first: colours must not hide that a character has no encoding.
        plain = f"{text}\n".encode(encoding)
        return f"{paint_json(text)}\n".encode(encoding) if stdout_has_colors() else plain
    except UnicodeEncodeError:
        # Standard output's encoding lacks a character of the text, or the text has half a surrogate pair. Escape all
        # characters but ASCII, so that the command does not fail.
        return f"{json.dumps(_plain(value))}\n".encode()


def print_json(value: object) -> None:
    """Write one result to standard output, as a line of JSON.

    Raises:
        OutputError: standard output cannot be written to.
    """
    write = _raw_writer()
    try:
        write(_line(value))
    except OSError as error:
        raise OutputError(error) from None


def _raw_writer() -> Callable[[bytes], None]:
    """Return a function that writes bytes to standard output, without the buffer of `sys.stdout`.

    A thread that is blocked in a write to `sys.stdout` holds the lock of this buffer. The interpreter needs the lock
    at its exit, so the command would hang.
    """
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        # `sys.stdout` has no file descriptor: a test, for example, has replaced `sys.stdout` by an object in memory.
        return _write_text
    return functools.partial(_write_all, descriptor)


def _write_text(data: bytes) -> None:
    sys.stdout.write(data.decode())


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Another process that has the same pipe, for example Node.js, has made the pipe non-blocking.
            select.select([], [descriptor], [])


class JsonLines:
    """Writes results as lines, in a daemon thread. At the end of `async with` it waits until the last line is written.

    Raises:
        OutputError: standard output cannot be written to. Raised by `write`, by `run` and at the end of `async with`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._progress = asyncio.Event()
        self._broken: asyncio.Future[OSError] = self._loop.create_future()
        self._write = _raw_writer()
        self._watched = _write_only_pipe()
        self._thread = threading.Thread(target=self._run_thread, name="signalr_sdk output", daemon=True)

    async def write(self, value: object) -> None:
        """Queue a result for the output thread; wait while `_LIMIT` or more results are queued."""
        self._check()
        self._waiting += 1
        self._queue.put(_line(value))
        while self._waiting >= _LIMIT:
            await self._wait_progress()
            self._check()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` and return its result. Cancel `work` as soon as standard output cannot be written to."""
        task = spawn(work, "output")
        try:
            ends: set[asyncio.Future[Any]] = {task, self._broken}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if has_lost := not task.done():
                task.cancel()
                await asyncio.wait({task})
        if has_lost:
            self._check()
        return task.result()

    async def __aenter__(self) -> Self:
        self._thread.start()
        if self._watched is not None:
            # Standard output is a pipe: watch the pipe. Otherwise the command would notice only at its next line that
            # the reader of the pipe has left.
            self._loop.add_reader(self._watched, self._fail, BrokenPipeError())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        # After Ctrl-C wait only for a short time for the queued lines: if the reader of the output has stopped reading,
        # the command would never end.
        grace = _INTERRUPT_GRACE if kind is not None and issubclass(kind, asyncio.CancelledError) else None
        try:
            async with asyncio.timeout(grace):
                while self._waiting and not self._broken.done():
                    await self._wait_progress()
        except TimeoutError:
            return
        finally:
            self._queue.put(None)
            self._unwatch()
        if kind is None:
            self._check()

    async def _wait_progress(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    def _check(self) -> None:
        if self._broken.done():
            raise OutputError(self._broken.result())

    def _wrote(self, count: int) -> None:
        self._waiting -= count
        self._progress.set()

    def _fail(self, error: OSError) -> None:
        resolve(self._broken, error)
        self._progress.set()
        self._unwatch()

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            self._watched = None

    # The output thread runs the methods below. They may use the event loop only by `call_soon_threadsafe`.

    def _run_thread(self) -> None:
        # `call_soon_threadsafe` raises a RuntimeError if the event loop is closed: after Ctrl-C this thread may still
        # be writing when the command ends.
        with suppress(RuntimeError):
            while lines := self._take():
                try:
                    self._write(b"".join(lines))
                except OSError as error:
                    self._loop.call_soon_threadsafe(self._fail, error)
                    return
                self._loop.call_soon_threadsafe(self._wrote, len(lines))

    def _take(self) -> list[bytes]:
        """Wait until a line is queued, and return all queued lines; return an empty list after the last line."""
        lines: list[bytes] = []
        while not lines or not self._queue.empty():
            line = self._queue.get()
            if line is None:
                # Put the end mark `None` back into the queue: the next call must find it and return an empty list,
                # which ends the output thread.
                self._queue.put(None)
                break
            lines.append(line)
        return lines


def _write_only_pipe() -> int | None:
    """Return the descriptor of standard output if this is a write-only pipe, otherwise `None`.

    The descriptor becomes readable when the reader closes the pipe.
    """
    if sys.platform == "win32":
        return None
    # Import `fcntl` only here: Windows does not have this module.
    import fcntl

    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return None
    write_only = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    return descriptor if write_only and stat.S_ISFIFO(os.fstat(descriptor).st_mode) else None
