"""Bearer tokens of requests: who the user is, when the token expires, and how clients renew tokens, as in .NET 11."""

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
    """Asks the option `authorize` of the server which user makes a request.

    Args:
        settings: the server's settings.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings

    async def identify(self, request: web.Request) -> Identity:
        """Return the user who makes the request.

        Raises:
            web.HTTPUnauthorized: `authorize` does not accept the token.
        """
        identity = await self._authorize(request)
        if identity is None:
            raise web.HTTPUnauthorized(text="")
        return identity

    async def _authorize(self, request: web.Request) -> Identity | None:
        authorize = self._settings.authorize
        if authorize is None:
            return _NOBODY
        header = request.headers.get("Authorization", "")
        token = header.removeprefix(_BEARER) if header.startswith(_BEARER) else request.query.get("access_token")
        answer = authorize(token)
        if inspect.isawaitable(answer):
            answer = await answer
        return Identity(answer) if isinstance(answer, str) else answer

    def lifetime_members(self, identity: Identity) -> dict[str, int]:
        """Return the members of a JSON response that tell the client how long its token is valid; empty if none."""
        if not self._settings.authentication_refresh or identity.expires_in is None:
            return {}
        return {"tokenLifetimeSeconds": math.ceil(identity.expires_in)}

    def set_expiry(self, connection: TransportConnection, identity: Identity) -> None:
        """Let a connection expire when the token of this identity expires."""
        connection.stop_expiry()
        if identity.expires_in is None:
            return
        loop = asyncio.get_running_loop()
        connection.expires_at = loop.time() + identity.expires_in
        if self._settings.close_on_expiration:
            connection.expiry = loop.call_at(connection.expires_at, connection.expire)

    def check_poll(self, connection: TransportConnection | None) -> None:
        """Check before a poll that the token of the connection has not expired. Only if clients can renew tokens.

        Raises:
            web.HTTPConflict: the token has expired. The response asks the client to renew the token.
        """
        if (
            self._settings.authentication_refresh
            and connection is not None
            and connection.expires_at is not None
            and connection.expires_at < asyncio.get_running_loop().time()
        ):
            raise web.HTTPConflict(text='{"error":"authentication_refresh_required"}', content_type="application/json")

    async def refresh(self, request: web.Request, connections: dict[str, TransportConnection]) -> web.Response:
        """Answer a request that brings a new token for a live connection.

        Args:
            request: the request.
            connections: the connections of the hub, by their connection tokens.
        """
        token = request.headers.get(_CONNECTION_TOKEN, "")
        if not token:
            return _refused(400, "missing_connection_token")
        identity = await self._authorize(request)
        if identity is None:
            return _refused(401, "invalid_token")
        connection = connections.get(token)
        if connection is None or connection.is_forgotten:
            return _refused(404, "connection_not_found")
        if (connection.user or "") != identity.name:
            return _refused(403, "user_mismatch")
        self.set_expiry(connection, identity)
        return web.json_response(self.lifetime_members(identity))


def _refused(status: int, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)
