"""Microsoft's own .NET client against the test server: it must get what it gets from ASP.NET Core."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from tests.python_server import make_token
from tests.servers import app_server

from .hub_server import ServerMissingError, find_program

if TYPE_CHECKING:
    from tests.python_server import PythonServer

    from .conftest import Combination

EXPECTED = Path(__file__).parent / "official-dotnet-client.jsonl"


async def judged(combination: Combination, *arguments: str) -> list[dict[str, Any]]:
    """Return what the .NET client got, call by call."""
    try:
        program = find_program()
    except ServerMissingError as error:
        pytest.skip(str(error))
    options = ("--transport", combination.transport, "--protocol", combination.protocol)
    process = await asyncio.create_subprocess_exec(
        program, "judge", *arguments, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors) == (0, b"")
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.timeout(60)
async def test_each_call_gets_what_it_gets_from_aspnetcore(
    python_server: PythonServer, combination: Combination
) -> None:
    expected = [json.loads(line) for line in EXPECTED.read_text(encoding="utf-8").splitlines()]
    (line,) = [line for line in expected if line["call"] == "transport"]
    line["result"] = combination.transport
    assert await judged(combination, "--url", python_server.url("/hub")) == expected


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ["/hub-refresh", "/hub-refresh-closing"])
async def test_it_renews_its_tokens(python_server: PythonServer, combination: Combination, path: str) -> None:
    """Tokens of four seconds for nine seconds."""

    async def token(_request: web.Request) -> web.Response:
        return web.Response(text=make_token("ada", 4))

    app = web.Application()
    app.router.add_get("/token", token)
    async with app_server(app) as url:
        got = await judged(combination, "--url", python_server.url(path), "--token-url", f"{url}/token")
    assert got == [
        {"call": "refreshed at least three times", "result": True},
        {"call": "the same connection", "result": True},
        {"call": "Add", "result": 3},
    ]
