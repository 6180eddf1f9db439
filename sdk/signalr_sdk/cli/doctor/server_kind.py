"""Tells which kind of server answers: ASP.NET Core, Azure SignalR Service, classic ASP.NET SignalR, or none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._core import urls

if TYPE_CHECKING:
    from ..._core.negotiation import Endpoint
    from ...interfaces import HttpResponse

_AZURE_HOSTS = (".service.signalr.net", ".signalr.azure.cn", ".signalr.azure.us")


CLASSIC = "classic ASP.NET SignalR"


def server_kind(asked: str, endpoint: Endpoint | None, answer: HttpResponse | None) -> str:
    """Return which kind of server a hub's URL leads to, as a text for users. A classic server is told apart before.

    Args:
        asked: URL of the hub.
        endpoint: the result of negotiate; `None` if negotiate failed.
        answer: the last answer to a negotiate request, if there was one.
    """
    if endpoint is not None:
        if not _is_azure(endpoint.url):
            return "ASP.NET Core SignalR"
        direct = urls.same_origin(asked, endpoint.url) and _is_azure(asked)
        return "Azure SignalR Service" + ("" if direct else ", behind an application server")
    return "none that answers" if answer is None else _kind_by_answer(answer)


def _kind_by_answer(answer: HttpResponse) -> str:
    if 300 <= answer.status < 400:
        return "a web server that redirects"
    if is_html(answer):
        return "a web page, no hub"
    return "not known: it refuses first" if answer.status in (401, 403) else "a web server, but no hub there"


def is_html(answer: HttpResponse) -> bool:
    """Return whether an HTTP response is a web page (HTML), which no hub sends."""
    return "html" in (answer.header("Content-Type") or "").lower() or answer.body.lstrip()[:1] == b"<"


def _is_azure(url: str) -> bool:
    """Return whether a URL has a host of Azure SignalR Service, or the path `/client` as in the service's emulator."""
    path, _mark, query = url.partition("?")
    _scheme, host, _port = urls.origin(url)
    is_client = path.rstrip("/").endswith("/client") and "hub=" in query.lower()
    return host.endswith(_AZURE_HOSTS) or is_client
