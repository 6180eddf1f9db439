"""Makes and reads the hub handshake: the first record in each direction, which is JSON for every hub protocol.

Source: HubProtocol.md of dotnet/aspnetcore, "Overview" and the two handshake messages.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import HandshakeError
from .redaction import redact

_SEPARATOR = b"\x1e"
_LIMIT = 64 * 1024
_CLOSE = 7


def request(protocol: str, version: int) -> bytes:
    """Return a client's handshake request as bytes, which end with the separator 0x1E.

    Args:
        protocol: name of the hub protocol.
        version: version of the hub protocol; 2 if stateful reconnect was negotiated, else 1.
    """
    return _record({"protocol": protocol, "version": version})


def response(error: str | None = None) -> bytes:
    """Return a server's handshake response as bytes. With an error text, the response refuses the handshake."""
    return _record({} if error is None else {"error": error})


def _record(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode() + _SEPARATOR


class HandshakeReader:
    """Collects the other side's handshake from pieces of bytes. The last piece may hold hub messages too.

    Attributes:
        record: the handshake without its separator; empty until `feed` has returned bytes.
    """

    def __init__(self) -> None:
        self.record = b""
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take the next received bytes; return the bytes after the handshake, `None` while the handshake is incomplete.

        Raises:
            HandshakeError: more than 64 KiB came, which is longer than any handshake.
        """
        head, separator, rest = data.partition(_SEPARATOR)
        if len(self._pending) + len(head) > _LIMIT:
            raise HandshakeError(
                f"the server sent more than {_LIMIT} bytes without a handshake response: it does not look like a hub"
            )
        self._pending += head
        if not separator:
            return None
        self.record = bytes(self._pending)
        return rest


def check_response(record: bytes) -> None:
    """Check that a server has accepted the handshake. Members of its response except `error` and `type` are ignored.

    Raises:
        HandshakeError: the response has an `error`, is a hub message (it has a `type`), or is no JSON object.
    """
    members = _members(record, "response")
    kind, error = members.get("type"), members.get("error")
    text = redact(str(error), 500) if error else ""
    if isinstance(kind, int | float) and not isinstance(kind, bool):
        if kind == _CLOSE and text:
            raise HandshakeError(f"the server closed the connection instead of answering the handshake: {text}")
        raise HandshakeError(f"expected a handshake response, but a hub message of type {redact(str(kind), 20)} came")
    if text:
        raise HandshakeError(f"server returned handshake error: {text}")


def parse_request(record: bytes) -> tuple[str, int]:
    """Return the name and the version of the hub protocol that a client asks for.

    Raises:
        HandshakeError: the record is no handshake request.
    """
    members = _members(record, "request")
    protocol, version = members.get("protocol"), members.get("version")
    if not isinstance(protocol, str) or not isinstance(version, int) or isinstance(version, bool):
        raise HandshakeError("the handshake request must have a protocol (text) and a version (integer)")
    return protocol, version


def _members(record: bytes, kind: str) -> dict[str, Any]:
    try:
        members = json.loads(record.decode())
    except (ValueError, RecursionError):
        raise HandshakeError(f"the handshake {kind} is not JSON: {_excerpt(record)}") from None
    if not isinstance(members, dict):
        raise HandshakeError(f"the handshake {kind} is not a JSON object: {_excerpt(record)}")
    return members


def _excerpt(record: bytes) -> str:
    return repr(redact(record[:400].decode(errors="replace"), 100))
