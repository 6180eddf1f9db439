"""The programs of the how-to pages, block after block in one namespace, print what the pages say."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from signalr_sdk.testing import Hub, HubServer
from signalr_sdk.testing.demo_hub import DemoHub

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


@pytest.mark.parametrize("page", ["typed-hubs.md"])
async def test_a_page(page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = _BLOCK.findall((_PAGES / page).read_text(encoding="utf-8"))
    assert blocks
    module = types.ModuleType(page.partition(".")[0].replace("-", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    async with HubServer({"/hub": DemoHub, "/shop": ShopHub}) as server:
        vars(module).update(URL=server.url("/hub"), SHOP_URL=server.url("/shop"))
        for text, output in blocks:
            await run(text, page, module)
            said = capsys.readouterr()
            assert (said.out, said.err) == (output, ""), text
