"""The test server's side of the handshake: waits for the handshake request of a client, checks and answers it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from .._core import handshake
from ..errors import ConnectionClosedError, HandshakeError
from ..options import TransferFormat, Transport
from ..protocols.framing import SEPARATOR
from .error_texts import InvalidDataException, check_handshake, exception_text

if TYPE_CHECKING:
    from .._core.routing import Deliveries
    from .._core.session import ServerSession
    from .connection_buffers import ConnectionBuffers
    from .settings import ServerSettings

_logger = logging.getLogger("signalr_sdk.testing")


async def shake_hands(
    session: ServerSession, buffers: ConnectionBuffers, settings: ServerSettings
) -> Deliveries | None:
    """Do the handshake with a client. Return `None` if the handshake failed.

    After a successful handshake, return the deliveries: a list of calls to make, for the messages that came together
    with the handshake request. The client gets a handshake response, which holds an error if the handshake failed. A
    client that has disconnected gets no response.
    """
    request, deliveries = b"", None
    try:
        async with asyncio.timeout(settings.handshake_timeout):
            while not session.ready:
                payload = await buffers.read()
                if payload is None:
                    return None
                request += payload
                deliveries = session.receive(payload, asyncio.get_running_loop().time())
    except HandshakeError as error:
        why = _malformed(request.partition(SEPARATOR)[0], detailed=settings.detailed_errors) or error.message
    except TimeoutError:
        why = "Handshake was canceled."
    except ConnectionClosedError as error:
        _logger.info("no handshake: %s", error)
        return None
    else:
        if buffers.transport != Transport.SERVER_SENT_EVENTS or not is_binary(session):
            await buffers.write(session.reply)
            return deliveries
        why = (
            f"Cannot use the '{session.protocol.name}' protocol on the current transport. The transport does not "
            f"support 'Binary' transfer format."
        )
    await buffers.write(handshake.response(why))
    return None


def is_binary(session: ServerSession) -> bool:
    """Return whether frames to the client are binary. They are text until the handshake has chosen MessagePack."""
    return session.ready and session.protocol.transfer_format is TransferFormat.BINARY


def _malformed(request: bytes, *, detailed: bool) -> str | None:
    try:
        check_handshake(request)
    except InvalidDataException as error:
        return "An unexpected error occurred during connection handshake." + exception_text(error, detailed=detailed)
    return None
