"""The same chat as an Azure Function: Azure SignalR Service in serverless mode, and no server at all.

Clients connect to `HubConnection("https://APP.azurewebsites.net/api")`, which asks `/api/negotiate`. The upstream URL
in the settings of the SignalR resource is https://APP.azurewebsites.net/api/upstream. The application's settings need
AZURE_SIGNALR_CONNECTION_STRING, and its requirements.txt signalr-sdk[azure] and azure-functions.
"""

from __future__ import annotations

import json
import os

import azure.functions as func

from signalr_sdk.azure import AzureSignalR, ConnectionString, UpstreamEvent, completion, verify_signature

CONNECTION_STRING = os.environ["AZURE_SIGNALR_CONNECTION_STRING"]
ACCESS_KEY = ConnectionString.parse(CONNECTION_STRING).access_key or ""

app = func.FunctionApp()


@app.route(route="negotiate", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def negotiate(request: func.HttpRequest) -> func.HttpResponse:
    """Let a client in. App Service authentication says who it is: without it, anybody could set that header."""
    user = request.headers.get("x-ms-client-principal-name")
    if not user:
        return func.HttpResponse(status_code=401)
    async with AzureSignalR(CONNECTION_STRING, "chat") as chat:
        answer = await chat.negotiate(user)
    return func.HttpResponse(json.dumps(answer), mimetype="application/json")


@app.route(route="upstream", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def upstream(request: func.HttpRequest) -> func.HttpResponse:
    """Take what the service tells about clients."""
    if not verify_signature(request.headers, ACCESS_KEY):
        return func.HttpResponse(status_code=401)
    event = UpstreamEvent.parse(request.headers, request.get_body())
    async with AzureSignalR(CONNECTION_STRING, "chat") as chat:
        answer = await handle(chat, event)
    return func.HttpResponse(answer, mimetype=event.content_type)


async def handle(chat: AzureSignalR, event: UpstreamEvent) -> bytes:
    """Do what a client's coming, going or message asks for; return the answer to it."""
    match event.kind, event.method:
        case "connected", _:
            await chat.send_all("Joined", event.user_id, excluded=[event.connection_id])
        case "disconnected", _:
            await chat.send_all("Left", event.user_id)
        case "message", "SendMessage":
            (text,) = event.arguments
            await chat.send_all("ReceiveMessage", event.user_id, text)
        case "message", "Add":
            return completion(event, sum(event.arguments))
        case _:
            return completion(event, error=f"there is no method {event.method}")
    return completion(event)
