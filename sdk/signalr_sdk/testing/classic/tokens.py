"""Connection tokens and groups tokens: texts that clients send back, and that only the server can make."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY = 32
_MAC = 16
_NONCE = 6


class TokenKeys:
    """The keys with which a server makes and checks its tokens.

    After a restart with the same keys, a server accepts the older tokens; with other keys, the server refuses them.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(_KEY)

    def connection_token(self, connection_id: str, user: str) -> str:
        """Return the token of a connection, which belongs to one user; an empty text stands for nobody."""
        return self._protect("connection", f"{connection_id}:{user}")

    def read_connection_token(self, token: str) -> tuple[str, str] | None:
        """Return the connection id and the user; `None` if the token was not made with these keys."""
        text = self._unprotect("connection", token)
        if text is None:
            return None
        connection_id, _colon, user = text.partition(":")
        return connection_id, user

    def groups_token(self, connection_id: str, groups: Iterable[str]) -> str:
        """Return a token for the groups that a connection is in."""
        return self._protect("groups", json.dumps([connection_id, *sorted(groups)]))

    def read_groups_token(self, token: str, connection_id: str) -> list[str]:
        """Return the groups in a token; none if the token is of another connection, or was made with other keys."""
        text = self._unprotect("groups", token)
        owner, *groups = json.loads(text) if text else [""]
        return groups if owner == connection_id else []

    def _protect(self, purpose: str, text: str) -> str:
        # A random part makes each token another one, even for the same text, as on a real server.
        body = secrets.token_bytes(_NONCE) + text.encode()
        return base64.b64encode(self._mac(purpose, body) + body).decode()

    def _unprotect(self, purpose: str, token: str) -> str | None:
        try:
            data = base64.b64decode(token, validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, body = data[:_MAC], data[_MAC:]
        return body[_NONCE:].decode() if hmac.compare_digest(mac, self._mac(purpose, body)) else None

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return hmac.digest(self._key, purpose.encode() + b"\0" + body, hashlib.sha256)[:_MAC]
