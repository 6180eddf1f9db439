"""A FastAPI service that holds one connection to a hub, for all of its requests.

    python examples/fastapi_service.py https://example.com/chat

It wants a hub with a method `SendToAll(event, text)` that sends the event on to all its clients. In earnest an ASGI
server runs `application(url)`; here the program asks it a few things and ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from fastapi import FastAPI, HTTPException

from signalr_sdk import ConnectionState, HubConnection, HubError, InvocationTimeoutError, SignalRError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def application(url: str) -> FastAPI:
    """Return the service."""
    hub = HubConnection(url, retry_start=True)
    heard: deque[str] = deque(maxlen=100)  # the newest
    news = asyncio.Condition()

    @hub.on("chat")
    async def hear(text: str) -> None:
        async with news:
            heard.append(text)
            news.notify_all()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # The service starts when the hub can be called. If it should start without, run `hub.run()` as a task instead.
        async with hub:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        if hub.state is not ConnectionState.CONNECTED:
            raise HTTPException(503, f"the hub is {hub.state}")
        return {"hub": hub.state, "transport": hub.transport}

    @app.post("/say")
    async def say(text: str) -> None:
        # While the connection is lost, a request waits for it, but not for ever.
        try:
            await hub.invoke("SendToAll", "chat", text, timeout=5)
        except HubError as error:
            raise HTTPException(502, str(error)) from error
        except InvocationTimeoutError as error:
            raise HTTPException(504, "the hub does not answer") from error
        except SignalRError as error:
            raise HTTPException(503, "there is no connection to the hub") from error

    @app.get("/heard")
    async def wait_for_news(more_than: int = -1) -> list[str]:
        async with news:
            await news.wait_for(lambda: len(heard) > more_than)
        return list(heard)

    return app


async def main(url: str) -> None:
    """Do what an ASGI server and its clients do."""
    app = application(url)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
    ):
        print((await client.get("/health")).raise_for_status().json())
        (await client.post("/say", params={"text": "hello"})).raise_for_status()
        print((await client.get("/heard", params={"more_than": 0})).raise_for_status().json())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
