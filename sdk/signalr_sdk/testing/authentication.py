"""Who comes in, and for how long: bearer tokens, and their renewal on a live connection as in .NET 11."""

from __future__ import annotations

import asyncio
import inspect
import math
from typing import TYPE_CHECKING

from aiohttp import web

from .settings import Identity

if TYPE_CHECKING:
    from .settings import ServerSettings
    from .transport_connection import TransportConnection

_BEARER = "Bearer "
_CONNECTION_TOKEN = "X-SignalR-Connection-Token"
_NOBODY = Identity()


class Authentication:
    """Asks the server's `authorize`.

    Args:
        settings: the server's.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings

    async def identity(self, request: web.Request) -> Identity:
        """Return who makes a request.

        Raises:
            web.HTTPUnauthorized: nobody who may.
        """
        identity = await self._ask(request)
        if identity is None:
            raise web.HTTPUnauthorized(text="")
        return identity

    async def _ask(self, request: web.Request) -> Identity | None:
        authorize = self._settings.authorize
        if authorize is None:
            return _NOBODY
        header = request.headers.get("Authorization", "")
        token = header.removeprefix(_BEARER) if header.startswith(_BEARER) else request.query.get("access_token")
        answer = authorize(token)
        if inspect.isawaitable(answer):
            answer = await answer
        return Identity(answer) if isinstance(answer, str) else answer

    def lifetime(self, identity: Identity) -> dict[str, int]:
        """Return what an answer says of the lifetime of a token."""
        if not self._settings.authentication_refresh or identity.expires_in is None:
            return {}
        return {"tokenLifetimeSeconds": math.ceil(identity.expires_in)}

    def note(self, connection: TransportConnection, identity: Identity) -> None:
        """Have a connection live for as long as this token."""
        connection.never_expire()
        if identity.expires_in is None:
            return
        loop = asyncio.get_running_loop()
        connection.expires_at = loop.time() + identity.expires_in
        if self._settings.close_on_expiration:
            connection.expiry = loop.call_at(connection.expires_at, connection.expire)

    def check_poll(self, connection: TransportConnection | None) -> None:
        """Have a poll that comes with an old token answered so that the client renews it.

        Raises:
            web.HTTPConflict: the client is to do so.
        """
        if (
            self._settings.authentication_refresh
            and connection is not None
            and connection.expires_at is not None
            and connection.expires_at < asyncio.get_running_loop().time()
        ):
            raise web.HTTPConflict(text='{"error":"authentication_refresh_required"}', content_type="application/json")

    async def refresh(self, request: web.Request, connections: dict[str, TransportConnection]) -> web.Response:
        """Answer a request that brings a new token for a live connection."""
        token = request.headers.get(_CONNECTION_TOKEN, "")
        if not token:
            return _refused(400, "missing_connection_token")
        identity = await self._ask(request)
        if identity is None:
            return _refused(401, "invalid_token")
        connection = connections.get(token)
        if connection is None or connection.is_forgotten:
            return _refused(404, "connection_not_found")
        if (connection.user or "") != identity.name:
            return _refused(403, "user_mismatch")
        self.note(connection, identity)
        return web.json_response(self.lifetime(identity))


def _refused(status: int, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)
