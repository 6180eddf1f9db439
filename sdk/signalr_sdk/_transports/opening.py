"""Opens one transport of a given kind: WebSockets, Server-Sent Events or long polling."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from .._core import urls
from .._core.redaction import redact_error
from ..errors import ConnectionFailedError, RemoteProtocolError, TransportError
from ..options import Transport
from .long_polling import LongPollingTransport
from .server_sent_events import ServerSentEventsTransport
from .web_sockets import WebSocketsTransport

if TYPE_CHECKING:
    from .._http.request_sender import RequestSender
    from .._http.token_refresh import Refresher
    from .contract import ActiveTransport, TransportSettings


async def open_transport(
    kind: Transport,
    sender: RequestSender,
    url: str,
    settings: TransportSettings,
    *,
    refresher: Refresher | None = None,
) -> ActiveTransport:
    """Open a transport. Cancelling leaves nothing open. Requests and the token provider have time limits.

    Args:
        kind: the transport to open.
        sender: sends the requests of the transport.
        url: the URL to connect to, with the connection's `id`.
        settings: formats and limits.
        refresher: refreshes the token when the response to a long poll asks for a refresh.

    Raises:
        TransportError: the transport could not be started.
        ConnectionFailedError: the token provider failed, so every other transport would fail too.
    """
    try:
        match kind:
            case Transport.WEBSOCKETS:
                return await WebSocketsTransport.open(sender, url, settings)
            case Transport.SERVER_SENT_EVENTS:
                return await ServerSentEventsTransport.open(sender, url, settings)
            case Transport.LONG_POLLING:
                return await LongPollingTransport.open(sender, url, settings, refresher)
            case _:
                assert_never(kind)
    except ConnectionFailedError:
        raise
    except (OSError, RemoteProtocolError) as error:
        raise TransportError(redact_error(error), transport=kind, url=urls.without_query(url)) from error
