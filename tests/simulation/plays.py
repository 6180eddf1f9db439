"""A play: a run of the fault suite on a simulated network. The same play has the same course, byte for byte."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import attrs
from tests.faults.runs import Run
from tests.faults.schedule import Fault, Schedule
from tests.interop.conftest import COMBINATIONS, Combination

from signalr_sdk import Transport
from signalr_sdk.testing import SimulatedNetwork

from .simulated_server import SeamFaults, SimulatedFaults
from .threads import Baton, ThreadedHub

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The longest fault of a play: most faults are shorter than all timeouts, some are longer than the timeouts of a server.
_LONGEST = (1.0, 4.0, 4.0, 40.0)
# The longest delay of a segment.
_LATENCIES = (0.002, 0.002, 0.05, 0.3)
_PAUSES = (0.1, 1.5)  # with faults of 4 s
_TICK = 0.25
# Below the seams there is less traffic, and so more faults in the same time.
_SEAM_PACE = 3.0
_SET_UP = 0.5
# Longer than the computer sleeps at most.
_PATIENCE = 200.0


@attrs.frozen
class Kind:
    """A kind of connection.

    Attributes:
        combination: transport and hub protocol.
        stateful: whether the client uses stateful reconnect.
        below_seams: whether the play leaves out HTTP: the client's `HttpClient` is the test server itself.
        threads: whether the client is a connection of `signalr_sdk.sync`.
    """

    combination: Combination
    stateful: bool
    below_seams: bool = False
    threads: bool = False

    def __str__(self) -> str:
        return (
            f"{self.combination}{'-stateful' * self.stateful}{'-seams' * self.below_seams}{'-threads' * self.threads}"
        )


_WEB_SOCKETS = [each for each in COMBINATIONS if each.transport is Transport.WEBSOCKETS]
KINDS = [
    *(Kind(combination, stateful=False) for combination in COMBINATIONS),
    *(Kind(combination, stateful=True) for combination in _WEB_SOCKETS),
]
SEAM_KINDS = [
    Kind(combination, stateful=stateful, below_seams=True) for combination in _WEB_SOCKETS for stateful in (False, True)
]
THREAD_KINDS = [attrs.evolve(kind, threads=True) for kind in KINDS]


@attrs.frozen(kw_only=True)
class Outcome:
    """How a play went.

    Attributes:
        error: the error with which the play ended; `None` if all invariants held.
        fingerprint: the hash of all that the network has carried.
        counts: how often each thing has happened.
        simulated: simulated seconds.
        seconds: seconds of the processor.
    """

    error: BaseException | None
    fingerprint: str
    counts: Counter[str]
    simulated: float
    seconds: float


@attrs.frozen
class Play:
    """What is played.

    Attributes:
        kind: the kind of connection.
        seed: seed of network, faults and traffic.
        faults: the faults, in order.
        pace: how many times longer pauses are: longer where faults are longer.
    """

    kind: Kind
    seed: int
    faults: tuple[Fault, ...]
    pace: float

    @classmethod
    def by_seed(cls, kind: Kind, seed: int, count: int) -> Play:
        """Return the play of a seed, with so many faults."""
        longest = random.Random(seed).choice(_LONGEST)
        schedule = Schedule(seed, (*SimulatedFaults.kinds, "stop", "reconnect", "reconnect"), longest)
        pace = max(1.0, longest / 8) * (_SEAM_PACE if kind.below_seams else 1.0)
        return cls(kind, seed, tuple(itertools.islice(schedule, count)), pace)

    def keep(self, numbers: Sequence[int]) -> Play:
        """Return the play with some of its faults only, by their numbers from 0 on."""
        return attrs.evolve(self, faults=tuple(self.faults[number] for number in numbers))

    def run(self, trace: Callable[[str], object] | None = None) -> Outcome:
        """Run the play.

        Args:
            trace: called with a line for each thing that happens on the network.
        """
        began = time.process_time()
        latency = (0.0001, random.Random(self.seed).choice(_LATENCIES))
        network = SimulatedNetwork(self.seed, latency=latency, split=0.0 if self.kind.below_seams else 0.05)
        network.watch(trace)
        run = Run(
            self.kind.combination,
            self.kind.stateful,
            self.seed,
            pauses=(_PAUSES[0] * self.pace, _PAUSES[1] * self.pace),
            tick=_TICK * self.pace,
            patience=_PATIENCE,
            # Two of three clients set up their connections; one of four waits until `reconnect()` is called.
            set_up=None if self.seed % 3 == 0 else _SET_UP,
            hurried=self.seed % 4 == 1 and not self.kind.stateful,
        )
        error: BaseException | None = None
        try:
            network.run(self._go(network, run))
        except Exception as raised:  # noqa: BLE001 - the outcome has it
            error = raised
        return Outcome(
            error=error,
            fingerprint=network.fingerprint,
            counts=run.counts or Counter(),
            simulated=network.time,
            seconds=time.process_time() - began,
        )

    async def _go(self, network: SimulatedNetwork, run: Run) -> None:
        if self.kind.below_seams:
            faults: SimulatedFaults = SeamFaults(network)
        else:
            faults = SimulatedFaults(network, redirects=self.seed % 3 == 0)
        with ExitStack() as stack:
            if self.kind.threads:
                baton = Baton()
                stack.enter_context(baton.passed())
                run.connection = partial(ThreadedHub, baton)
            async with faults:
                await run.through(faults, self.faults)
