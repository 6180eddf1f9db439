"""The lines of a file or of standard input as values: for `--upload`, and for the other options that read lines."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import SignalRError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_CHUNK = 64 * 1024
_STANDARD_INPUT = 0
_CHECK_INTERVAL = 0.2  # seconds


class UploadedLines:
    """An async iterable over the values of the lines of a file. A daemon thread reads the file.

    Args:
        name: name of the file; `-` for standard input.
        parse: returns the value of a line, or raises a `ValueError`.

    Attributes:
        error: the fault in the file that has ended the upload; `None` without a fault.
    """

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        # Read the descriptor and not `sys.stdin`: a thread that waits in a read holds the lock of `sys.stdin`, which
        # the interpreter needs at its exit, so that the command would hang.
        self._file = _STANDARD_INPUT if name == "-" else name
        self._parse = parse
        self._name = "standard input" if name == "-" else name
        self._chunks: asyncio.Queue[list[bytes] | OSError | None] = asyncio.Queue()
        self._taken = threading.Semaphore(0)
        self._finished = asyncio.Event()
        self.error: ValueError | None = None

    async def __aiter__(self) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(loop,), name="signalr_sdk input", daemon=True).start()
        number = 0
        try:
            while (lines := await self._chunks.get()) is not None:
                self._taken.release()
                if isinstance(lines, OSError):
                    raise self._fault(f"cannot read {self._name}: {lines.strerror}")
                for line in lines:
                    number += 1
                    yield self._decode(line, number)
        finally:
            self._finished.set()
            self._taken.release()

    async def wait_finished(self) -> None:
        """Wait until the hub connection has fetched the last line, or has stopped the upload earlier."""
        await self._finished.wait()

    def _decode(self, line: bytes, number: int) -> Any:
        try:
            return self._parse(line.removesuffix(b"\r").decode())
        except UnicodeDecodeError:
            raise self._fault(f"line {number} of {self._name} is no UTF-8 text") from None
        except ValueError as error:
            raise self._fault(f"line {number} of {self._name}: {error}") from None

    def _fault(self, text: str) -> ValueError:
        self.error = ValueError(text)
        return self.error

    # The thread that reads the file runs the methods below. They may use the event loop only by `call_soon_threadsafe`.

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        # `call_soon_threadsafe` raises a RuntimeError if the event loop is closed: the command may end while this
        # thread reads or waits.
        with suppress(RuntimeError):
            try:
                for lines in self._read():
                    loop.call_soon_threadsafe(self._chunks.put_nowait, lines)
                    # Wait until the event loop has fetched these lines: otherwise the whole file would fill the memory.
                    # A closed event loop never fetches them, so stop then.
                    while not self._taken.acquire(timeout=_CHECK_INTERVAL):
                        if loop.is_closed():
                            return
            except OSError as error:
                loop.call_soon_threadsafe(self._chunks.put_nowait, error)
            else:
                loop.call_soon_threadsafe(self._chunks.put_nowait, None)

    def _read(self) -> Iterator[list[bytes]]:
        """Read the file in chunks. For each chunk, yield a list of the lines that are complete by then.

        Ends with the file, or earlier if the upload has ended.
        """
        rest = bytearray()
        with open(self._file, "rb", buffering=0, closefd=self._file != _STANDARD_INPUT) as file:
            while not self._finished.is_set() and (chunk := file.read(_CHUNK)):
                rest += chunk
                if b"\n" in chunk:
                    *lines, rest = rest.split(b"\n")
                    yield [bytes(line) for line in lines]
        if rest:
            yield [bytes(rest)]


@contextmanager
def uploaded_lines(
    name: str | None, parse: Callable[[str], Any], *, option: str = "--upload"
) -> Iterator[tuple[UploadedLines, ...]]:
    """Yield a tuple to add to the arguments of a hub call: of one `UploadedLines`, or empty without a file.

    Args:
        name: name of the file whose lines are uploaded; `-` for standard input, `None` for no file.
        parse: returns the value of a line, or raises a `ValueError`.
        option: name of the option that names the file.

    Raises:
        ValueError: there is no such file, or the file cannot be uploaded.
    """
    if name is None:
        yield ()
        return
    if name != "-" and not Path(name).exists():
        raise ValueError(f"{option}: there is no file {name}; - is standard input")
    lines = UploadedLines(name, parse)
    try:
        yield (lines,)
    except SignalRError:
        # A fault in the file ends the upload with an error, and the hub may then fail the call too. Report the fault in
        # the file, not the failed call.
        if lines.error is None:
            raise
    if lines.error is not None:
        raise lines.error
