"""The base class of `HubServer` and `FaultProxy`: a service on the running event loop, or in its own thread."""

from __future__ import annotations

import abc
import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self, TypeVar

from .._guard.loops import loop_or_none

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class LoopService(abc.ABC):
    """A server or proxy. `async with` runs it on the running event loop, a plain `with` in a thread of its own."""

    _kind: str  # how error texts call the service

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_started = False
        self._thread: threading.Thread | None = None
        self._stopping: Future[None] = Future()

    async def start(self) -> None:
        """Start to listen, on the running event loop.

        Raises:
            RuntimeError: the service is started already.
            OSError: the port is not available, for example because another process uses it.
        """
        if self._is_started:
            raise RuntimeError(f"the {self._kind} is started already")
        await self._open()
        self._is_started, self._loop = True, asyncio.get_running_loop()

    async def stop(self) -> None:
        """Stop listening and end all connections. Does nothing if the service is not started."""
        if self._is_started:
            self._is_started = False
            await self._close()
            self._loop = None

    @abc.abstractmethod
    async def _open(self) -> None:
        """Start to listen. If this method raises, it must leave no open port and no task behind."""

    @abc.abstractmethod
    async def _close(self) -> None:
        """Release the port, and end all connections and tasks of the service."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    def __enter__(self) -> Self:
        ready: Future[None] = Future()
        stopping: Future[None] = Future()
        work = self._run_in_thread(ready, stopping)
        thread = threading.Thread(target=asyncio.run, args=(work,), name="signalr_sdk server", daemon=True)
        thread.start()
        try:
            ready.result()
        except Exception:
            thread.join()
            raise
        self._thread, self._stopping = thread, stopping
        return self

    def __exit__(self, *_error: object) -> None:
        if self._thread is not None:
            self._stopping.set_result(None)
            self._thread.join()
            self._thread = None

    async def _run_in_thread(self, ready: Future[None], stopping: Future[None]) -> None:
        """Run the service in its own thread, until the thread that started it stops it.

        Args:
            ready: a future, set when the service has started; gets the exception if the start failed.
            stopping: a future that the other thread sets to stop the service.
        """
        try:
            await self.start()
        except BaseException as error:  # noqa: BLE001 - `__enter__` raises the error in the calling thread
            ready.set_exception(error)
            return
        ready.set_result(None)
        await asyncio.wrap_future(stopping)
        await self.stop()

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Run `work` on the service's event loop and return its result, from any thread.

        The calling thread is blocked until `work` has ended, even if it runs an event loop: keep `work` short.
        """
        loop = self._loop
        if loop is None or loop is loop_or_none():
            return work()

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), loop).result()
