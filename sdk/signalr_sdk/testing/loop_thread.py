"""What runs on an event loop: the one that runs already, or one in a thread of its own."""

from __future__ import annotations

import abc
import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

T = TypeVar("T")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class LoopService(abc.ABC):
    """Runs on the running event loop in an `async with`, and in a thread of its own in a plain `with`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: _LoopThread | None = None

    @abc.abstractmethod
    async def start(self) -> None:
        """Begin, on the running event loop."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """End; without effect if it does not run."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        thread = _LoopThread(self)
        thread.begin()
        self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.end()
            self._thread = None

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Do something on the own event loop and return what it gives; from any thread, short work only."""
        loop = self._loop
        if loop is None or loop is _running_loop():
            return work()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
                done.set_exception(error)

        loop.call_soon_threadsafe(run)
        return done.result()


class _LoopThread:
    """An event loop in a thread, for as long as what runs there is wanted."""

    def __init__(self, hosted: LoopService) -> None:
        self._hosted = hosted
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: asyncio.Event | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._main, name="signalr_sdk server", daemon=True)

    def begin(self) -> None:
        """Return when it has started."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def end(self) -> None:
        """Return when it is gone."""
        if self._loop is not None and self._wanted is not None:
            self._loop.call_soon_threadsafe(self._wanted.set)
        self._thread.join()

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._wanted = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._hosted.start()
        except Exception as error:  # noqa: BLE001 - it is raised where the server was asked for
            self._error = error
            return
        finally:
            self._ready.set()
        await self._wanted.wait()
        await self._hosted.stop()


class Pending(Generic[T]):
    """Something that is waited for: with `await` in a coroutine on any event loop, with `result()` in a thread.

    Nothing begins before that.

    Args:
        begin: makes the future.
        timeout: seconds to wait; `None` for no limit.
        missing: what to say when that is over.
    """

    def __init__(
        self,
        begin: Callable[[], Future[T]],
        timeout: float | None = None,
        missing: Callable[[], str] = lambda: "it took too long",
    ) -> None:
        self._begin = begin
        self._timeout = timeout
        self._missing = missing

    def __await__(self) -> Generator[object, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        future = self._begin()
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise TimeoutError(self._missing()) from None

    def result(self) -> T:
        """Wait in a thread without a running event loop, and return what came.

        Raises:
            RuntimeError: an event loop runs here, which this would block.
            TimeoutError: it did not come in time.
        """
        if _running_loop() is not None:
            raise RuntimeError("an event loop runs in this thread: use await")
        future = self._begin()
        try:
            return future.result(self._timeout)
        except TimeoutError:
            raise TimeoutError(self._missing()) from None
        finally:
            future.cancel()
