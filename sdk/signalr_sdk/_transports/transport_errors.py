"""Makes the errors for a transport that the server refuses to open, and for a connection that is lost later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._core import urls
from .._core.headers import parse_retry_after
from .._core.redaction import redact
from ..errors import ConnectionClosedError, TransportError

if TYPE_CHECKING:
    from ..interfaces import HttpResponse
    from ..options import Transport

_ADVICE = {
    401: ": the token is missing, expired or not accepted",
    403: ": access is denied, or a proxy blocks this transport",
    404: ": the connection's id is not known there; several servers behind one address need sticky sessions",
    409: ": the connection has an active transport already",
}


def lost(message: str) -> ConnectionClosedError:
    """Return the error for a lost connection: a `ConnectionClosedError` that allows the client to reconnect."""
    return ConnectionClosedError(message, allow_reconnect=True)


def refused_later(what: str, status: int) -> ConnectionClosedError:
    """Return the error for a request that the server refuses although the transport is open already.

    Args:
        what: what was refused, for the error text, such as "a poll".
        status: the status of the response.
    """
    if status == 404:
        return lost("the connection is gone: the server does not know it any more (status 404)")
    reason = ": it is too large" if status == 413 else ""
    return lost(f"the server refused {what}{reason} (status {status})")


def advice(status: int | None) -> str:
    """Return an explanation of the HTTP status with which the server refused a transport, for the end of an error text.

    Empty for a status without an explanation.
    """
    return _ADVICE.get(status or 0, "")


def refused(kind: Transport, url: str, response: HttpResponse, *, message: str | None = None) -> TransportError:
    """Return the error for a transport that cannot start, because the server refused or answered wrongly.

    Args:
        kind: the transport.
        url: the URL of the request.
        response: the server's answer.
        message: what is wrong; by default the text is chosen by the status of the response.
    """
    location = response.header("Location")
    if message is None:
        message = f"the server refused it{advice(response.status)}"
        if location and 300 <= response.status < 400:
            message = f"the server redirects to {redact(urls.without_query(location))}, which is not followed"
    retry_after = parse_retry_after(response.header("Retry-After"), time.time())
    return TransportError(
        message, transport=kind, url=urls.without_query(url), status=response.status, retry_after=retry_after
    )
