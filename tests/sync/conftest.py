"""Fixtures of the sync tier: a hub server in a thread, and the connections of a test."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pytest
from tests.python_server import HubRecord, TwinHub

from signalr_sdk.sync import HubConnection
from signalr_sdk.testing import HubServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")


def until(condition: Callable[[], object], limit: float = 5.0) -> None:
    """Return when it is true; fail if it does not become so."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.002)


@attrs.frozen
class Served:
    """A running server with one hub, the twin of the ASP.NET Core server's."""

    server: HubServer
    board: HubRecord

    @property
    def url(self) -> str:
        """The hub's URL."""
        return self.server.url("/hub")

    def client(self, **options: Any) -> HubConnection:
        """Return a connection, not started, that ends when it is lost."""
        return HubConnection(self.url, **{"reconnect": False, **options})

    def saw(self, kind: str, detail: str | None = None) -> bool:
        """Return whether the hub has seen this."""
        return any(event.kind == kind and detail in (None, event.detail) for event in list(self.board.seen))


@pytest.fixture
def served() -> Iterator[Served]:
    """A hub server in a thread."""
    board = HubRecord()
    hub = type("TwinHub", (TwinHub,), {"seen_by_hubs": board})
    with HubServer({"/hub": hub}, detailed_errors=True, parallel_invocations=64) as server:
        yield Served(server, board)


@pytest.fixture
def hub(served: Served) -> Iterator[HubConnection]:
    """A connection that is up."""
    with served.client() as hub:
        yield hub


class Background:
    """An event loop in a thread, for the asyncio servers of plain tests."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="background", daemon=True)
        self._thread.start()
        self._stack = ExitStack()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter an async context, until the end of the test."""
        entered = self.run(_enter(context))
        self._stack.callback(lambda: self.run(_leave(context)))
        return entered

    def close(self) -> None:
        """Leave all contexts and end the loop."""
        self._stack.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _enter(context: AbstractAsyncContextManager[T]) -> T:
    return await context.__aenter__()


async def _leave(context: AbstractAsyncContextManager[Any]) -> None:
    await context.__aexit__(None, None, None)


@pytest.fixture
def background() -> Iterator[Background]:
    """An event loop in a thread."""
    background = Background()
    yield background
    background.close()


@pytest.fixture(autouse=True)
def no_environment_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not come between the tests and their servers."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
