"""The long polling transport of the test server: sends data to the client in the responses to polls."""

from __future__ import annotations

import asyncio

from aiohttp import web

from .._guard.tasks import spawn
from .fault_points import FaultPoint
from .transport_connection import UNCACHED, TransportConnection


async def answer_poll(request: web.Request, connection: TransportConnection) -> web.Response:
    """Answer a poll with the data that is buffered for the client, or that comes within `poll_timeout`.

    A newer poll of the same connection ends this poll. `HubEndpoint` answers the first poll of a connection itself.
    """
    connection.stop_gap_timer()
    if connection.poll is not None:
        connection.poll.cancel()
    frame = connection.buffers.next_frame(lambda: connection.frame_rule(text=False))
    poll = connection.poll = spawn(frame, "hub poll")
    tcp = connection.tcp = request.transport
    try:
        await asyncio.wait({poll}, timeout=connection.hub.settings.poll_timeout)
        if poll.done() and not poll.cancelled():
            await connection.apply_faults(FaultPoint.FRAME_OUT)
    finally:
        # Cancel the task of this poll, so that it does not take data that belongs to the next poll. The data stays in
        # the buffer.
        poll.cancel()
        if connection.tcp is tcp:
            connection.tcp = None
        if connection.poll is poll:
            connection.poll = None
            connection.drop_after()
    if not poll.done():
        return poll_response(b"")
    if poll.cancelled():
        return web.Response(status=204)  # a newer poll has replaced this poll
    data = poll.result()
    if data is None:
        connection.drop()
    return poll_response(data)


def poll_response(data: bytes | None) -> web.Response:
    """Return the response to a poll: status 200 with `data`, or 204 if `data` is `None` (the connection has ended)."""
    if data is None:
        return web.Response(status=204)
    return web.Response(body=data, content_type="application/octet-stream", headers=UNCACHED)
