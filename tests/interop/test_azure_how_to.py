"""The programs of the how-to pages on Azure, run beside the imitated service."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import sys
import textwrap
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from signalr_sdk import HubConnection
from signalr_sdk.azure import AzureSignalR, AzureSignalRError

from .azure import PRIMARY, SECONDARY, app_at, azure_at, connection_string, known
from .test_azure_entra import ENTRA, Credential, Token, gateway
from .test_azure_examples import message, upstream_headers

if TYPE_CHECKING:
    from .hub_server import HubServer

_PAGES = Path(__file__).parents[2] / "docs" / "how-to"
_BLOCK = re.compile(r"^( *)```python\n(.+?)^ *```$", re.MULTILINE | re.DOTALL)
_ENTRA = "Endpoint=https://NAME.service.signalr.net;AuthType=azure;Version=1.0;"


class Page:
    """The programs of a page, one after another in one namespace."""

    def __init__(self, name: str, **names: Any) -> None:
        text = (_PAGES / name).read_text(encoding="utf-8")
        self.blocks = [textwrap.dedent(found[2]) for found in _BLOCK.finditer(text)]
        self.module = types.ModuleType(f"page_{name.partition('.')[0].replace('-', '_')}")
        self.names = vars(self.module)
        self.names.update(names)

    async def run(self, has: str, **replaced: str) -> None:
        """Run the one block in which a text stands."""
        (block,) = (each for each in self.blocks if has in each)
        self.blocks.remove(block)
        for old, new in replaced.items():
            assert old in block
            block = block.replace(old, new)
        code = compile(block, self.module.__name__, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, self.names)  # the page is ours
        if inspect.isawaitable(result):
            await result


@pytest.fixture(autouse=True)
def environment(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pages read."""
    monkeypatch.setenv("AZURE_SIGNALR_CONNECTION_STRING", connection_string(hub_server))
    monkeypatch.setenv("PRIMARY_KEY", PRIMARY)
    monkeypatch.setenv("SECONDARY_KEY", SECONDARY)


class Heard(list[Any]):
    """The events that a client got."""

    def __init__(self, hub: HubConnection, *names: str) -> None:
        super().__init__()
        self.hub = hub
        for name in names:
            hub.on(name, lambda *args, name=name: self.append((name, *args)))

    async def all(self) -> list[Any]:
        """Return those that were sent to it by now."""
        await self.hub.invoke("Nothing")
        return list(self)


