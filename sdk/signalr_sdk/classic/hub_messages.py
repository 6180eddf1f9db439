"""The messages of classic hubs: a call of the client, its answer, its progress, and an event from the hub.

Source: SignalR/SignalR, `HubRequestParser.cs`, `HubResponse.cs` and `ClientHubInvocation.cs`.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from .envelopes import member, wrong_member

LONGEST_STATE: Final = 4096
"""The longest state that a server takes with a call, in characters of its JSON as .NET counts them."""


def length_of(json: bytes) -> int:
    """Return the number of characters of a JSON text as .NET counts them: UTF-16 code units.

    Example:
        >>> length_of("é😀".encode())
        3
    """
    return len(json) if json.isascii() else len(json.decode().encode("utf-16-le")) // 2


@attrs.frozen
class Call:
    """A client's call of a hub method.

    Attributes:
        hub: the name of the hub; servers ignore upper and lower case.
        method: the name of the method; servers ignore upper and lower case.
        arguments: the arguments.
        call_id: the id of the call, which the answer repeats; `None` if the client does not want to know the answer.
        state: the state of the client for this hub; empty for none.
    """

    hub: str
    method: str
    arguments: list[Any]
    call_id: str | None = None
    state: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Answer:
    """The answer to a call: a result or an error.

    Attributes:
        call_id: the id of the call; `None` if the call had none.
        result: the result; `None` also for a method without a result.
        error: the text of the error; `None` for no error.
        state: what the method has changed in the client's state; empty for nothing.
        is_hub_exception: whether the error is a `HubException`, whose text is meant for clients.
        data: the data of the `HubException`; `None` for none.
        trace: the stack trace, which only servers in debug mode send.
    """

    call_id: str | None
    result: Any = None
    error: str | None = None
    state: dict[str, Any] = attrs.field(factory=dict, kw_only=True)
    is_hub_exception: bool = attrs.field(default=False, kw_only=True)
    data: Any = attrs.field(default=None, kw_only=True)
    trace: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class Progress:
    """A value that a running hub method reports to its caller."""

    call_id: str
    value: Any


@attrs.frozen
class Event:
    """A call of the clients by the hub.

    Attributes:
        hub: the name of the hub as the server has declared it.
        name: the name of the event.
        arguments: the arguments.
        state: what the hub has changed in the client's state; empty for nothing.
    """

    hub: str
    name: str
    arguments: list[Any]
    state: dict[str, Any] = attrs.field(factory=dict)


def call_members(call: Call) -> dict[str, Any]:
    """Return the JSON members of a call."""
    members: dict[str, Any] = {"H": call.hub, "M": call.method, "A": call.arguments}
    if call.call_id is not None:
        members["I"] = call.call_id
    if call.state:
        members["S"] = call.state
    return members


def read_call(members: dict[str, Any]) -> Call:
    """Read a call from its decoded JSON, as a server does. The id may be a text or an integer.

    Raises:
        RemoteProtocolError: a member is missing or has a wrong type.
    """
    hub, method, arguments = member(members, "H", str), member(members, "M", str), member(members, "A", list)
    if not hub or not method:
        raise wrong_member("H" if not hub else "M", hub if not hub else method)
    return Call(hub, method, arguments or [], _read_id(members), member(members, "S", dict) or {})


def answer_members(answer: Answer) -> dict[str, Any]:
    """Return the JSON members of an answer, in the order in which Microsoft's server writes them."""
    members: dict[str, Any] = {"S": answer.state} if answer.state else {}
    if answer.result is not None:
        members["R"] = answer.result
    members["I"] = answer.call_id
    if answer.is_hub_exception:
        members["H"] = True
    if answer.error is not None:
        members["E"] = answer.error
    if answer.trace is not None:
        members["T"] = answer.trace
    if answer.data is not None:
        members["D"] = answer.data
    return members


def read_answer(members: dict[str, Any]) -> Answer:
    """Read an answer from its decoded JSON.

    Raises:
        RemoteProtocolError: a member has a wrong type.
    """
    return Answer(
        _read_id(members),
        members.get("R"),
        member(members, "E", str),
        state=member(members, "S", dict) or {},
        is_hub_exception=members.get("H") is True,
        data=members.get("D"),
        trace=member(members, "T", str),
    )


def progress_members(progress: Progress) -> dict[str, Any]:
    """Return the JSON members of a progress message, which stands in an envelope."""
    return {"I": f"P|{progress.call_id}", "P": {"I": progress.call_id, "D": progress.value}}


def read_progress(members: dict[str, Any]) -> Progress:
    """Read a progress message, a member of an envelope that has the member `P`.

    Raises:
        RemoteProtocolError: a member is missing or has a wrong type.
    """
    inner = members["P"]
    call_id = _read_id(inner) if isinstance(inner, dict) else None
    if call_id is None:
        raise wrong_member("P", inner)
    return Progress(call_id, inner.get("D"))


def event_members(event: Event) -> dict[str, Any]:
    """Return the JSON members of an event, which stands in an envelope."""
    members: dict[str, Any] = {"H": event.hub, "M": event.name, "A": event.arguments}
    if event.state:
        members["S"] = event.state
    return members


def read_event(members: dict[str, Any]) -> Event:
    """Read an event, a member of an envelope.

    Raises:
        RemoteProtocolError: a member is missing or has a wrong type.
    """
    hub, name, arguments = member(members, "H", str), member(members, "M", str), member(members, "A", list)
    if not hub or not name:
        error = wrong_member("H" if not hub else "M", hub if not hub else name)
        if hub is None:
            error.message += "; if there are no hubs at this URL, use PersistentConnection"
        raise error
    return Event(hub, name, arguments or [], member(members, "S", dict) or {})


def _read_id(members: dict[str, Any]) -> str | None:
    call_id = member(members, "I", str, int)
    return None if call_id is None else str(call_id)
