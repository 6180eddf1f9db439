"""Upstream: what Azure SignalR Service in serverless mode POSTs to your web application when clients come, go and call.

Pure: headers and body in, an event out, and the body of the answer back. Source: "Upstream endpoints" of Azure's
documents, and the upstream of Azure/azure-signalr's emulator.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from .._core.redaction import redact
from ..errors import LocalProtocolError, RemoteProtocolError
from ..messages import Completion, Invocation
from ..options import UNSET
from ..protocols import JsonProtocol, MessagePackProtocol
from ..protocols.framing import SEPARATOR
from ..protocols.messagepack_values import MessagePackCodec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..interfaces import HubProtocol

UpstreamKind: TypeAlias = Literal["connected", "disconnected", "message"]

_PREFIX: Final = "x-asrs-"
_DIGEST: Final = "sha256="
_JSON, _MESSAGEPACK = "application/json", "application/x-msgpack"
_PROTOCOLS: Final[dict[str, HubProtocol]] = {_JSON: JsonProtocol(), _MESSAGEPACK: MessagePackProtocol()}
_DISCONNECTED: Final = 11  # type of the message that says why


def verify_signature(headers: Mapping[str, str], keys: str | Iterable[str]) -> bool:
    """Return whether an upstream request was signed with one of the access keys, in constant time.

    The signature covers the connection id only, so it proves who sends, not what: take upstream requests over HTTPS.

    Args:
        headers: of the request, names in any case.
        keys: the resource's access keys: both, so that they can be changed while requests come.

    Raises:
        ValueError: there is no key, or an empty one.
    """
    wanted = [keys] if isinstance(keys, str) else list(keys)
    if not wanted or not all(wanted):
        raise ValueError("verify_signature needs one access key or more, and none that is empty")
    found = {name.lower(): value for name, value in headers.items()}
    connection_id = found.get(f"{_PREFIX}connection-id", "").encode(errors="replace")
    given = [
        part.strip()[len(_DIGEST) :].lower().encode(errors="replace")
        for part in found.get(f"{_PREFIX}signature", "").split(",")
        if part.strip().lower().startswith(_DIGEST)
    ]
    right = False
    for key in wanted:
        digest = hmac.new(key.encode(), connection_id, hashlib.sha256).hexdigest().encode()
        for signature in given:
            # All are compared, whatever came before.
            right = hmac.compare_digest(digest, signature) or right
    return right and bool(connection_id)


@attrs.frozen(kw_only=True)
class UpstreamEvent:
    """Something that a client did.

    Attributes:
        kind: `"connected"`, `"disconnected"` or `"message"`.
        hub: the hub, in lower case.
        connection_id: which connection.
        user_id: its user, if it has one.
        claims: the user's claims: each name with all its values.
        query: the query of the client's URL, as it was; it may hold a token.
        method: the hub method that a message calls.
        arguments: its arguments.
        invocation_id: names the call if the client waits for an answer.
        error: why a client was disconnected, if not in good order.
        content_type: of the body, and of the answer that `completion` makes.
    """

    kind: UpstreamKind
    hub: str
    connection_id: str
    user_id: str | None = None
    claims: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, repr=False)
    query: str = attrs.field(default="", repr=False)
    method: str | None = None
    arguments: tuple[Any, ...] = ()
    invocation_id: str | None = None
    error: str | None = None
    content_type: str = _JSON

    @classmethod
    def parse(cls, headers: Mapping[str, str], body: bytes) -> UpstreamEvent:
        """Read an upstream request. Verify its signature first.

        Args:
            headers: of the request, names in any case.
            body: of the request.

        Raises:
            RemoteProtocolError: it is none.
        """
        found = {name.lower(): value for name, value in headers.items()}
        kind = _kind(_needed(found, "category"), _needed(found, "event"))
        content_type = found.get("content-type", _JSON).partition(";")[0].strip().lower()
        if content_type not in _PROTOCOLS:
            raise _wrong(f"its Content-Type is {redact(content_type, 60)!r}, not JSON or MessagePack")
        event = cls(
            kind=kind,
            hub=_needed(found, "hub"),
            connection_id=_needed(found, "connection-id"),
            user_id=found.get(f"{_PREFIX}user-id") or None,
            claims=_claims(found.get(f"{_PREFIX}user-claims", "")),
            query=found.get(f"{_PREFIX}client-query", ""),
            content_type=content_type,
        )
        if kind == "message":
            return _with_call(event, body)
        return attrs.evolve(event, error=_error(content_type, body)) if kind == "disconnected" else event


def completion(event: UpstreamEvent, result: object = UNSET, *, error: str | None = None) -> bytes:
    r"""Return the body that answers a message; it goes out with status 200 and the event's `content_type`.

    Args:
        event: the message.
        result: what the client's `invoke` returns; nothing without it.
        error: what it raises instead.

    Returns:
        An empty body if the client does not wait for an answer.

    Raises:
        LocalProtocolError: the result cannot be encoded.

    Example:
        >>> from signalr_sdk.azure import UpstreamEvent, completion
        >>> event = UpstreamEvent(kind="message", hub="chat", connection_id="a", invocation_id="1")
        >>> completion(event, 42)
        b'{"type":3,"invocationId":"1","result":42}\x1e'
    """
    if error is not None and result is not UNSET:
        raise LocalProtocolError("an answer has a result or an error, not both")
    if event.invocation_id is None:
        return b""
    has_result = result is not UNSET
    message = Completion(event.invocation_id, result if has_result else None, error, has_result)
    return _PROTOCOLS[event.content_type].encode(message)


def _needed(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(_PREFIX + name)
    if not value:
        raise _wrong(f"it has no header X-ASRS-{name.title()}")
    return value


def _kind(category: str, event: str) -> UpstreamKind:
    match category.lower(), event.lower():
        case "messages", _:
            return "message"
        case "connections", "connected":
            return "connected"
        case "connections", "disconnected":
            return "disconnected"
        case _:
            raise _wrong(f"nothing is known of the event {redact(event, 60)!r} in category {redact(category, 60)!r}")


def _claims(text: str) -> dict[str, tuple[str, ...]]:
    """Return the claims of `type: value, type: value`. A value may hold commas itself."""
    pairs: list[tuple[str, str]] = []
    for part in text.split(","):
        name, colon, value = part.partition(": ")
        if colon:
            pairs.append((name.strip(), value))
        elif pairs:
            name, value = pairs.pop()
            pairs.append((name, f"{value},{part}"))
    claims: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        claims[name] = (*claims.get(name, ()), value.strip())
    return claims


def _with_call(event: UpstreamEvent, body: bytes) -> UpstreamEvent:
    message = _PROTOCOLS[event.content_type].decode(
        body.removesuffix(SEPARATOR) if event.content_type == _JSON else body
    )
    if not isinstance(message, Invocation):
        raise _wrong("its body is no invocation")
    return attrs.evolve(
        event,
        method=message.target,
        arguments=tuple(message.arguments),
        invocation_id=message.invocation_id,
    )


def _error(content_type: str, body: bytes) -> str | None:
    """Return why a client was disconnected. What cannot be read says nothing: it is over in any case."""
    try:
        if content_type == _JSON:
            found = json.loads(body.removesuffix(SEPARATOR))
            members = {name.lower(): value for name, value in found.items()} if isinstance(found, dict) else {}
            error = members.get("error")
        else:
            array = MessagePackCodec(str).unpack_slowly(body)
            error = array[-1] if isinstance(array, list) and array[:1] == [_DISCONNECTED] else None
    except (ValueError, TypeError, RecursionError):
        return None
    return error if isinstance(error, str) and error else None


def _wrong(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"this is no upstream request of Azure SignalR Service: {why}")
