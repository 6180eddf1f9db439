"""Sends data to the server by POST requests: the same for Server-Sent Events and for long polling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.redaction import redact_error
from ..errors import RemoteProtocolError
from ..options import TransferFormat
from .interruption import Interrupted, InterruptibleSteps
from .transport_errors import lost, refused_later

if TYPE_CHECKING:
    from .._http.request_sender import RequestSender
    from .contract import TransportSettings

# The largest response to a POST request, in bytes. Servers send an empty body, and a proxy may send a page that tells
# what is wrong.
_ANSWER_BYTES = 1024 * 1024

_CONTENT_TYPES = {
    TransferFormat.TEXT: "text/plain;charset=UTF-8",
    TransferFormat.BINARY: "application/octet-stream",
}


class PostingTransport:
    """The sending half of an `ActiveTransport`: each `send` is one POST.

    Args:
        sender: sends the requests.
        url: the URL of the requests.
        settings: formats and limits.
    """

    def __init__(self, sender: RequestSender, url: str, *, settings: TransportSettings) -> None:
        self._sender = sender
        self._url = url
        self._content_type = _CONTENT_TYPES[settings.transfer_format]
        self._steps = InterruptibleSteps()

    async def send(self, data: bytes, /) -> None:
        """See `ActiveTransport.send`. Returns when the server has accepted the data.

        Raises:
            ConnectionClosedError: the server did not accept the data, or it is not known whether the server did.
        """
        # Set no time limit: a busy server may answer late, and a POST request that is cut off may leave half a message
        # at the server.
        try:
            response = await self._steps.run(
                lambda: self._sender.request(
                    "POST", self._url, body=data, timeout=None, max_bytes=_ANSWER_BYTES, content_type=self._content_type
                )
            )
        except Interrupted:
            raise lost("the connection was closed while this was being sent") from None
        except (OSError, RemoteProtocolError) as error:
            raise lost(f"sending failed, and it is not known what has arrived: {redact_error(error)}") from error
        if not 200 <= response.status < 300:
            raise refused_later("what was sent", response.status)

    def send_now(self, _data: bytes, /) -> bool:
        """See `ActiveTransport.send_now`. Always returns `False`: a POST request has to be waited for."""
        return False

    async def flush(self) -> None:
        """See `ActiveTransport.flush`. Does nothing: when `send` returns, the server has the data already."""

    def drop(self) -> None:
        """See `ActiveTransport.drop`."""
        self._steps.interrupt()
