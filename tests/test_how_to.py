"""The programs of the how-to pages, block after block in one namespace, print what the pages say."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk.testing import Hub, HubServer
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_PAGES = Path(__file__).parents[1] / "docs" / "how-to"
_BLOCK = re.compile(r"^```python\n(.+?)^```\n(?:\n```text\n(.+?)^```$)?", re.MULTILINE | re.DOTALL)


class ShopHub(Hub):
    """What `place` gets comes back."""

    async def place(self, order: Any) -> Any:
        return order


async def run(text: str, page: str, module: types.ModuleType) -> None:
    """Run a block, in which `await` may stand outside of functions."""
    code = compile(text, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, vars(module))  # the page is ours
    if inspect.isawaitable(result):
        await result


async def run_all(page: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, str]]:
    """Run the blocks of a page; yield what each is to print, and its text, when it has run."""
    blocks = _BLOCK.findall((_PAGES / page).read_text(encoding="utf-8"))
    assert blocks
    module = types.ModuleType(f"page_{page.partition('.')[0].replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    async with HubServer({"/hub": DemoHub, "/shop": ShopHub}) as server:
        vars(module).update(URL=server.url("/hub"), SHOP_URL=server.url("/shop"))
        for text, output in blocks:
            await run(text, page, module)
            yield output, text


@pytest.mark.parametrize("page", ["typed-hubs.md"])
async def test_a_page(page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async for output, text in run_all(page, monkeypatch):
        said = capsys.readouterr()
        assert (said.out, said.err) == (output, ""), text


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Take back what a page does to loggers and handlers."""
    loggers = [logging.getLogger(name) for name in ("", "signalr_sdk.transport", "signalr_sdk.hub")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    levels = [(handler, handler.level) for logger in loggers for handler in logger.handlers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    for handler, level in levels:
        handler.setLevel(level)


@pytest.mark.usefixtures("logging_as_it_was")
async def test_the_page_on_logging(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = [capsys.readouterr().out.splitlines() async for _ in run_all("logging.md", monkeypatch)]
    wire, lines = said
    page = (_PAGES / "logging.md").read_text(encoding="utf-8")
    promised = page.partition("from the second connection nothing:")[2].split("```")[1].splitlines()[1:]
    # The first ping of a connection comes when it likes.
    assert [line for line in wire if '"type":1' in line or '"type":3' in line] == promised
    connected, stopped = (json.loads(line) for line in lines if line.startswith("{"))
    assert connected["message"] == f"connected to {connected['hub']} over LongPolling ({connected['connection_id']})"
    assert (connected["logger"], connected["level"], connected["transport"]) == (
        "signalr_sdk.hub",
        "INFO",
        "LongPolling",
    )
    assert stopped["message"] == "stopped"
    example = json.loads(page.partition("```json")[2].partition("```")[0])
    assert example.keys() == connected.keys()
