"""A chat without an app server: Azure SignalR Service in serverless mode, and this FastAPI application beside it.

    export AZURE_SIGNALR_CONNECTION_STRING="Endpoint=https://NAME.service.signalr.net;AccessKey=...;Version=1.0;"
    uvicorn --app-dir examples/azure fastapi_app:app

Clients connect to `HubConnection("https://THIS/")`, which asks `/negotiate`. What they send comes to `/upstream`: name
that in the settings of the resource as the upstream URL, https://THIS/upstream.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Header, HTTPException, Request, Response

from signalr_sdk.azure import AzureSignalR, ConnectionString, UpstreamEvent, completion, verify_signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECTION_STRING = os.environ["AZURE_SIGNALR_CONNECTION_STRING"]
ACCESS_KEY = ConnectionString.parse(CONNECTION_STRING).access_key or ""

chat = AzureSignalR(CONNECTION_STRING, "chat")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Keep the connections to the service open between requests."""
    async with chat:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/negotiate")
async def negotiate(x_user: Annotated[str, Header(min_length=1)]) -> dict[str, str]:
    """Let a client in. Who it is, a header says here: put your authentication in its place."""
    return await chat.negotiate(x_user)


@app.post("/upstream")
async def upstream(request: Request) -> Response:
    """Take what the service tells about clients."""
    if not verify_signature(request.headers, ACCESS_KEY):
        raise HTTPException(401)
    event = UpstreamEvent.parse(request.headers, await request.body())
    match event.kind, event.method:
        case "connected", _:
            await chat.send_all("Joined", event.user_id, excluded=[event.connection_id])
        case "disconnected", _:
            await chat.send_all("Left", event.user_id)
        case "message", "SendMessage":
            (text,) = event.arguments
            await chat.send_all("ReceiveMessage", event.user_id, text)
            return Response(completion(event), media_type=event.content_type)
        case "message", "Add":
            return Response(completion(event, sum(event.arguments)), media_type=event.content_type)
        case _:
            answer = completion(event, error=f"there is no method {event.method}")
            return Response(answer, media_type=event.content_type)
    return Response()
