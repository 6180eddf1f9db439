"""Bearer tokens of requests to the test server: who the user is, when the connection expires, and token renewal.

Renewal works as in ASP.NET Core 11.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from typing import TYPE_CHECKING

from aiohttp import web

from .settings import Identity, ServerSettings

if TYPE_CHECKING:
    from .settings import Authorize
    from .transport_connection import TransportConnection

_BEARER = "Bearer "
_CONNECTION_TOKEN = "X-SignalR-Connection-Token"
_NOBODY = Identity()
# Two expiry times that differ by at most this number of seconds are of the same token. They differ because `authorize`
# returns the seconds that are left, and the time of expiry is computed again at each poll, some time later.
_SAME = 0.1
_OTHER_USER = "The user associated with this connection changed."

_logger = logging.getLogger("signalr_sdk.testing")


class Authentication:
    """Asks the option `authorize` of the test server which user makes a request, and lets connections expire.

    Args:
        settings: the server's settings.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings

    async def identify(self, request: web.Request) -> Identity:
        """See `identify`."""
        return await identify(request, self._settings.authorize)

    def lifetime_members(self, identity: Identity) -> dict[str, int]:
        """Return a dict to add to the JSON answer to a negotiate or refresh request.

        The member `tokenLifetimeSeconds` is how many seconds the token is still valid. The dict is empty if the token
        never expires, or if tokens cannot be renewed.
        """
        if not self._settings.authentication_refresh or identity.expires_in is None:
            return {}
        return {"tokenLifetimeSeconds": max(math.floor(identity.expires_in), 0)}

    def set_expiry(self, connection: TransportConnection, identity: Identity) -> None:
        """Let a connection expire together with the token of `identity`, and no longer with an earlier token."""
        connection.stop_expiry()
        if identity.expires_in is None:
            return
        loop = asyncio.get_running_loop()
        connection.expires_at = loop.time() + identity.expires_in
        if self._settings.close_on_expiration:
            connection.expiry = loop.call_at(connection.expires_at, connection.expire)

    def check_user(self, connection: TransportConnection, identity: Identity) -> None:
        """Check that the user of a request is the user who has negotiated the connection.

        Raises:
            web.HTTPForbidden: another user makes the request.
        """
        if _is_other_user(connection, identity):
            raise web.HTTPForbidden(text=_OTHER_USER)

    async def take_poll(self, connection: TransportConnection, identity: Identity) -> None:
        """Check that a long poll is from the connection's user.

        If the token of the poll expires later than the connection's token, the connection expires with the new token.

        Raises:
            web.HTTPConflict: another user polls, and tokens can be renewed.
            web.HTTPForbidden: another user polls, and tokens cannot be renewed; or `authentication_refresh` refuses the
                new token.
        """
        renewable = bool(self._settings.authentication_refresh)
        if renewable and _is_other_user(connection, identity):
            raise web.HTTPConflict(text='{"error":"authentication_refresh_required"}', content_type="application/json")
        self.check_user(connection, identity)
        if not _ends_later(connection, identity):
            return
        if renewable and not await self._may_renew(identity):
            connection.drop()
            raise web.HTTPForbidden(text='{"error":"permission_change_rejected"}', content_type="application/json")
        await self._renew(connection, identity)

    async def refresh(self, request: web.Request, connections: dict[str, TransportConnection]) -> web.Response:
        """Answer a refresh request: the request brings a new bearer token for a live connection.

        Args:
            request: the request.
            connections: the connections of the hub, by their connection tokens.

        Raises:
            web.HTTPUnauthorized: `authorize` does not accept the token.
        """
        identity = await self.identify(request)
        token = request.headers.get(_CONNECTION_TOKEN, "")
        if not token:
            return _refused(400, "missing_connection_token")
        connection = connections.get(token)
        if connection is None or connection.is_forgotten:
            return _refused(404, "connection_not_found")
        if _is_other_user(connection, identity):
            return _refused(403, "user_changed")
        if not await self._may_renew(identity):
            return _refused(403, "permission_change_rejected")
        await self._renew(connection, identity)
        return web.json_response(self.lifetime_members(identity))

    async def _may_renew(self, identity: Identity) -> bool:
        """Return whether a client may renew its token.

        If the option `authentication_refresh` is a function, this function decides. Otherwise every client may renew.
        """
        allowed = self._settings.authentication_refresh
        answer = allowed(identity) if callable(allowed) else True
        return bool(await answer if inspect.isawaitable(answer) else answer)

    async def _renew(self, connection: TransportConnection, identity: Identity) -> None:
        self.set_expiry(connection, identity)
        if not self._settings.authentication_refresh or connection.client is None:
            return
        try:
            await connection.client.hub.on_authentication_refreshed()
        except Exception:
            _logger.exception("on_authentication_refreshed failed")


def bearer_token(request: web.Request) -> str | None:
    """Return the bearer token of a request: from the header `Authorization`, or `access_token` from the query."""
    header = request.headers.get("Authorization", "")
    return header.removeprefix(_BEARER) if header.startswith(_BEARER) else request.query.get("access_token")


async def identify(request: web.Request, authorize: Authorize | None) -> Identity:
    """Return the user who makes a request.

    Args:
        request: the request.
        authorize: the option `authorize` of the server.

    Raises:
        web.HTTPUnauthorized: `authorize` does not accept the token.
    """
    if authorize is None:
        return _NOBODY
    answer = authorize(bearer_token(request))
    if inspect.isawaitable(answer):
        answer = await answer
    if answer is None:
        raise web.HTTPUnauthorized(text="")
    return Identity(answer) if isinstance(answer, str) else answer


def _is_other_user(connection: TransportConnection, identity: Identity) -> bool:
    return (connection.user or "") != identity.name


def _ends_later(connection: TransportConnection, identity: Identity) -> bool:
    """Return whether the token of a request expires later than the token that the connection has now."""
    if connection.expires_at is None:
        return False
    if identity.expires_in is None:
        return True
    return asyncio.get_running_loop().time() + identity.expires_in > connection.expires_at + _SAME


def _refused(status: int, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)
