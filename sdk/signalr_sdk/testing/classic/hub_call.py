"""One call of a hub method by a client of the classic test server: reads the call, runs the method, answers."""

from __future__ import annotations

import inspect
import logging
import traceback
from typing import TYPE_CHECKING, Any

import attrs

from ...classic.hub_messages import LONGEST_STATE, Answer, Call, answer_members, length_of, read_call
from ...errors import LocalProtocolError, RemoteProtocolError
from ...protocols import JsonProtocol
from ..argument_binding import Binder
from ..hubs import HubException
from .codec import CODEC
from .methods import ClassicMethod, call_name, classic_methods
from .service import RefusedRequestError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from .hub_clients import CallerState
    from .hubs import ClassicHub
    from .settings import ClassicSettings

_logger = logging.getLogger("signalr_sdk.testing")
_BINDER = Binder(JsonProtocol(naming="pascal"))


class UnauthorizedCallError(Exception):
    """A call of a hub that the user may not use."""


class UnresolvedMethodError(Exception):
    """A call of a method that the hub does not have, or with another number of arguments."""


def parse_call(text: str) -> Call:
    """Return the call that a client has sent.

    Raises:
        RefusedRequestError: the text is no call, or brings too long a state.
    """
    try:
        members = CODEC.decode(text.encode())
        if not isinstance(members, dict):
            raise RefusedRequestError(500, "the message is no call of a hub method")
        call = read_call(members)
    except RemoteProtocolError as error:
        raise RefusedRequestError(500, str(error)) from error
    if length_of(CODEC.encode_value(call.state)) > LONGEST_STATE:
        raise RefusedRequestError(500, f"State has exceeded the maximum length of {LONGEST_STATE} bytes.")
    return call


async def run_call(
    call: Call,
    text: str,
    hub: ClassicHub,
    state: CallerState,
    *,
    report: Callable[[Any], None],
    settings: ClassicSettings,
) -> Reply:
    """Call the hub method, and return the answer for the client.

    Args:
        call: the call.
        text: the call as the client has sent it.
        hub: the hub instance, made for this call.
        state: the state of the caller.
        report: sends the caller a value of progress.
        settings: the server's settings.
    """
    try:
        if hub.requires_user and not hub.context.user:
            raise UnauthorizedCallError(  # noqa: TRY301 - the client gets an error, as for any other exception
                f"Caller is not authorized to invoke the {call.method} method on {call.hub}."
            )
        found = _find(call, hub)
        arguments = CODEC.decode(text.encode(), exact=True)["A"] if found.method.exact else call.arguments
        bound = _BINDER.bind(found.method, arguments, [])
        if found.progress is not None:
            bound.insert(found.progress, report)
        value = getattr(hub, found.method.name)(*bound)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:  # noqa: BLE001 - a hub method may raise anything; the client gets an error
        _logger.info("the hub method '%s.%s' failed: %r", call.hub, call.method, error)
        answer = _failure(call, error, settings)
    else:
        answer = Answer(call.call_id, value)
    try:
        return Reply(CODEC.encode(answer_members(attrs.evolve(answer, state=state.changes()))))
    except LocalProtocolError as error:
        _logger.info("the answer of '%s.%s' cannot be sent: %s", call.hub, call.method, error)
        return Reply(hangs_up=True)


def _find(call: Call, hub: ClassicHub) -> ClassicMethod:
    overloads = classic_methods(type(hub)).get(call_name(call.method), [])
    count = len(call.arguments)
    for each in overloads:
        if each.method.arguments == count:
            # All arguments are there, so that no parameter takes its default value.
            return each
    there_are = "No method found with that name."
    if overloads:
        there_are = "\n".join(["Potential candidates are: ", *(each.signature for each in overloads)])
    raise UnresolvedMethodError(f"'{call.method}' method could not be resolved. {there_are}")


def _failure(call: Call, error: Exception, settings: ClassicSettings) -> Answer:
    text = f"There was an error invoking Hub method '{call.hub}.{call.method}'."
    if isinstance(error, HubException) or settings.detailed_errors:
        text = str(error)
    has_trace = settings.detailed_errors and settings.debug
    return Answer(
        call.call_id,
        error=text,
        is_hub_exception=isinstance(error, HubException),
        data=error.data if isinstance(error, HubException) else None,
        trace="".join(traceback.format_tb(error.__traceback__)) if has_trace else None,
    )
