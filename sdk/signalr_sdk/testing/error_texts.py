"""The exceptions and error texts of ASP.NET Core, word for word, with which the test server answers wrong messages."""

from __future__ import annotations

import json
from typing import Any

from ..errors import RemoteProtocolError
from ..messages import Invocation, StreamInvocation
from ..protocols import JsonProtocol
from .hubs import HubException

_REQUIRED = {
    1: ("target", "arguments"),
    2: ("invocationId", "item"),
    3: ("invocationId",),
    4: ("invocationId", "target", "arguments"),
    5: ("invocationId",),
}
_TYPES = {
    "type": ("Number", int),
    "invocationId": ("String", str),
    "target": ("String", str),
    "error": ("String", str),
    "arguments": ("Array", list),
    "streamIds": ("Array", list),
    "headers": ("Object", dict),
}
_TOKENS = {list: "Array", str: "String", bool: "Boolean", int: "Number", float: "Number", type(None): "Null"}


class InvalidDataException(Exception):  # noqa: N818 - the name that ASP.NET Core has
    """A message of the client is malformed, or its arguments do not fit the hub method."""


class ChannelClosedException(Exception):  # noqa: N818 - the name that ASP.NET Core has
    """A hub method has ended, and left more items of a client's stream unread than `stream_buffer` allows."""


class OperationCanceledException(Exception):  # noqa: N818 - the name that ASP.NET Core has
    """The client has sent nothing for longer than the client timeout."""


def exception_text(error: Exception, *, detailed: bool) -> str:
    """Return the end of an error text for a client: a space, the name of the exception, a colon and its text.

    Returns an empty string if clients must not see the exception.

    Args:
        error: the exception.
        detailed: whether clients may see every exception. Otherwise they see only a `HubException`.
    """
    return f" {type(error).__name__}: {error}" if detailed or isinstance(error, HubException) else ""


class ServerJsonProtocol(JsonProtocol):
    """The JSON hub protocol, with ASP.NET Core's error text for each malformed message."""

    def decode(self, message: bytes, *, exact: bool = False) -> Any:
        """See `HubProtocol.decode`."""
        try:
            decoded = super().decode(message, exact=exact)
        except RemoteProtocolError as error:
            _explain(message, error)
            raise
        # `JsonProtocol` accepts an invocation without the JSON member `arguments`. ASP.NET Core refuses such a message.
        if isinstance(decoded, Invocation | StreamInvocation) and not decoded.arguments:
            _explain(message)
        return decoded


def _explain(message: bytes, error: RemoteProtocolError | None = None) -> None:
    """Check a message as ASP.NET Core does. Return if ASP.NET Core accepts the message.

    Args:
        message: the encoded message.
        error: the error of `JsonProtocol` for this message; becomes the cause of the `RemoteProtocolError`.

    Raises:
        RemoteProtocolError: ASP.NET Core refuses the message. The error has ASP.NET Core's text.
    """
    try:
        _check_message(message)
    except InvalidDataException as fault:
        raise RemoteProtocolError(str(fault)) from error


def _check_message(message: bytes) -> None:
    """Check the members of a hub message in the same order as ASP.NET Core.

    The error for a message with several faults then has the same text as ASP.NET Core's.

    Raises:
        InvalidDataException: the message is malformed.
    """
    members = _json_object(message)
    for name, (kind, wanted) in _TYPES.items():
        if name in members and not isinstance(members[name], wanted):
            raise InvalidDataException(f"Expected '{name}' to be of type {kind}.")
    if "type" not in members:
        raise InvalidDataException("Missing required property 'type'.")
    for name in _REQUIRED.get(members["type"], ()):
        if name not in members:
            raise InvalidDataException(f"Missing required property '{name}'.")
    if "result" in members and "error" in members:
        raise InvalidDataException("The 'error' and 'result' properties are mutually exclusive.")
    for name, value in members.get("headers", {}).items():
        if not isinstance(value, str):
            raise InvalidDataException(f"Expected header '{name}' to be of type String.")


def check_handshake(record: bytes) -> None:
    """Check that a client's handshake request has a protocol and a version.

    Raises:
        InvalidDataException: the request is malformed.
    """
    members = _json_object(record)
    for name, kind, wanted in (("protocol", "String", str), ("version", "Number", int)):
        if name not in members:
            content = record.decode(errors="replace")
            raise InvalidDataException(f"Missing required property '{name}'. Message content: {content}")
        if not isinstance(members[name], wanted) or isinstance(members[name], bool):
            raise InvalidDataException(f"Expected '{name}' to be of type {kind}.")


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidDataException("Error reading JSON.") from None
    if not isinstance(members, dict):
        raise InvalidDataException(f"Unexpected JSON Token Type '{_TOKENS[type(members)]}'. Expected a JSON Object.")
    return members
