"""What `signalr serve` shows: the methods of the hub, and what clients do."""

from __future__ import annotations

import time
from http import HTTPStatus
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from .._core.redaction import printable, shortened
from ..protocols.values import pascal
from ..testing import ClassicHub, Hub, RecordedCall, RecordedConnect, RecordedRefusal
from ..testing.classic.methods import classic_methods
from ..testing.hub_methods import methods_of
from .json_output import as_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..testing.hub_methods import HubMethod, HubParameter
    from ..testing.recording import Record

_MOST = 20  # lines in a second
_LONGEST = 200  # characters of the arguments of a call, or of a path
_ID_SHOWN = 6  # characters of a connection id, enough to tell clients apart


def method_lines(hub: type[Hub | ClassicHub]) -> list[str]:
    """Return a line for each method that clients can call, as clients write it, in the order of their names."""
    if issubclass(hub, ClassicHub):
        overloads = classic_methods(hub).values()
        return sorted(_signature(each.name, each.method) for group in overloads for each in group)
    return sorted(_signature(pascal(method.name), method) for method in methods_of(hub).values())


def _signature(name: str, method: HubMethod) -> str:
    """Return for example `Add(a: int, b: int)`, or `Counter(count: int) streams`."""
    return f"{name}({', '.join(map(_parameter, method.parameters))})" + (" streams" if method.streams else "")


def _parameter(parameter: HubParameter) -> str:
    kind = "any" if parameter.type is Any else getattr(parameter.type, "__name__", str(parameter.type))
    if parameter.is_stream:
        return f"{parameter.name}: stream of {kind}"
    default = "" if parameter.default is Parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}: {kind}{default}"


class CallLog:
    """Shows what clients do, a line for each call and each refusal.

    Only a few lines are shown in a second: a flood must not stop the server.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._second = 0
        self._shown = 0
        self._left_out = 0

    def show(self, record: Record) -> None:
        """Show what a client has done, unless too much is shown already."""
        second = int(self._clock())
        if second != self._second:
            if self._left_out:
                self._say(f"... and {self._left_out} more")
            self._second, self._shown, self._left_out = second, 0, 0
        if self._shown == _MOST:
            self._left_out += 1
            return
        self._shown += 1
        self._say(record_line(record))


def record_line(record: Record) -> str:
    """Return a line about what a client has just done: the time, the begin of the connection's id, and what it did."""
    return f"{time.strftime('%H:%M:%S')} {_what(record)}"


def _what(record: Record) -> str:
    if isinstance(record, RecordedRefusal):
        return f"refused: {record.method} {shortened(printable(record.path), _LONGEST)}, {_reason(record)}"
    client = record.connection_id[:_ID_SHOWN]
    match record:
        case RecordedConnect():
            user = f", user {printable(record.user)}" if record.user else ""
            return f"{client} connected over {record.transport}{user}"
        case RecordedCall():
            given = [as_json(argument) for argument in record.arguments] + ["stream"] * record.streams
            return f"{client} {printable(record.method)}({shortened(', '.join(given), _LONGEST)})"
        case _:
            return f"{client} gone: {printable(str(record.error))}" if record.error else f"{client} gone"


def _reason(refusal: RecordedRefusal) -> str:
    if refusal.status != HTTPStatus.UNAUTHORIZED:
        return f"status {refusal.status}"
    return f"status 401: {'a wrong token' if refusal.has_token else 'no token'}"
