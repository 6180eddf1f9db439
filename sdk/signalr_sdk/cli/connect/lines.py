"""What a line of `signalr connect` means. No I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs

from ..bot_options import parse_answer
from ..written_calls import parse_call


class Verb(StrEnum):
    """The words with which a line can begin. Any other first word is a method to invoke."""

    INVOKE = "invoke"
    STREAM = "stream"
    SEND = "send"
    ON = "on"
    OFF = "off"
    ANSWER = "answer"
    HELP = "help"
    EXIT = "exit"


CALLS = (Verb.INVOKE, Verb.STREAM, Verb.SEND)

_ALONE = {"help": Verb.HELP, "?": Verb.HELP, "exit": Verb.EXIT, "quit": Verb.EXIT}

HELP = """\
Add 1 2                   call a method and show its result; invoke Add 1 2 is the same
stream Counter 5          call a streaming method and show its items
send SendMessage me hi    call a method without asking for a result
on Trade                  show only this event; on alone: all events
off Trade                 do not show this event; off alone: no events
answer Ask={"ok": true}   what to answer when the hub calls Ask
help, exit                list these lines; end, as quit and Ctrl-D do. Ctrl-C cancels calls
Any other first word is a method of the hub. A hub does not tell which methods and events it has: ask who wrote it.
A classic server has several hubs: Chat.Add 1 2, on Chat.addMessage, on Chat.*
Arguments are JSON, or else text; a text with blanks stands in 'quotes'; =1 is the text 1."""


@attrs.frozen
class Line:
    """A line that was understood.

    Attributes:
        verb: what to do.
        name: name of the method or event; empty if the verb has none.
        arguments: the arguments of the method; for `answer` the one value.
    """

    verb: Verb
    name: str = ""
    arguments: list[Any] = attrs.field(factory=list)


def parse_line(text: str) -> Line | None:
    """Parse a line; return `None` for an empty line and for a comment, which begins with `#`.

    Raises:
        ValueError: the line makes no sense. The text says what to write.

    Example:
        >>> parse_line("stream Counter 5")
        Line(verb=<Verb.STREAM: 'stream'>, name='Counter', arguments=[5])
    """
    first, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if not first or first.startswith("#"):
        return None
    if first in _ALONE:
        return Line(_ALONE[first])
    if first in (Verb.ON, Verb.OFF):
        return Line(Verb(first), rest)
    if first == Verb.ANSWER:
        answer = parse_answer(rest)
        return Line(Verb.ANSWER, answer.method, [answer.value])
    if first in CALLS:
        if not rest:
            raise ValueError(f"the method is missing; write {first} METHOD [ARGS]...")
        call = parse_call(rest)
        return Line(Verb(first), call.method, call.arguments)
    call = parse_call(text)
    return Line(Verb.INVOKE, call.method, call.arguments)
