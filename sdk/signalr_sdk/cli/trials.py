"""What `signalr demo` and `doctor` try: steps, one after another, over each combination of transport and protocol."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .. import HandshakeError, HubConnection, HubError, SignalRError, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

_ITEMS = 100
# A hub that has it answers as well.
_NOBODYS_METHOD = "SignalrDemoRoundTrip"


class WrongAnswerError(Exception):
    """The server said something else than it should."""


@attrs.frozen
class Combination:
    """A transport with a protocol."""

    transport: Transport
    protocol: Literal["json", "messagepack"]

    @property
    def format(self) -> str:
        """The transfer format, as negotiate names it."""
        return "Text" if self.protocol == "json" else "Binary"


# Server-Sent Events carry text only.
COMBINATIONS = (
    Combination(Transport.WEBSOCKETS, "json"),
    Combination(Transport.WEBSOCKETS, "messagepack"),
    Combination(Transport.SERVER_SENT_EVENTS, "json"),
    Combination(Transport.LONG_POLLING, "json"),
    Combination(Transport.LONG_POLLING, "messagepack"),
)


@attrs.frozen
class Step:
    """Something to try.

    Attributes:
        name: what it is called.
        run: does it and returns what happened.
    """

    name: str
    run: Callable[[HubConnection], Awaitable[str]] = attrs.field(repr=False)


class Ending(StrEnum):
    """How a step ended."""

    WORKED = "worked"
    FAILED = "failed"
    NOT_OFFERED = "not offered"


@attrs.frozen
class Trial:
    """A step as it went over one combination.

    Attributes:
        combination: over which.
        step: which step.
        ending: how it ended; `None` while it runs.
        said: what happened, or the error.
        seconds: how long it took.
        error: what was raised.
    """

    combination: Combination
    step: Step
    ending: Ending | None = None
    said: str = ""
    seconds: float = 0.0
    error: Exception | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Trials:
    """Tries the steps.

    Attributes:
        url: of the hub.
        steps: the first one connects.
        offered: the combinations that the server has.
        limit: seconds for one step.
        report: called when a step begins, and when it has ended.
        settings: more arguments for `HubConnection`.
    """

    url: str
    steps: Sequence[Step]
    offered: Iterable[Combination] = COMBINATIONS
    limit: float
    report: Callable[[Trial], None]
    settings: dict[str, Any] = attrs.field(factory=dict, repr=False)

    async def run(self) -> None:
        """Try all of them, one combination after another."""
        for combination in COMBINATIONS:
            if combination in self.offered:
                await self._over(combination)
            else:
                self.report(Trial(combination, self.steps[0], Ending.NOT_OFFERED))

    async def _over(self, combination: Combination) -> None:
        hub = HubConnection(
            self.url,
            transports=combination.transport,
            protocol=combination.protocol,
            reconnect=False,
            **self.settings,
        )
        connect, *others = self.steps
        try:
            if await self._try(hub, Trial(combination, connect)) is Ending.WORKED:
                for step in others:
                    await self._try(hub, Trial(combination, step))
        finally:
            await hub.stop()

    async def _try(self, hub: HubConnection, trial: Trial) -> Ending:
        self.report(trial)
        began = time.perf_counter()
        ending = Ending.FAILED
        raised: Exception | None = None
        try:
            async with asyncio.timeout(self.limit):
                said = await trial.step.run(hub)
            ending = Ending.WORKED
        except HandshakeError as error:
            raised = error
            # Negotiate does not tell which protocols a server speaks, the handshake does.
            said = str(error)
            if "not supported" in said:
                ending = Ending.NOT_OFFERED
        except (SignalRError, OSError, WrongAnswerError) as error:
            raised = error
            said = f"{type(error).__name__}: {error}" if str(error) else f"no answer within {self.limit:g} s"
        took = time.perf_counter() - began
        self.report(attrs.evolve(trial, ending=ending, said=said, seconds=took, error=raised))
        return ending


def _expect(answer: object, right: object) -> None:
    if answer != right:
        raise WrongAnswerError(f"{answer!r} instead of {right!r}")


# What works with any hub


async def _connect(hub: HubConnection) -> str:
    await hub.start()
    return "negotiate, open, handshake"


async def _round_trip(hub: HubConnection) -> str:
    # Nobody answers the pings of SignalR, but each hub answers this.
    try:
        await hub.invoke(_NOBODYS_METHOD)
    except HubError:
        return "an unknown method, refused"
    return "a call, answered"


async def _stop(hub: HubConnection) -> str:
    await hub.stop()
    return "closed in good order"


# What the demo's own hub can do


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


async def _answer(hub: HubConnection) -> str:
    asked = []

    @hub.on("YourName")
    def your_name() -> str:
        asked.append("YourName")
        return "Python"

    answer = await hub.invoke("Greet")
    _expect((asked, answer), (["YourName"], "Hello, Python!"))
    return f"YourName? {answer}"


async def _error(hub: HubConnection) -> str:
    try:
        answer = await hub.invoke("Fail", "no such room")
    except HubError as error:
        text = str(error)
        _expect("no such room" in text, right=True)
        return f"HubError: {text.rpartition(': ')[2]}"
    raise WrongAnswerError(f"{answer!r} instead of an error")


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
    Step("answer the server", _answer),
    Step("error of the server", _error),
    Step("stop", _stop),
)
