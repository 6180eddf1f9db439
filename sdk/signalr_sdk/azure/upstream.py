"""Upstream requests: Azure SignalR Service POSTs them to your web server in serverless mode.

The service sends an upstream request when a client connects, disconnects or calls a hub method. The functions parse
headers and body of the request into an `UpstreamEvent`, and make the body of the response. They do no I/O. Source:
"Upstream endpoints" of Azure's documents, and the upstream of Azure/azure-signalr's emulator.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
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
_BETWEEN_CLAIMS: Final = re.compile(r",(?=[^,]*: )")
_DISCONNECTED: Final = 11  # type of the MessagePack message that has the error of a disconnect


def verify_signature(headers: Mapping[str, str], keys: str | Iterable[str]) -> bool:
    """Return whether the service has signed an upstream request with one of the access keys.

    The signature covers only the connection id. It proves that the service has sent the request, but not that the body
    is unchanged: accept upstream requests over HTTPS only. The time that the check takes does not tell an attacker
    which key matches.

    Args:
        headers: headers of the request, with names in any case.
        keys: the access keys of the resource. Give both keys, so that a key can be replaced without losing requests.

    Raises:
        ValueError: `keys` is empty, or has an empty key.
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
    digests = [hmac.new(key.encode(), connection_id, hashlib.sha256).hexdigest().encode() for key in wanted]
    # Compare all pairs of a key and a signature, also after a match: the time that this function takes must not tell
    # an attacker which key matches.
    matches = [hmac.compare_digest(digest, signature) for digest in digests for signature in given]
    return any(matches) and bool(connection_id)


@attrs.frozen(kw_only=True)
class UpstreamEvent:
    """An upstream request: a client has connected, has disconnected, or has called a hub method.

    Attributes:
        kind: `"connected"`, `"disconnected"`, or `"message"` for the call of a hub method.
        hub: name of the hub, in lower case.
        connection_id: id of the client's connection.
        user_id: id of the client's user; `None` for a client without a user.
        claims: claims of the user: each name with all its values.
        query: query of the client's URL, unchanged. The query may hold a token.
        method: name of the hub method that the client calls.
        arguments: arguments of the hub method.
        invocation_id: id of the call; `None` if the client does not wait for an answer.
        error: why a client was disconnected; `None` if the client has disconnected properly.
        content_type: Content-Type of the request's body, and of the body that `completion` returns.
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
        """Parse an upstream request. Call `verify_signature` before: `parse` accepts a request from anybody.

        Args:
            headers: headers of the request, with names in any case.
            body: body of the request.

        Raises:
            RemoteProtocolError: the request is not an upstream request.
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
    r"""Return the body of the response to a client's call of a hub method.

    Send the response with status 200 and the event's `content_type`.

    Args:
        event: the event of the call, of the kind `"message"`.
        result: the result that the client's `invoke` returns; no result by default.
        error: text of the error that the client's `invoke` raises instead.

    Returns:
        The body, which is empty if the client does not wait for an answer.

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
    """Return a dict from the name of each claim to its values, from a header like `name: value, name: value`.

    A value may have commas.
    """
    claims: dict[str, list[str]] = {}
    for claim in _BETWEEN_CLAIMS.split(text):
        name, colon, value = claim.partition(": ")
        if colon:
            claims.setdefault(name.strip(), []).append(value.strip())
    return {name: tuple(values) for name, values in claims.items()}


def _with_call(event: UpstreamEvent, body: bytes) -> UpstreamEvent:
    encoded = body.removesuffix(SEPARATOR) if event.content_type == _JSON else body
    message = _PROTOCOLS[event.content_type].decode(encoded)
    if not isinstance(message, Invocation):
        raise _wrong("its body is no invocation")
    return attrs.evolve(
        event,
        method=message.target,
        arguments=tuple(message.arguments),
        invocation_id=message.invocation_id,
    )


def _error(content_type: str, body: bytes) -> str | None:
    """Return the error text in the body of a `disconnected` request; `None` if the body has no readable error text."""
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
