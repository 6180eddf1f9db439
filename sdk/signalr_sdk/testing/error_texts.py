"""What ASP.NET Core says of messages that are wrong, word for word."""

from __future__ import annotations

import json
from typing import Any

from ..errors import RemoteProtocolError
from ..protocols import JsonProtocol

_REQUIRED = {
    1: ("target", "arguments"),
    2: ("invocationId", "item"),
    3: ("invocationId",),
    4: ("invocationId", "target", "arguments"),
    5: ("invocationId",),
}
_KINDS = {
    "type": ("Number", int),
    "invocationId": ("String", str),
    "target": ("String", str),
    "error": ("String", str),
    "arguments": ("Array", list),
    "streamIds": ("Array", list),
    "headers": ("Object", dict),
}
_TOKENS = {list: "Array", str: "String", bool: "Boolean", int: "Number", float: "Number", type(None): "Null"}


class ServerJsonProtocol(JsonProtocol):
    """JSON, with the server's words for what is wrong with a message."""

    def decode(self, message: bytes, *, exact: bool = False) -> Any:
        """Decode one message."""
        try:
            return super().decode(message, exact=exact)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(_fault(message) or str(error)) from error


def _fault(message: bytes) -> str | None:
    try:
        members = json.loads(message)
    except (ValueError, RecursionError):
        return "Error reading JSON."
    if not isinstance(members, dict):
        return unexpected(members)
    return _fault_of_members(members) or _fault_of_headers(members.get("headers", {}))


def _fault_of_members(members: dict[str, Any]) -> str | None:
    for name, (kind, wanted) in _KINDS.items():
        if name in members and not isinstance(members[name], wanted):
            return f"Expected '{name}' to be of type {kind}."
    if "type" not in members:
        return "Missing required property 'type'."
    for name in _REQUIRED.get(members["type"], ()):
        if name not in members:
            return f"Missing required property '{name}'."
    if "result" in members and "error" in members:
        return "The 'error' and 'result' properties are mutually exclusive."
    return None


def _fault_of_headers(headers: dict[str, Any]) -> str | None:
    for name, value in headers.items():
        if not isinstance(value, str):
            return f"Expected header '{name}' to be of type String."
    return None


def unexpected(value: Any) -> str:
    """Return what is said of JSON that is no object."""
    return f"Unexpected JSON Token Type '{_TOKENS[type(value)]}'. Expected a JSON Object."


def handshake_fault(record: bytes) -> str | None:
    """Return what is wrong with a handshake request; `None` if nothing is."""
    try:
        members = json.loads(record)
    except (ValueError, RecursionError):
        return "InvalidDataException: Error reading JSON."
    if not isinstance(members, dict):
        return f"InvalidDataException: {unexpected(members)}"
    for name, kind, wanted in (("protocol", "String", str), ("version", "Number", int)):
        if name not in members:
            content = record.decode(errors="replace")
            return f"InvalidDataException: Missing required property '{name}'. Message content: {content}"
        if not isinstance(members[name], wanted) or isinstance(members[name], bool):
            return f"InvalidDataException: Expected '{name}' to be of type {kind}."
    return None
