"""Runs the code blocks of pages and docstrings, one after another in one namespace, against the test server."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import signal
import ssl
import sys
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import aiohttp
import attrs
import httpx

import signalr_sdk
import signalr_sdk.delivery
import signalr_sdk.sync
from signalr_sdk import ConnectionState, HubConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer, FaultProxy, Hub, HubServer, Progress, RawHandler
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

DOCS = Path(__file__).parents[1] / "docs"
SOURCE = DOCS.parent / "sdk" / "signalr_sdk"
# The URL of the hub in the documents. The tests replace it with the URL of the test server.
SHOWN = "https://example.com/chat"
NOT_RUN = ":caption: Not run by the tests. "

_FENCE = re.compile(
    r"^( *)```(?P<kind>[^\n`]+)\n(?P<text>.*?)^\1```$(?:\n\n\1```text\n(?P<output>.*?)^\1```$)?",
    re.MULTILINE | re.DOTALL,
)
# The events that the hub sends while a block waits.
EVENTS = (("ReceiveMessage", "me", "hello"), ("Price", "MSFT", 1.5), ("Reading", 21.5))
# A block that matches `_WAITS` waits for events; a block that matches `_ENDS` waits until the connection ends.
_WAITS = re.compile(r"hub\.(messages|events|wait_for|wait_closed|run)\(")
_ENDS = re.compile(r"^( *)(?=.*hub\.(wait_closed|run)\()", re.MULTILINE)
# A block that matches needs a `hub` that is connected.
_CALLS = re.compile(r"(await|async for .* in|async with) hub\.(?!start|run)")


class Block(NamedTuple):
    """A block of code on a page, without its fence.

    Attributes:
        kind: the language.
        text: the code.
        output: the output that the page shows; empty if the page shows none.
        not_run: the reason on the page why tests do not run the block; `None` for a block that tests run.
    """

    kind: str
    text: str
    output: str
    not_run: str | None


def blocks(page: str, folder: Path = DOCS) -> list[Block]:
    """Return the code blocks of a page, or of the docstrings of a module."""
    found = []
    for match in _FENCE.finditer((folder / page).read_text(encoding="utf-8")):
        lines = [line.removeprefix(match[1]) for line in match["text"].splitlines(keepends=True)]
        not_run = None
        if lines and lines[0].startswith(NOT_RUN):
            not_run = lines.pop(0).removeprefix(NOT_RUN).strip()
        kind = match["kind"].removeprefix("{code-block} ")
        found.append(Block(kind, "".join(lines), match["output"] or "", not_run))
    return found


def modules() -> list[str]:
    """Return the paths of all modules whose docstrings have code blocks, relative to `SOURCE`."""
    paths = (path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
    return sorted(path for path in paths if blocks(path, SOURCE))


def pages() -> list[str]:
    """Return the paths of all pages, relative to `DOCS`."""
    return sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


class PagesHub(DemoHub):
    """The hub methods that pages call, beside those of the demo hub."""

    async def log(self, text: str) -> None:
        """Take a line."""

    async def say_goodbye(self) -> None:
        """Do nothing."""

    async def join_group(self, group: str) -> None:
        """Add the caller to a group."""
        await self.groups.add(self.context.connection_id, group)

    async def log_in(self, name: str) -> None:
        """Do nothing."""

    async def transfer(self, account: Any, amount: Any) -> None:
        """Do nothing."""

    async def pay(self, order_id: int, amount: Any) -> None:
        """Do nothing."""

    async def is_paid(self, _order_id: int) -> bool:
        """Return whether it is paid."""
        return True

    async def messages_since(self, last: int) -> Any:
        """Return the new messages."""
        return [f"message {last + 1}"]

    async def get_person(self, _number: int) -> Any:
        """Return a person."""
        return {"name": "Ada", "age": 36}

    async def place(self, order: Any) -> Any:
        """Return what comes."""
        return order

    async def get_order(self, number: int) -> Any:
        """Return an order."""
        return {"orderId": number, "unitPrice": 19.9}

    async def get_orders(self) -> Any:
        """Return some orders."""
        return [{"orderId": 7, "unitPrice": 19.9}]

    async def find_order(self, _text: str) -> Any:
        """Find none."""

    async def prices(self) -> AsyncIterator[float]:
        """Stream some numbers."""
        for price in (1.5, 2.5):
            yield price

    async def record(self, values: AsyncIterator[Any]) -> int:
        """Return the number of values."""
        return len([value async for value in values])

    async def store(self, number: int, value: Any) -> int:
        """Return the number of stored values."""
        return number


class Sensor:
    """A sensor for asyncio and for threads."""

    async def read(self) -> float:
        """Return a reading."""
        await asyncio.sleep(0.01)
        return 21.5

    def __iter__(self) -> Iterator[int]:
        return iter((1, 2, 3))


class PagePrograms:
    """The namespace in which the code blocks of a page run: a hub connection, a server and other names.

    Args:
        page: path of the page.
        server: has the hubs `/hub`, `/shop`, and `/chat`, which stands for the hub of the documents.

    Attributes:
        module: has the names of the namespace.
        said: lines that the last block has printed.
    """

    def __init__(self, page: str, server: HubServer) -> None:
        self.module = types.ModuleType("page_" + re.sub(r"\W", "_", page.removesuffix(".md")))
        self.said: list[str] = []
        self._server = server
        self._page = page
        self._at_the_end = threading.Event()
        self._hub = HubConnection(self._here(SHOWN))
        self._left: list[object] = [self._hub]
        vars(self.module).update(self._names(), URL=server.url("/hub"), SHOP_URL=server.url("/shop"))

    def _names(self) -> dict[str, Any]:
        modules = (signalr_sdk, signalr_sdk.delivery)
        public = {name: getattr(module, name) for module in modules for name in module.__all__}
        return {
            **public,
            **{module.__name__: module for module in (aiohttp, asyncio, attrs, httpx, signal, ssl)},
            "Any": Any,
            "AsyncIterator": AsyncIterator,
            "Awaitable": Awaitable,
            "Callable": Callable,
            "ClassicHub": ClassicHub,
            "ClassicHubServer": ClassicHubServer,
            "Decimal": Decimal,
            "FaultProxy": FaultProxy,
            "Hub": Hub,
            "HubServer": HubServer,
            "Progress": Progress,
            "Protocol": Protocol,
            "RawHandler": RawHandler,
            "print": self._print,
            # Names that stand for a reader's own code.
            "account": "A-1",
            "amount": 10,
            "ask_for_token": self._ask_for_token,
            "at_the_end": self._at_the_end.set,
            "credentials": {},
            "database": types.SimpleNamespace(insert=self._do_nothing),
            "draw": self._show,
            "hub": self._hub,
            "get_token": self._get_token,
            "internal_context": ssl.create_default_context(),
            "key": "k",
            "numbers_of": iter,
            "order_id": 7,
            "page_somebody": self._print,
            "sensor": Sensor(),
            "server": self._server,
            "session": None,
            "session_id": "s",
            "show": self._print,
            "url": self._here(SHOWN),
        }

    def _here(self, text: str) -> str:
        return text.replace(SHOWN, self._server.url("/chat"))

    def _print(self, *values: object, **options: Any) -> None:
        self.said.append(" ".join(map(str, values)))
        print(*values, **options)  # noqa: T201 - the output of the code block

    async def _show(self, *values: object) -> None:
        self._print(*values)

    async def _ask_for_token(self) -> tuple[str, float]:
        return "token", 3600.0

    async def _get_token(self) -> str:
        return "token"

    async def _do_nothing(self, *_values: object) -> None:
        pass

    async def use_threads(self) -> None:
        """Replace the names for asyncio with those of `signalr_sdk.sync`, and connect a hub for threads."""
        hub = signalr_sdk.sync.HubConnection(self._here(SHOWN))
        await asyncio.to_thread(hub.start)
        names = {name: getattr(signalr_sdk.sync, name) for name in signalr_sdk.sync.__all__}
        vars(self.module).update(names, hub=hub)
        self._left.append(hub)

    async def connect(self) -> None:
        """Connect the hub, for a code block that does not look as if it needed that."""
        await self._hub.start()

    async def run(self, block: Block) -> None:
        """Run a block. While the block waits, the hub sends events and then ends the connection."""
        self.said.clear()
        self._at_the_end.clear()
        if self._needs_connection(block.text):
            await self._hub.start()
        running = asyncio.create_task(self._run(_ENDS.sub(r"\1at_the_end()\n\1", self._here(block.text))))
        if _WAITS.search(block.text):
            await self._speak(running, block.text)
        await running
        self._left.append(vars(self.module)["hub"])

    def _needs_connection(self, text: str) -> bool:
        free = vars(self.module)["hub"] is self._hub and self._hub.state is ConnectionState.DISCONNECTED
        return free and _CALLS.search(text) is not None

    async def _run(self, text: str) -> None:
        code = compile(text, self._page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, vars(self.module))  # code of our own documents
        else:
            # In a thread, since the block may be a whole program that runs an event loop, or code for threads.
            await asyncio.to_thread(exec, code, vars(self.module))

    async def _speak(self, running: asyncio.Task[None], text: str) -> None:
        heard_enough = self._at_the_end.is_set if _ENDS.search(text) else lambda: bool(self.said)
        while not running.done():
            for event, *arguments in EVENTS:
                await self._server.send("/chat", event, *arguments)
            is_busy = vars(self.module)["hub"].state in (ConnectionState.CONNECTING, ConnectionState.RECONNECTING)
            if heard_enough() and self._server.recorded.connects and not is_busy:
                self._server.faults.close()
            await asyncio.wait({running}, timeout=0.02)

    async def end(self) -> None:
        """Stop what the code blocks have left running."""
        for value in [*self._left, *vars(self.module).values()]:
            if isinstance(value, HubConnection):
                await value.stop()
            elif isinstance(value, signalr_sdk.sync.HubConnection):
                await asyncio.to_thread(value.stop)
            elif isinstance(value, httpx.AsyncClient):
                await value.aclose()


@asynccontextmanager
async def programs_of(page: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PagePrograms]:
    """Yield the namespace of a page; all that runs is stopped at the end."""
    with HubServer({"/hub": DemoHub, "/shop": PagesHub, "/chat": PagesHub}) as server:
        programs = PagePrograms(page, server)
        monkeypatch.setitem(sys.modules, programs.module.__name__, programs.module)
        try:
            yield programs
        finally:
            await programs.end()
