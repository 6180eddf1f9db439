"""What `AzureSignalR` hands out and sends, in the hands of Microsoft's own client."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from tests.servers import app_server
from tests.strangers import running

from .azure import azure_at

if TYPE_CHECKING:
    from signalr_sdk.azure import AzureSignalR

    from .hub_server import HubServer

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

SCRIPT = Path(__file__).with_name("azure_client.cjs")


@pytest.fixture(scope="module")
def node() -> str:
    return running.find_node()


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_microsofts_client_comes_in_and_hears(hub_server: HubServer, node: str, protocol: str) -> None:
    async with azure_at(hub_server, f"js{protocol}") as azure:

        async def negotiate(_request: web.Request) -> web.Response:
            return web.json_response(await azure.negotiate("anna", {"role": "admin"}))

        app = web.Application()
        app.router.add_post("/chat/negotiate", negotiate)
        async with app_server(app) as origin:
            modules = os.pathsep.join(
                [str(running.HERE / "node_modules"), *filter(None, [os.environ.get("NODE_PATH")])]
            )
            process = await asyncio.create_subprocess_exec(
                node,
                SCRIPT,
                f"{origin}/chat",
                protocol,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "NODE_PATH": modules},
            )
            try:
                await converse(azure, process)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()


async def converse(azure: AzureSignalR, process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    output = process.stdout

    async def said() -> Any:
        return json.loads(await output.readline())

    assert await said() == {"user": "anna"}
    connection_id = (await said())["id"]
    await azure.add_to_group(connection_id, "g")
    await azure.send_group("g", "ReceiveMessage", 1, "ü", None, [True], {"a": 0.5})
    assert await said() == {"event": [1, "ü", None, [True], {"a": 0.5}]}
    assert await azure.invoke_connection(connection_id, "Double", 21) == 42
    await azure.close_connection(connection_id, "scaling in")
    assert "scaling in" in (await said())["closed"]
    assert await process.wait() == 0
