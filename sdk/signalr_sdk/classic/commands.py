"""The requests of a classic connection that are no transport: `/start`, `/send`, `/abort` and `/ping`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._core import urls
from .._core.redaction import redact_error
from .._guard.foreign import error_of
from .request_urls import form
from .transports import FORM

if TYPE_CHECKING:
    from .._http.request_sender import RequestSender
    from ..interfaces import HttpResponse
    from ..options import Transport
    from .request_urls import Address

# The largest answer to a command that is no call, in bytes.
_MAX_ANSWER = 64 * 1024


@attrs.frozen
class Commands:
    """Sends the commands of one connection.

    Attributes:
        sender: sends the requests.
        address: the URL of the requests, with the connection token.
        kind: the transport of the connection.
    """

    sender: RequestSender
    address: Address
    kind: Transport
    # Keep the URL: making it for each call would take a tenth of the processor time of a call (tests/bench/classic.py).
    _send_url: str = attrs.field(init=False, repr=False)

    @_send_url.default
    def _url_of_send(self) -> str:
        return self._url("send")

    async def start(self) -> HttpResponse:
        """Tell the server that the client is ready: it runs `OnConnected` before it answers."""
        timeout = self.sender.timeouts.request
        return await self.sender.request("GET", self._url("start"), timeout=timeout, max_bytes=_MAX_ANSWER)

    async def send(self, data: bytes, max_bytes: int) -> HttpResponse:
        """Send a call or raw data, without a time limit: a server answers when the method has ended."""
        body = form(data=data)
        return await self.sender.request(
            "POST", self._send_url, body=body, timeout=None, max_bytes=max_bytes, content_type=FORM
        )

    async def abort(self) -> None:
        """Tell the server that the client is gone for good. An error is only logged."""
        timeout = self.sender.timeouts.request
        log, url = self.sender.logs.transport, self._url("abort")
        try:
            response = await self.sender.request("POST", url, timeout=timeout, max_bytes=_MAX_ANSWER, content_type=FORM)
        except BaseException as raised:  # noqa: BLE001 - users' HTTP clients may raise anything
            error = error_of(raised, "the HTTP client")
            log.debug("the request to abort the connection failed: %s", redact_error(error))
        else:
            if response.status != 200:
                log.debug("the server refused to abort the connection (status %d)", response.status)

    async def ping(self) -> HttpResponse:
        """Keep a login or session of the user alive."""
        timeout = self.sender.timeouts.request
        return await self.sender.request("GET", self.address.ping(), timeout=timeout, max_bytes=_MAX_ANSWER)

    def _url(self, name: str) -> str:
        return self.address.command(name, self.kind)

    @property
    def where(self) -> str:
        """The URL of the connection, without its query."""
        return urls.without_query(self.address.url)
