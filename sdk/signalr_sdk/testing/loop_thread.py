"""The base class of `HubServer` and `FaultProxy`: a service on the running event loop, or in its own thread."""

from __future__ import annotations

import abc
import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in the current thread, or `None`."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class LoopService(abc.ABC):
    """A server or proxy. It runs on the running event loop in an `async with`, in its own thread in a plain `with`."""

    _kind: str  # how error texts call the service

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_started = False
        self._thread: _LoopThread | None = None

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
        thread = _LoopThread(self)
        thread.start()
        self._thread = thread
        return self

    def __exit__(self, *_error: object) -> None:
        if self._thread is not None:
            self._thread.stop()
            self._thread = None

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Run `work` on the service's event loop and return its result, from any thread.

        The calling thread is blocked until `work` has ended, even if it runs an event loop: keep `work` short.
        """
        loop = self._loop
        if loop is None or loop is running_loop():
            return work()

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), loop).result()


class _LoopThread:
    """A thread with an event loop that runs one service."""

    def __init__(self, service: LoopService) -> None:
        self._service = service
        self._ready: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="signalr_sdk server", daemon=True)

    def start(self) -> None:
        """Start the thread. Return when the service listens, or raise the error of the service's `start`."""
        self._thread.start()
        try:
            self._ready.result()
        except Exception:
            self._thread.join()
            raise

    def stop(self) -> None:
        """Stop the service, and wait until the thread has ended."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._service.start()
        except BaseException as error:  # noqa: BLE001 - `_LoopThread.start` raises the error in the calling thread
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        await self._stopping.wait()
        await self._service.stop()
