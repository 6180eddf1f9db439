"""The options of the commands that stay connected: what to call on each connection, and what to answer the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from .arguments import parse_argument
from .options import option
from .written_calls import WrittenCall, parse_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .. import HubConnection
    from .classic_hubs import ClassicHubs


def _call(text: str) -> WrittenCall:
    try:
        return parse_call(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write for example --call 'JoinRoom blue'") from None


@attrs.frozen
class WrittenAnswer:
    """What to answer when the hub calls a method of this client.

    Attributes:
        method: name of the method.
        value: the client result.
    """

    method: str
    value: Any


def parse_answer(text: str) -> WrittenAnswer:
    """Parse a text like `Ask={"ok": true}`. The value is JSON, or else text.

    Raises:
        ValueError: there is no method, or the value begins like JSON and is none.
    """
    method, equals, value = text.partition("=")
    if not (equals and method.strip()):
        raise ValueError(f"{text!r} is no answer; write METHOD=VALUE")
    return WrittenAnswer(method.strip(), parse_argument(value))


def _answer(text: str) -> WrittenAnswer:
    try:
        return parse_answer(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


_CALL_HELP = "Call a method on each new connection, for example to join a group: 'JoinRoom blue'. Repeatable."
_ANSWER_HELP = "What to answer when the hub calls this method of the client. Repeatable."


@attrs.frozen
class BotOptions:
    """What a command that stays connected does by itself.

    Attributes:
        calls: the methods to call on each new connection, before any event is shown.
        answers: the client results by the names of the client's methods.
    """

    calls: list[WrittenCall]
    answers: dict[str, Any]

    @classmethod
    def from_options(
        cls,
        *,
        call: Annotated[
            list[WrittenCall] | None, option("--call", metavar="'METHOD [ARGS]...'", parser=_call, help=_CALL_HELP)
        ] = None,
        answer: Annotated[
            list[WrittenAnswer] | None,
            option("--answer", metavar="METHOD=VALUE", parser=_answer, help=_ANSWER_HELP),
        ] = None,
    ) -> BotOptions:
        """Return a `BotOptions` for the options that the user has typed."""
        return cls(call or [], {each.method: each.value for each in answer or []})

    def answer(self, hub: HubConnection, show: Callable[[str, tuple[Any, ...]], Awaitable[None]]) -> None:
        """Make a hub connection answer the hub's calls of this client's methods. `show` gets each call as an event."""
        for method, value in self.answers.items():
            answer_calls(hub, method, value, show)

    def set_up(self, hub: HubConnection | ClassicHubs) -> None:
        """Make a hub connection run the calls on each new connection."""
        if not self.calls:
            # A handler of `on_setup` costs a turn of the event loop on each connection.
            return

        @hub.on_setup
        async def call_all(_connection_id: str | None) -> None:
            for call in self.calls:
                await hub.invoke(call.method, *call.arguments)


def answer_calls(
    hub: HubConnection, method: str, value: Any, show: Callable[[str, tuple[Any, ...]], Awaitable[None]]
) -> None:
    """Make a hub connection answer the hub's calls of one method of this client. `show` gets each call as an event."""

    @hub.on(method)
    async def reply(*arguments: Any) -> Any:
        await show(method, arguments)
        return value