async def test_the_page_on_azure(hub_server: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    page = Page("azure.md", HubConnection=HubConnection, get_token=lambda: "app-token")
    await page.run("shop.example.com", **{"https://shop.example.com/chat": hub_server.url("/app")})
    async with page.names["hub"] as hub:
        assert await hub.invoke("User") == "Bearer app-token"

    async with azure_at(hub_server) as azure:
        anna = Heard(azure.connect("anna"), "ReceiveMessage", "Alarm")
        bert = azure.connect("bert", reconnect=False)
        async with known(anna.hub), known(bert):
            assert anna.hub.connection_id is not None
            await page.run("close_user")
            assert await anna.all() == [
                ("ReceiveMessage", "me", "hello"),
                ("ReceiveMessage", "me", "hello, Anna"),
                ("Alarm", 7),
            ]
            with pytest.raises(Exception, match="good night"):
                await bert.wait_closed()
            anna.hub.on("ReadMeter", lambda: 230)
            page.names.update(chat=azure, connection_id=anna.hub.connection_id, AzureSignalRError=AzureSignalRError)
            await page.run("ReadMeter")
            assert page.names["answer"] == 230
            async with azure_at(hub_server, key="x" * 44) as wrong:
                page.names.update(chat=wrong, users=["anna", "bert"])
                await page.run("send_users")
            assert sorted(page.names["again"]) == ["anna", "bert"]
            page.names["chat"] = azure
            await page.run("async for member")
            await page.run("sync.AzureSignalR")
            line = f"{anna.hub.connection_id} anna\n"
            assert capsys.readouterr().out == 2 * line
            assert (await anna.all())[3:] == [("ReceiveMessage", "me", "hello")]
    assert page.blocks == []


async def test_the_page_on_entra_id(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    class AsyncCredential(Credential):
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_error: object) -> None: ...

    class PlainCredential:
        def get_token(self, *_scopes: str) -> Token:
            return Token(ENTRA, 2**40)

    for name, credential in (("azure.identity", PlainCredential), ("azure.identity.aio", AsyncCredential)):
        module = types.ModuleType(name)
        vars(module)["DefaultAzureCredential"] = credential
        monkeypatch.setitem(sys.modules, name, module)
    async with azure_at(hub_server) as azure, gateway(hub_server) as url:
        heard = Heard(azure.connect("anna"), "ReceiveMessage")
        string = f"Endpoint={hub_server.url('')};ServerEndpoint={url};AuthType=azure;Version=1.0;"
        page = Page("azure-entra-id.md", AzureSignalR=AzureSignalR)
        async with known(heard.hub):
            await page.run("azure.identity.aio", **{_ENTRA: string})
            assert await heard.all() == [("ReceiveMessage", "me", "hello")]
            # The gateway lives in this loop.
            blocking = page.run("sync.AzureSignalR", **{_ENTRA: string})
            await asyncio.to_thread(asyncio.run, blocking)
            assert await heard.all() == [("ReceiveMessage", "me", "hello")] * 2
    assert page.blocks == []


async def test_the_page_on_serverless(hub_server: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    page = Page("azure-serverless.md", connection_string=connection_string(hub_server), AzureSignalR=AzureSignalR)
    await page.run('@app.post("/negotiate")')
    transport = httpx.ASGITransport(page.names["app"])
    async with page.names["chat"], httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        answer = (await client.post("/negotiate", params={"user": "anna"})).json()
        async with app_at(lambda _: answer, "") as app:
            listening = asyncio.create_task(page.run("hub.messages", **{"http://127.0.0.1:8000": app.url}))
            said = ""
            async with azure_at(hub_server) as azure:
                while not said:
                    # As `signalr azure send` does in the next step; the client may not be there yet.
                    await azure.send_user("anna", "ReceiveMessage", "me", "hello")
                    await asyncio.sleep(0.02)
                    said = capsys.readouterr().out
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            assert set(said.splitlines()) == {"me hello"}
        assert app.targets == ["/negotiate?user=anna&negotiateVersion=1"]

        await page.run("def upstream")
        heard = Heard(page.names["chat"].connect("bert"), "Joined")
        async with known(heard.hub):
            given = upstream_headers("connected", category="connections")
            assert (await client.post("/upstream", headers=given, content=b'{"type":10}')).status_code == 200
            assert await heard.all() == [("Joined", "anna")]
        done = await client.post("/upstream", headers=upstream_headers("Add"), content=message("Add", 1, 2))
        assert json.loads(done.content[:-1])["result"] == 3
        forged = {**given, "X-ASRS-Connection-Id": "id-2"}
        assert (await client.post("/upstream", headers=forged, content=b'{"type":10}')).status_code == 401
    await page.run("meter-7")
    assert page.blocks == []


async def test_the_page_on_leaving_the_bindings(hub_server: HubServer) -> None:
    import azure.functions as func

    page = Page("azure-functions.md")
    await page.run("def alarm")
    (function,) = page.names["app"].get_functions()
    async with azure_at(hub_server) as azure:
        heard = Heard(azure.connect("anna"), "Alarm")
        async with known(heard.hub):
            connection_id = heard.hub.connection_id
            assert connection_id is not None
            await azure.add_to_group(connection_id, "admins")
            request = func.HttpRequest(method="POST", url="http://t/api/alarm", body=b"")
            assert (await function.get_user_function()(request)).status_code == 202
            assert await heard.all() == [("Alarm", 7)]
    # Another page lists this group.
    await hub_server.wait_event("disconnected", connection_id=connection_id)
    assert page.blocks == []
