"""The steps of `signalr demo` and `signalr doctor`, for example a call, and the answers that the steps expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from .. import HubConnection, HubError
from .._core.redaction import redact_error
from .._life.managed_connection import ManagedConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

C = TypeVar("C", bound=ManagedConnection[Any])

_ITEMS = 100
UNKNOWN_METHOD = "SignalrDemoRoundTrip"
"""The step "round trip" calls this method, which probably no hub has.

The hub's error shows that the hub answers. If a hub does have the method, the result shows that the hub answers.
"""


class WrongAnswerError(Exception):
    """The server answered a step with another value than the step expects."""


@attrs.frozen
class Step(Generic[C]):
    """One thing to try over a connection, for example a call.

    Attributes:
        name: name of the step.
        run: runs the step and returns what happened, as a text for users.
    """

    name: str
    run: Callable[[C], Awaitable[str]] = attrs.field(repr=False)


def _expect(answer: object, expected: object) -> None:
    if answer != expected:
        raise WrongAnswerError(f"{answer!r} instead of {expected!r}")


# Steps that work with any hub, whatever methods the hub has


async def _connect(hub: HubConnection) -> str:
    await hub.start()
    return "negotiate, open, handshake"


async def _round_trip(hub: HubConnection) -> str:
    # Call a method that the hub does not have: every hub answers this call with an error. A ping would not do, because
    # servers do not answer pings.
    try:
        await hub.invoke(UNKNOWN_METHOD)
    except HubError:
        return "an unknown method, refused"
    return "a call, answered"


async def _stop(hub: HubConnection) -> str:
    await hub.stop()
    return "closed in good order"


# Steps that call the methods of `DemoHub`


async def _invoke(hub: HubConnection) -> str:
    answer = await hub.invoke("Add", 2, 40)
    _expect(answer, 42)
    return f"Add(2, 40) = {answer}"


async def _event(hub: HubConnection) -> str:
    async with hub.messages("ReceiveMessage") as messages:
        await hub.send("SendMessage", "me", "hello")
        async for arguments in messages:
            _expect(arguments, ("me", "hello"))
            return f"ReceiveMessage({', '.join(arguments)})"
    raise WrongAnswerError("the connection ended before the event came")


async def _stream_down(hub: HubConnection) -> str:
    async with hub.stream("Counter", _ITEMS) as stream:
        numbers = [number async for number in stream]
    _expect(numbers, list(range(_ITEMS)))
    return f"Counter({_ITEMS}): {len(numbers)} items"


async def _stream_up(hub: HubConnection) -> str:
    async def numbers() -> AsyncIterator[int]:
        for number in range(_ITEMS):
            yield number

    answer = await hub.invoke("Sum", numbers())
    _expect(answer, sum(range(_ITEMS)))
    return f"Sum({_ITEMS} items) = {answer}"


async def _client_result(hub: HubConnection) -> str:
    called = []

    @hub.on("YourName")
    def your_name() -> str:
        called.append("YourName")
        return "Python"

    answer = await hub.invoke("Greet")
    _expect((called, answer), (["YourName"], "Hello, Python!"))
    return f"YourName? {answer}"


async def _error(hub: HubConnection) -> str:
    try:
        answer = await hub.invoke("Fail", "no such room")
    except HubError as error:
        text = redact_error(error)
        _expect("no such room" in text, expected=True)
        return f"HubError: {text.rpartition(': ')[2]}"
    raise WrongAnswerError(f"{answer!r} instead of an error")


# The first step must connect: `StepRunner` leaves out the other steps if the first step fails.
ANY_HUB = (
    Step("connect", _connect),
    Step("round trip", _round_trip),
    Step("stop", _stop),
)
DEMO_HUB = (
    Step("connect", _connect),
    Step("invoke", _invoke),
    Step("event", _event),
    Step("stream from the server", _stream_down),
    Step("stream to the server", _stream_up),
    Step("answer the server", _client_result),
    Step("error of the server", _error),
    Step("stop", _stop),
)
