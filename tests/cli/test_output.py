"""Lines on standard output, with readers that are slow, that have stopped and that have left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from signalr_sdk.cli import json_output
from signalr_sdk.cli.json_output import JsonLines, OutputError, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class Pipe:
    """A pipe whose writing end is standard output."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self._read = b""
        self.writer: TextIO = os.fdopen(writer, "w", encoding="utf-8")

    def leave(self) -> None:
        """Close the reading end."""
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    async def lines(self, count: int) -> list[Any]:
        """Read so many lines."""
        while self._read.count(b"\n") < count:
            self._read += await asyncio.to_thread(os.read, self.reader, 65536)
        *lines, self._read = self._read.split(b"\n", count)
        return [json.loads(line) for line in lines]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.leave()
    made.writer.close()


def to(pipe: Pipe) -> AbstractContextManager[Any]:
    """Make the pipe standard output. Only inside of a test: pytest replaces standard output before each test."""
    return contextlib.redirect_stdout(pipe.writer)


async def test_lines_arrive_while_others_are_still_to_come(pipe: Pipe) -> None:
    with to(pipe):
        lines = JsonLines()
    async with lines:
        await lines.write({"a": "é"})
        assert await pipe.lines(1) == [{"a": "é"}]
        await lines.write("\ud800")
        assert await pipe.lines(1) == ["\ud800"]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Windows always block")
def test_a_pipe_that_another_process_has_made_non_blocking(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer.fileno(), False)
    value = "x" * 1_000_000
    with to(pipe), ThreadPoolExecutor() as threads:
        reading = threads.submit(asyncio.run, pipe.lines(1))
        print_json(value)
        assert reading.result() == [value]


async def test_who_writes_waits_for_who_reads(pipe: Pipe) -> None:
    written = 0

    async def write(lines: JsonLines) -> None:
        nonlocal written
        for number in range(5000):
            await lines.write([number, "x" * 100])
            written += 1

    with to(pipe):
        lines = JsonLines()
    async with lines:
        writing = asyncio.create_task(write(lines))
        first = await pipe.lines(1)
        assert written < 5000
        rest = await pipe.lines(4999)
        await writing
    assert [number for number, _ in first + rest] == list(range(5000))


@pytest.mark.skipif(sys.platform != "linux", reason="the system must tell that the reader has left")
async def test_a_reader_that_leaves_ends_the_work(pipe: Pipe) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def guarded() -> None:
        with to(pipe):
            lines = JsonLines()
        async with lines:
            asyncio.get_running_loop().call_soon(pipe.leave)
            await lines.run(work())

    with pytest.raises(OutputError) as caught:
        await guarded()
    assert caught.value.reader_gone
    assert ended == ["cancelled"]


async def test_a_reader_that_has_left_is_told_by_writing(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_output, "_write_only_pipe", lambda: None)
    pipe.leave()

    async def write() -> None:
        with to(pipe):
            lines = JsonLines()
        async with lines:
            await lines.write(1)
            await lines.run(asyncio.Event().wait())

    with pytest.raises(OutputError):
        await write()
    with to(pipe), pytest.raises(OutputError):
        print_json(1)


async def test_a_guarded_work_returns_and_raises(pipe: Pipe) -> None:
    async def fail() -> None:
        raise KeyError("x")

    with to(pipe):
        lines = JsonLines()
    async with lines:
        assert await lines.run(asyncio.sleep(0, 42)) == 42
        with pytest.raises(KeyError):
            await lines.run(fail())


async def test_an_interrupt_does_not_wait_for_a_reader_that_has_stopped(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_output, "_INTERRUPT_GRACE", 0.01)

    async def work() -> None:
        with to(pipe):
            lines = JsonLines()
        async with lines:
            await lines.run(write(lines))

    async def write(lines: JsonLines) -> None:
        while True:
            await lines.write("x" * 1000)

    task = asyncio.create_task(work())
    await pipe.lines(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Otherwise the thread would hang in its write.
    pipe.leave()


def test_a_result_goes_past_the_buffer_of_python(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")  # noqa: T201 - must stay in front
    print_json([1])
    assert capfd.readouterr().out == "before\n[1]\n"
