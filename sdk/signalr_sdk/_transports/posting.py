"""Sending by POST, which Server-Sent Events and long polling share; and what refusals mean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._core import urls
from .._core.headers import parse_retry_after
from .._core.redaction import redact
from ..errors import ConnectionClosedError, TransportError
from ..options import TransferFormat
from .interruption import Interrupted

if TYPE_CHECKING:
    from .._http.request_sender import RequestSender
    from ..interfaces import HttpResponse
    from ..options import Transport
    from .interruption import Interruptible

# Servers answer a POST with nothing; a proxy may add a page that says why not.
_ANSWER_BYTES = 1024 * 1024

_CONTENT_TYPES = {
    TransferFormat.TEXT: "text/plain;charset=UTF-8",
    TransferFormat.BINARY: "application/octet-stream",
}

_ADVICE = {
    401: "the token is missing, expired or not accepted",
    403: "access is denied, or a proxy blocks this transport",
    404: "the connection's id is not known there; several servers behind one address need sticky sessions",
    409: "the connection has an active transport already",
}


class Poster:
    """Sends the messages of one connection, one POST at a time.

    Args:
        sender: sends the requests.
        url: where to.
        transfer_format: what the messages are.
        waits: whose end ends a POST too.
    """

    def __init__(self, sender: RequestSender, url: str, transfer_format: TransferFormat, waits: Interruptible) -> None:
        self._sender = sender
        self._url = url
        self._content_type = _CONTENT_TYPES[transfer_format]
        self._waits = waits

    async def send(self, data: bytes) -> None:
        """Send, and return when the server has taken it.

        Raises:
            ConnectionClosedError: it was not taken, or it is not known whether it was.
        """
        # No time limit: a server that is busy holds a POST open, and one cut off would leave it half a message.
        try:
            response = await self._waits.run(
                lambda: self._sender.request(
                    "POST", self._url, body=data, timeout=None, max_bytes=_ANSWER_BYTES, content_type=self._content_type
                )
            )
        except Interrupted:
            raise lost("the connection was closed while this was being sent") from None
        except OSError as error:
            raise lost(f"sending failed, and it is not known what has arrived: {error}") from error
        if not 200 <= response.status < 300:
            raise lost(_refusal(response.status))


def _refusal(status: int) -> str:
    if status == 404:
        return "the connection is gone: the server does not know it any more (status 404)"
    if status == 413:
        return "the server refused what was sent: it is too large (status 413)"
    return f"the server refused what was sent (status {status})"


def lost(message: str) -> ConnectionClosedError:
    """Return the error for a connection that is lost."""
    return ConnectionClosedError(message, allow_reconnect=True)


def advice(status: int | None) -> str:
    """Return what a refusal with this status means for a transport that was to be opened."""
    text = _ADVICE.get(status or 0)
    return f": {text}" if text else ""


def refused(kind: Transport, url: str, response: HttpResponse, message: str | None = None) -> TransportError:
    """Return the error for a transport that the server's answer keeps from starting."""
    location = response.header("Location")
    if message is None:
        message = f"the server refused it{advice(response.status)}"
        if location and 300 <= response.status < 400:
            message = f"the server redirects to {redact(urls.without_query(location))}, which is not followed"
    retry_after = parse_retry_after(response.header("Retry-After"), time.time())
    return TransportError(
        message, transport=kind, url=urls.without_query(url), status=response.status, retry_after=retry_after
    )
