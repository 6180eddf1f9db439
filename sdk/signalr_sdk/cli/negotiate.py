"""`signalr negotiate`: show what a server offers, without connecting."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from .. import Limits, Timeouts
from .._core import negotiation, urls
from .._core.redaction import redact
from .._http.aiohttp_client import AiohttpClient
from .._http.negotiator import run_negotiation
from .._http.request_sender import RequestSender
from . import exit_status, options
from .connection_options import ConnectionOptions

_LABELS = {
    "asked": "asked",
    "url": "connect to",
    "connectionId": "connection id",
    "transports": "transports",
    "redirectToken": "token of the redirect",
    "tokenLifetimeSeconds": "token lifetime",
}


@options.command("signalr negotiate https://example.com/chat", "signalr negotiate https://example.com/chat --json")
def negotiate(
    url: options.Url = None,
    as_json: options.Json = False,
    timeout: options.Timeout = 30.0,
    *,
    connection: ConnectionOptions,
) -> None:
    """Show which transports a server offers, without connecting. All redirects are followed.

    Exit status: 0 done, 2 wrong usage, 3 no connection.
    """
    answer = exit_status.run(ask(connection.hub_url(url), **connection.arguments), timeout=timeout)
    if as_json:
        exit_status.show(answer)
    else:
        Console(soft_wrap=True, highlight=False, markup=False).print(_table(answer))


async def ask(url: str, *, ssl: Any, proxy: str | None, **sender_arguments: Any) -> dict[str, Any]:
    """Negotiate, following all redirects. Return the dict that `--json` prints; it has no tokens and no URL queries."""
    asked: list[str] = []
    client = AiohttpClient(ssl=ssl, proxy=proxy)
    endpoint = await negotiate_endpoint(client, urls.hub_url(url), asked, **sender_arguments)
    return {
        "asked": asked,
        "url": urls.without_query(endpoint.url),
        "connectionId": endpoint.connection_id,
        "transports": {offered.name: sorted(offered.formats) for offered in endpoint.transports},
        "redirectToken": endpoint.access_token is not None,
        "tokenLifetimeSeconds": endpoint.token_lifetime,
    }


async def negotiate_endpoint(
    client: AiohttpClient, url: str, asked: list[str], *, timeout: float | None = None, **sender_arguments: Any
) -> negotiation.Endpoint:
    """Negotiate, following all redirects, and return the `Endpoint`: URL, token and transports to connect with.

    Args:
        client: the HTTP client that sends the requests. `negotiate_endpoint` closes the client.
        url: URL of the hub.
        asked: a list to which the URL of each request is added, without its query.
        timeout: seconds for each request.
        sender_arguments: further arguments of `RequestSender`.
    """
    try:
        sender = RequestSender(client, url, timeouts=Timeouts(), **sender_arguments)
        return await run_negotiation(sender, url, redirects=Limits().redirects, timeout=timeout, asked=asked)
    finally:
        await client.close()


def _table(answer: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in answer.items():
        for index, text in enumerate(_lines(value)):
            table.add_row("" if index else _LABELS[name], text)
    return table


def _lines(value: Any) -> list[str]:
    match value:
        case None | False:
            return []
        case True:
            return ["yes"]
        case dict():
            return [redact(f"{name} ({', '.join(formats)})") for name, formats in value.items()]
        case list():
            return [redact(item) for item in value]
        case float():
            return [f"{value:g} s"]
        case _:
            return [redact(str(value))]
