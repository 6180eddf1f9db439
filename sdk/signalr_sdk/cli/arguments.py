"""Arguments of hub methods from the command line: values, and lines that are uploaded as a stream."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import re
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from .. import SignalRError
from . import options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

_NUMBER = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?")
_PIECE = 64 * 1024
_STANDARD_INPUT = 0
_LOOK = 0.2  # seconds

# A negative number is an argument of the hub method, not an option.
CONTEXT = {"ignore_unknown_options": True}

Context: TypeAlias = typer.Context

Method = Annotated[str, typer.Argument(metavar="METHOD", help="The hub method.", show_default=False)]
Args = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ARGS]...", help="Its arguments: JSON, else plain text.", show_default=False),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--upload",
        metavar="FILE",
        help="Stream the lines of a file, - for standard input, as the last argument.",
        show_default=False,
    ),
]


def argument(text: str) -> Any:
    """Return the value that an argument of the command line stands for."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    # `NaN` and `Infinity` are no JSON: they are text here, as on the wire.
    raise ValueError(name)


def values(args: Sequence[str] | None, given: Sequence[str]) -> list[Any]:
    """Return the arguments of a hub method.

    Args:
        args: as typer found them.
        given: all arguments of the command line.
    """
    return [argument(text) for text in _checked(args or (), given)]


def _checked(args: Sequence[str], given: Sequence[str]) -> Sequence[str]:
    """Refuse a mistyped option: everything after `--` is an argument, before it only what is a negative number."""
    free = given[given.index("--") :] if "--" in given else ()
    for text in args:
        if text.startswith("-") and text != "-" and text not in free and not _NUMBER.fullmatch(text):
            # What stands behind the sign may be a secret.
            name = text.partition("=")[0]
            options.stop(options.WRONG_USAGE, f"there is no option {name}; for an argument of that text put -- first")
    return args


class Lines:
    """The lines of a file, each a value, to be uploaded. They are read in a thread, as fast as the hub takes them.

    Args:
        name: of the file; `-` for standard input.
    """

    def __init__(self, name: str) -> None:
        # Not Python's own object for standard input: a thread that waits for it would keep its lock to the end.
        self._file = _STANDARD_INPUT if name == "-" else name
        self._name = "standard input" if name == "-" else name
        self._pieces: asyncio.Queue[list[bytes] | OSError | None] = asyncio.Queue(1)
        self._over = asyncio.Event()
        self.error: ValueError | None = None
        """What is wrong with the input."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(loop,), name="signalr_sdk input", daemon=True).start()
        number = 0
        try:
            while (lines := await self._pieces.get()) is not None:
                if isinstance(lines, OSError):
                    raise self._wrong(f"cannot read {self._name}: {lines.strerror}")
                for line in lines:
                    number += 1
                    yield argument(self._text(line, number))
        finally:
            self._over.set()

    async def wait_over(self) -> None:
        """Return when the last line was handed over, or nobody wants more."""
        await self._over.wait()

    def _text(self, line: bytes, number: int) -> str:
        try:
            return line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise self._wrong(f"line {number} of {self._name} is no UTF-8 text") from None

    def _wrong(self, text: str) -> ValueError:
        self.error = ValueError(text)
        return self.error

    # In the thread

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop ends, or has ended.
        with suppress(RuntimeError, concurrent.futures.CancelledError):
            try:
                for lines in self._read():
                    self._hand_over(lines, loop)
            except OSError as error:
                self._hand_over(error, loop)
            else:
                self._hand_over(None, loop)

    def _hand_over(self, what: list[bytes] | OSError | None, loop: asyncio.AbstractEventLoop) -> None:
        put = _put(self._pieces, what, self._over)
        try:
            future = asyncio.run_coroutine_threadsafe(put, loop)
            # What a loop has taken and not done when it is closed, it never does, and says so to nobody.
            while not concurrent.futures.wait((future,), _LOOK).done:
                if loop.is_closed():
                    raise RuntimeError("the event loop is closed")  # noqa: TRY301 - as one that was closed before
            future.result()
        except RuntimeError:
            put.close()
            raise

    def _read(self) -> Iterator[list[bytes]]:
        """Read what there is, until the file ends or nobody wants more."""
        rest = bytearray()
        with open(self._file, "rb", buffering=0, closefd=self._file != _STANDARD_INPUT) as file:
            while not self._over.is_set() and (piece := file.read(_PIECE)):
                rest += piece
                if b"\n" in piece:
                    *lines, rest = rest.split(b"\n")
                    yield [bytes(line) for line in lines]
        if rest:
            yield [bytes(rest)]


@contextmanager
def uploaded(name: str | None) -> Iterator[tuple[Lines, ...]]:
    """Give out what goes behind the arguments of a hub method.

    Args:
        name: of the file whose lines are uploaded; `None` for none.

    Raises:
        ValueError: there is no such file, or what was read cannot be uploaded.
    """
    if name is None:
        yield ()
        return
    if name != "-" and not Path(name).exists():
        raise ValueError(f"--upload: there is no file {name}")
    lines = Lines(name)
    try:
        yield (lines,)
    except SignalRError:
        # The hub was told too, and may have failed for that.
        if lines.error is None:
            raise
    if lines.error is not None:
        raise lines.error


async def _put(pieces: asyncio.Queue[Any], what: object, over: asyncio.Event) -> None:
    """Put it into the queue, unless nobody takes from it any more."""
    put = asyncio.ensure_future(pieces.put(what))
    end = asyncio.ensure_future(over.wait())
    try:
        await asyncio.wait({put, end}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        put.cancel()
        end.cancel()
