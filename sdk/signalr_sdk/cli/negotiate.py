"""`signalr negotiate`: show what a server offers, without connecting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from .. import Limits, Timeouts
from .._core import negotiation, urls
from .._core.redaction import redact
from .._http.aiohttp_client import AiohttpClient
from .._http.negotiator import run_negotiation, run_steps
from .._http.request_sender import RequestSender
from ..classic.negotiation import Endpoint
from ..classic.negotiation import negotiate as negotiate_classic
from ..classic.request_urls import Address, connection_data
from . import exit_status, options
from .classic_hubs import HINT, Classic
from .connection_options import ConnectionOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

_LABELS = {
    "asked": "asked",
    "url": "connect to",
    "connectionId": "connection id",
    "transports": "transports",
    "redirectToken": "token of the redirect",
    "tokenLifetimeSeconds": "token lifetime",
    "protocolVersion": "protocol",
    "webSockets": "WebSockets",
    "keepAliveTimeout": "keep-alive timeout",
    "disconnectTimeout": "disconnect timeout",
    "connectionTimeout": "longest poll",
    "transportConnectTimeout": "connect timeout",
    "longPollDelay": "delay between polls",
}


@options.command(
    "signalr negotiate https://example.com/chat",
    "signalr negotiate https://example.com/chat --json",
    "signalr negotiate --classic https://example.com/signalr",
)
def negotiate(
    url: options.Url = None,
    as_json: options.Json = False,
    timeout: options.Timeout = 30.0,
    classic: Classic = False,
    *,
    connection: ConnectionOptions,
) -> None:
    """Show which transports a server offers, without connecting. All redirects are followed.

    Exit status: 0 done, 2 wrong usage, 3 no connection.
    """
    asked = (ask_classic if classic else ask)(connection.hub_url(url), **connection.arguments)
    answer = connection.run(asked, timeout=timeout, core=HINT if classic else "")
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


async def ask_classic(url: str, *, ssl: Any, proxy: str | None, **sender_arguments: Any) -> dict[str, Any]:
    """Negotiate with a classic server, without naming hubs. Return the dict that `--json` prints."""
    asked: list[str] = []
    client = AiohttpClient(ssl=ssl, proxy=proxy)
    endpoint = await negotiate_classic_endpoint(client, urls.hub_url(url), asked, **sender_arguments)
    answer = endpoint.negotiated
    return {
        "asked": asked,
        "url": urls.without_query(endpoint.address.url),
        "connectionId": answer.connection_id,
        "protocolVersion": answer.version,
        "webSockets": answer.web_sockets,
        "keepAliveTimeout": answer.keep_alive_timeout,
        "disconnectTimeout": answer.disconnect_timeout,
        "connectionTimeout": answer.connection_timeout,
        "transportConnectTimeout": answer.connect_timeout,
        "longPollDelay": answer.long_poll_delay,
        "redirectToken": endpoint.access_token is not None,
    }


async def negotiate_classic_endpoint(
    client: AiohttpClient,
    url: str,
    asked: list[str],
    *,
    hubs: Sequence[str] = (),
    timeout: float | None = Timeouts().request,
    **sender_arguments: Any,
) -> Endpoint:
    """Negotiate with a classic server, following all redirects, and return the `Endpoint`.

    Args:
        client: the HTTP client that sends the requests. `negotiate_classic_endpoint` closes the client.
        url: URL of all hubs.
        asked: a list to which the URL of each request is added, without its query.
        hubs: the names of the hubs that are wanted.
        timeout: seconds for each request.
        sender_arguments: further arguments of `RequestSender`.
    """
    try:
        sender = RequestSender(client, url, timeouts=Timeouts(), **sender_arguments)
        address = Address(url, connection_data(hubs))
        steps = negotiate_classic(address, hubs=tuple(hubs), limit=Limits().redirects, now=time.time())
        endpoint: Endpoint = await run_steps(sender, steps, url=url, timeout=timeout, asked=asked)
    finally:
        await client.close()
    return endpoint


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
