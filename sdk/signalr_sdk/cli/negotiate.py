"""`signalr negotiate`: show what a server offers, without connecting."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from .. import Limits, Timeouts
from .._core import negotiation, urls
from .._http.aiohttp_client import AiohttpClient
from .._http.negotiator import run_negotiation
from .._http.request_sender import RequestSender
from . import options

_NAMES = {
    "asked": "asked",
    "url": "connect to",
    "connectionId": "connection id",
    "transports": "transports",
    "redirectToken": "token of the redirect",
    "tokenLifetimeSeconds": "token lifetime",
}


@options.connecting
def negotiate(
    settings: options.Settings, url: options.Url, as_json: options.Json = False, timeout: options.Timeout = 30.0
) -> None:
    """Show what a server offers: redirects are followed, nothing is connected.

    Exit status: 0 done, 2 wrong usage, 3 no connection.
    """
    answer = options.run(ask(url, **settings.arguments), timeout=timeout)
    if as_json:
        options.show(answer)
    else:
        Console(soft_wrap=True, highlight=False, markup=False).print(_table(answer))


async def ask(url: str, *, ssl: Any, proxy: str | None, **settings: Any) -> dict[str, Any]:
    """Negotiate over all redirects; return what came of it, without queries and tokens."""
    asked: list[str] = []
    endpoint = await endpoint_of(AiohttpClient(ssl=ssl, proxy=proxy), urls.hub_url(url), asked, **settings)
    return _described(endpoint, asked)


async def endpoint_of(
    client: AiohttpClient, url: str, asked: list[str], *, timeout: float | None = None, **settings: Any
) -> negotiation.Endpoint:
    """Negotiate over all redirects.

    Args:
        client: sends the requests, and is closed.
        url: the hub's.
        asked: gets the URLs that were asked, without their queries.
        timeout: seconds for each request.
        settings: for `RequestSender`.
    """
    try:
        sender = RequestSender(client, url, timeouts=Timeouts(), **settings)
        return await run_negotiation(sender, url, redirects=Limits().redirects, timeout=timeout, asked=asked)
    finally:
        await client.close()


def _described(endpoint: negotiation.Endpoint, asked: list[str]) -> dict[str, Any]:
    return {
        "asked": asked,
        "url": urls.without_query(endpoint.url),
        "connectionId": endpoint.connection_id,
        "transports": {offered.name: sorted(offered.formats) for offered in endpoint.transports},
        "redirectToken": endpoint.access_token is not None,
        "tokenLifetimeSeconds": endpoint.token_lifetime,
    }


def _table(answer: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in answer.items():
        for index, text in enumerate(_lines(value)):
            table.add_row("" if index else _NAMES[name], text)
    return table


def _lines(value: Any) -> list[str]:
    match value:
        case None | False:
            return []
        case True:
            return ["yes"]
        case dict():
            return [f"{name} ({', '.join(formats)})" for name, formats in value.items()]
        case list():
            return [str(item) for item in value]
        case float():
            return [f"{value:g} s"]
        case _:
            return [str(value)]
