"""Checks and makes the members of hub messages, by their names in the specification, for both protocols.

For frequent messages without optional members, each protocol has faster code of its own. A member that may be left out
may also be null or empty, as in Microsoft's JavaScript client. Only for `result` and `item`, null and empty are real
values.
Source: HubProtocol.md of dotnet/aspnetcore, "JSON encoding".
"""

from __future__ import annotations

from typing import Any

from .. import messages
from ..errors import LocalProtocolError


class WrongMemberError(ValueError):
    """A member is missing, or has a wrong type. The protocol that catches this error adds an excerpt of the message."""


def read_message(kind: int, members: dict[str, Any]) -> messages.HubMessage | None:
    """Return the message that has these members; `None` for an unknown type.

    Args:
        kind: the type number of the message in the specification.
        members: a dict from the names of the members in the specification to their decoded values.

    Raises:
        WrongMemberError: a member is missing, or has a wrong type.
    """
    match kind:
        case 1:
            target, arguments, stream_ids = _read_call(members)
            name = _read_id(members) if members.get("invocationId") else None
            return messages.Invocation(target, arguments, name, stream_ids, _read_headers(members))
        case 2:
            if "item" not in members:
                raise WrongMemberError("a stream item needs an 'item'")
            return messages.StreamItem(_read_id(members), members["item"], _read_headers(members))
        case 3:
            error, result = _read_error(members), members.get("result")
            if error is not None and result is not None:
                raise WrongMemberError("a completion has a result or an error, not both")
            has_result = error is None and "result" in members
            return messages.Completion(_read_id(members), result, error, has_result, _read_headers(members))
        case 4:
            target, arguments, stream_ids = _read_call(members)
            return messages.StreamInvocation(target, arguments, _read_id(members), stream_ids, _read_headers(members))
        case 5:
            return messages.CancelInvocation(_read_id(members), _read_headers(members))
        case _:
            return _read_control(kind, members)


def _read_control(kind: int, members: dict[str, Any]) -> messages.HubMessage | None:
    match kind:
        case 6:
            return messages.Ping()
        case 7:
            return messages.Close(_read_error(members), members.get("allowReconnect") is True)
        case 8 | 9:
            number = members.get("sequenceId")
            if isinstance(number, bool) or not isinstance(number, int):
                raise WrongMemberError("'sequenceId' is no integer")
            return messages.Ack(number) if kind == 8 else messages.Sequence(number)
        case _:
            return None


def _read_call(members: dict[str, Any]) -> tuple[str, list[Any], list[str] | None]:
    target, arguments, stream_ids = members.get("target"), members.get("arguments"), members.get("streamIds")
    if arguments is None:
        arguments = []
    if not isinstance(target, str) or not isinstance(arguments, list):
        raise WrongMemberError("an invocation needs 'target', a string, and 'arguments', a list")
    if not stream_ids:
        return target, arguments, None
    if not isinstance(stream_ids, list) or not all(isinstance(each, str) for each in stream_ids):
        raise WrongMemberError("'streamIds' is no list of strings")
    return target, arguments, stream_ids


def _read_id(members: dict[str, Any]) -> str:
    value = members.get("invocationId")
    if not isinstance(value, str) or not value:
        raise WrongMemberError("'invocationId' is missing, empty or no string")
    return value


def _read_error(members: dict[str, Any]) -> str | None:
    value = members.get("error") or None
    if value is not None and not isinstance(value, str):
        raise WrongMemberError("'error' is no string")
    return value


def _read_headers(members: dict[str, Any]) -> messages.Headers | None:
    value = members.get("headers")
    if not value:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for pair in value.items() for each in pair):
        raise WrongMemberError("'headers' is no map of strings")
    return value


def rare_members(message: messages.HubMessage) -> dict[str, Any]:
    """Return the members of a stream invocation, cancellation, Close, Ack or Sequence, as a dict from names to values.

    An optional member without a value is `None`.

    Raises:
        LocalProtocolError: the message has none of these types.
    """
    match message:
        case messages.StreamInvocation():
            return {
                "type": 4,
                "invocationId": message.invocation_id,
                "target": message.target,
                "arguments": message.arguments,
                "streamIds": message.stream_ids or None,
                "headers": message.headers or None,
            }
        case messages.CancelInvocation():
            return {"type": 5, "invocationId": message.invocation_id, "headers": message.headers or None}
        case messages.Close():
            return {"type": 7, "error": message.error, "allowReconnect": message.allow_reconnect or None}
        case messages.Ack() | messages.Sequence():
            return {"type": 8 if isinstance(message, messages.Ack) else 9, "sequenceId": message.sequence_id}
        case _:
            raise LocalProtocolError(f"{message!r:.100} is no hub message")
