"""The examples for Azure, run as their hosts run them, beside the imitated service."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.util
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import httpx
import msgpack
import pytest

from signalr_sdk import HubConnection

from .azure import PRIMARY, connection_string, known

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from .hub_server import HubServer

EXAMPLES = Path(__file__).parents[2] / "examples" / "azure"


@attrs.frozen
class Answer:
    """What an application answered."""

    status: int
    content_type: str
    body: bytes


Post: TypeAlias = Callable[[str, dict[str, str], bytes], Awaitable[Answer]]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def fastapi_application() -> AsyncIterator[Post]:
    """The FastAPI application, as an ASGI server runs it."""
    app = example("fastapi_app").app
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://t") as client:

        async def post(path: str, headers: dict[str, str], body: bytes) -> Answer:
            answer = await client.post(path, headers=headers, content=body)
            return Answer(answer.status_code, answer.headers.get("content-type", ""), answer.content)

        yield post


@asynccontextmanager
async def azure_function() -> AsyncIterator[Post]:
    """The functions, as their host calls them."""
    import azure.functions as func

    app = example("function_app").app
    functions = {each.get_function_name(): each.get_user_function() for each in app.get_functions()}

    async def post(path: str, headers: dict[str, str], body: bytes) -> Answer:
        given = {**headers, "X-MS-Client-Principal-Name": headers["X-User"]} if "X-User" in headers else headers
        request = func.HttpRequest(method="POST", url=f"http://t/api{path}", headers=given, body=body)
        answer = await functions[path.removeprefix("/")](request)
        return Answer(answer.status_code, answer.mimetype, answer.get_body())

    yield post


@pytest.fixture(params=[fastapi_application, azure_function])
async def post(
    hub_server: HubServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Post]:
    """POST to either application."""
    monkeypatch.setenv("AZURE_SIGNALR_CONNECTION_STRING", connection_string(hub_server))
    async with request.param() as post:
        yield post


def upstream_headers(event: str, content_type: str = "application/json", category: str = "messages") -> dict[str, str]:
    signature = hmac.new(PRIMARY.encode(), b"id-1", hashlib.sha256).hexdigest().upper()
    return {
        "X-ASRS-Connection-Id": "id-1",
        "X-ASRS-Hub": "chat",
        "X-ASRS-Category": category,
        "X-ASRS-Event": event,
        "X-ASRS-User-Id": "anna",
        "X-ASRS-Signature": f"sha256={signature}",
        "Content-Type": content_type,
    }


async def test_clients_come_in_and_hear_each_other(post: Post) -> None:
    async with AsyncExitStack() as stack:
        heard: list[asyncio.Queue[tuple[Any, ...]]] = []
        for protocol in ("json", "messagepack"):
            answer = await post("/negotiate", {"X-User": "anna"}, b"")
            found = json.loads(answer.body)
            hub = HubConnection(found["url"], access_token=found["accessToken"], protocol=protocol)
            heard.append(asyncio.Queue())
            for event in ("Joined", "ReceiveMessage", "Left"):
                hub.on(event, lambda *args, event=event, got=heard[-1]: got.put_nowait((event, *args)))
            await stack.enter_async_context(known(hub))
        done = [
            await post("/upstream", upstream_headers("connected", category="connections"), b'{"type":10}'),
            await post("/upstream", upstream_headers("SendMessage"), message("SendMessage", "hello")),
            await post("/upstream", upstream_headers("disconnected", category="connections"), b'{"Type":11}'),
        ]
        assert [each.status for each in done] == [200] * 3
        for queue in heard:
            got = [await queue.get() for _ in range(3)]
            assert got == [("Joined", "anna"), ("ReceiveMessage", "anna", "hello"), ("Left", "anna")]


def message(target: str, *args: object) -> bytes:
    return json.dumps({"type": 1, "invocationId": "7", "target": target, "arguments": args}).encode()


async def test_calls_are_answered_in_the_protocol_of_the_client(post: Post) -> None:
    answer = await post("/upstream", upstream_headers("Add"), message("Add", 1, 2))
    assert answer == Answer(200, "application/json", b'{"type":3,"invocationId":"7","result":3}\x1e')
    packed = msgpack.packb([1, {}, "7", "Add", [1, 2]])
    answer = await post("/upstream", upstream_headers("Add", "application/x-msgpack"), packed)
    assert (answer.status, answer.content_type) == (200, "application/x-msgpack")
    assert msgpack.unpackb(answer.body[1:]) == [3, {}, "7", 3, 3]
    answer = await post("/upstream", upstream_headers("Fly"), message("Fly"))
    assert json.loads(answer.body[:-1])["error"] == "there is no method Fly"


async def test_strangers_are_refused(post: Post) -> None:
    forged = {**upstream_headers("Add"), "X-ASRS-Signature": "sha256=" + "0" * 64}
    assert (await post("/upstream", forged, message("Add", 1, 2))).status == 401
    assert (await post("/negotiate", {}, b"")).status in (401, 422)
