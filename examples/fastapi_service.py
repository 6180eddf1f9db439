"""A FastAPI service with several workers, each of which holds one connection to a hub for all of its requests.

    python examples/fastapi_service.py https://example.com/chat

It wants a hub with a method `SendToAll(event, text)`. In earnest an ASGI server runs `application(url)` in each worker;
the proxy belongs to the rehearsal.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx
from fastapi import FastAPI, HTTPException

from signalr_sdk import ConnectionState, HubConnection, HubError, Retry, SignalRError
from signalr_sdk.testing import FaultProxy


def application(url: str) -> FastAPI:
    """Return the service for one worker: a connection must not be shared between processes."""
    hub = HubConnection(url, reconnect=Retry.forever(), retry_start=True)
    heard = hub.messages("chat", buffer=100, overflow="drop_oldest")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with hub:  # the service starts when the hub can be called
            yield

    app = FastAPI(lifespan=lifespan)
    app.state.hub = hub

    @app.get("/ready")
    async def ready() -> str:
        if hub.state is not ConnectionState.CONNECTED:
            raise HTTPException(503, f"the hub is {hub.state}")
        return hub.state

    @app.post("/say")
    async def say(text: str) -> None:
        try:
            await hub.invoke("SendToAll", "chat", text, timeout=5)  # while the connection is lost, the request waits
        except HubError as error:
            raise HTTPException(502, str(error)) from error
        except SignalRError as error:
            raise HTTPException(503, "the hub cannot be reached") from error

    @app.get("/next")
    async def next_heard() -> str:
        (text,) = await heard.next(timeout=20)
        return str(text)

    return app


async def main(url: str) -> None:
    """Be an ASGI server with two workers, and their clients; the line is cut meanwhile."""
    there, back = urlsplit(url), asyncio.Queue[str | None]()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(there.port or 80, there.hostname or ""))
        workers = [application(proxy.url(there.path)) for _ in range(2)]
        clients = [httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") for app in workers]
        for app, client in zip(workers, clients, strict=True):
            app.state.hub.on_reconnected(back.put_nowait)
            await stack.enter_async_context(app.router.lifespan_context(app))
            await stack.enter_async_context(client)
        proxy.cut()
        for _ in workers:
            await back.get()
        (await clients[0].post("/say", params={"text": "hello"})).raise_for_status()
        print("heard by the other worker:", (await clients[1].get("/next")).raise_for_status().json())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
