"""Runs the steps of `signalr demo` and `signalr doctor` over each combination of transport and hub protocol."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import attrs

from .. import HandshakeError, HubConnection, HubError, SignalRError, Transport
from .._core.redaction import redact_error
from .._life.managed_connection import ManagedConnection
from .exit_status import for_terminal
from .steps import Step, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .connection_options import ConnectionOptions

C = TypeVar("C", bound=ManagedConnection[Any])


@attrs.frozen
class Combination:
    """A transport together with a hub protocol, over which `signalr demo` and `signalr doctor` try a hub."""

    transport: Transport
    protocol: Literal["json", "messagepack"]

    @property
    def format(self) -> str:
        """The transfer format of the protocol, as a negotiate response names it: `Text` or `Binary`."""
        return "Text" if self.protocol == "json" else "Binary"


# Server-Sent Events with MessagePack cannot work and is left out: events are text, and MessagePack is binary.
COMBINATIONS = (
    Combination(Transport.WEBSOCKETS, "json"),
    Combination(Transport.WEBSOCKETS, "messagepack"),
    Combination(Transport.SERVER_SENT_EVENTS, "json"),
    Combination(Transport.LONG_POLLING, "json"),
    Combination(Transport.LONG_POLLING, "messagepack"),
)


def allowed_combinations(options: ConnectionOptions) -> list[Combination]:
    """Return the combinations of transport and hub protocol that `--transport` and `--protocol` allow."""
    return [
        each
        for each in COMBINATIONS
        if options.transports is None or each.transport in options.transports
        if options.protocol is None or each.protocol == options.protocol
    ]


def hub_over(url: str, combination: Combination, **more: Any) -> HubConnection:
    """Return a hub connection over a combination, which does not reconnect. `more` are further arguments."""
    return HubConnection(url, transports=combination.transport, protocol=combination.protocol, reconnect=False, **more)


class Ending(StrEnum):
    """How a step, for example a call, ended. `NOT_OFFERED`: the server lacks the transport or the hub protocol."""

    WORKED = "worked"
    FAILED = "failed"
    NOT_OFFERED = "not offered"


@attrs.frozen
class StepResult:
    """The result of one step, for example a call, over one combination of transport and hub protocol.

    Attributes:
        combination: the transport and protocol.
        step: the step that was run.
        ending: how the step ended; `None` while it runs.
        said: what happened, or the text of the error.
        seconds: how long the step took.
        error: the exception, if the step failed.
    """

    combination: Combination
    step: Step[Any]
    ending: Ending | None = attrs.field(default=None, kw_only=True)
    said: str = attrs.field(default="", converter=for_terminal, kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)
    error: Exception | None = attrs.field(default=None, repr=False, kw_only=True)


@attrs.frozen(kw_only=True)
class StepRunner(Generic[C]):
    """Runs the steps, for example a call, over each combination of transport and hub protocol.

    Attributes:
        steps: the steps to run; the first step must connect.
        connection: returns a connection over a combination, which is not started and does not reconnect.
        offered: the combinations that the server offers; the other combinations are reported as not offered.
        limit: seconds for each step.
        report: called with a `StepResult` when a step begins, and again when this step has ended.
    """

    steps: Sequence[Step[C]]
    connection: Callable[[Combination], C]
    offered: Iterable[Combination] = COMBINATIONS
    limit: float
    report: Callable[[StepResult], None]

    async def run(self) -> None:
        """Run the steps, one combination after another, each with a connection of its own."""
        for combination in COMBINATIONS:
            if combination in self.offered:
                await self._run_over(combination)
            else:
                self.report(StepResult(combination, self.steps[0], ending=Ending.NOT_OFFERED))

    async def _run_over(self, combination: Combination) -> None:
        connection = self.connection(combination)
        connect, *others = self.steps
        try:
            if await self._run_step(connection, StepResult(combination, connect)) is Ending.WORKED:
                for step in others:
                    await self._run_step(connection, StepResult(combination, step))
        finally:
            await connection.stop()

    async def _run_step(self, connection: C, running: StepResult) -> Ending:
        self.report(running)
        began = time.perf_counter()
        ending = Ending.FAILED
        raised: Exception | None = None
        try:
            async with asyncio.timeout(self.limit):
                said = await running.step.run(connection)
            ending = Ending.WORKED
        except HandshakeError as error:
            raised = error
            # A server without this hub protocol refuses the handshake; its negotiate response does not show which hub
            # protocols it has. So report the step as not offered, and not as failed.
            said = str(error)
            if "not supported" in said:
                ending = Ending.NOT_OFFERED
        except (SignalRError, OSError, WrongAnswerError) as error:
            raised = error
            text = redact_error(error) if isinstance(error, HubError) else str(error)
            said = f"{type(error).__name__}: {text}" if str(error) else f"no answer within {self.limit:g} s"
        took = time.perf_counter() - began
        self.report(attrs.evolve(running, ending=ending, said=said, seconds=took, error=raised))
        return ending
