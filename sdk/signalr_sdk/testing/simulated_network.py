"""`SimulatedNetwork`: a network in memory, on which programs live through months of outages in seconds."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .simulated.loop import SimulatedLoop
from .simulated.outages import Outage
from .simulated.replaced import simulated
from .simulated.tcp import DOWN, UP, Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator

    from .fault_proxy import Direction

T = TypeVar("T")

# When a simulated run begins: 2024-01-01, in seconds since 1970.
_EPOCH: Final = 1_704_067_200.0
# An error of the run shows so many lines of `history`.
_STORY: Final = 30


class SimulatedNetwork:
    """A network in memory with a clock that leaps: programs live through months of outages in seconds.

    `run` runs a coroutine, as `asyncio.run` does. In the coroutine, `HubServer` (in an `async with`), `HubConnection`
    and all other programs that use asyncio's TCP connections work without a change, but their bytes stay in memory.
    When all tasks wait, the clock leaps to the next moment at which something happens.

    **The same seed gives the same run, byte for byte**, in any process, if the program itself does not depend on
    anything else: on files, threads, other processes, `datetime.now()` or the order of a `set`.

    While `run` runs, `time.time`, `time.monotonic`, `time.clock_gettime`, `os.urandom`, the functions of `random`,
    `secrets.token_bytes` (and what uses it) and `socket.socket` are replaced in the whole process. `asyncio.to_thread`
    calls its function at once. Every host name has an address. There is no TLS.

    Args:
        seed: of all that happens by chance.
        latency: the shortest and the longest time that a segment takes from one end to the other, in seconds.
        split: how likely a segment arrives in two pieces, from 0 to 1.

    Attributes:
        seed: the seed.
        history: what has gone wrong so far, with the time.

    Example:
        ```python
        class Chat(Hub):
            async def add(self, a: int, b: int) -> int:
                return a + b

        async def a_lost_line(network: SimulatedNetwork) -> int:
            async with HubServer({"/chat": Chat}) as server, HubConnection(server.url("/chat")) as hub:
                network.lose_line()
                await asyncio.sleep(3600)
                return await hub.invoke("Add", 1, 2)

        network = SimulatedNetwork(seed=1)
        assert network.run(a_lost_line(network)) == 3
        ```
    """

    def __init__(self, seed: int, *, latency: tuple[float, float] = (0.0005, 0.05), split: float = 0.05) -> None:
        if not 0 <= latency[0] <= latency[1]:
            raise ValueError(f"latency is a shortest and a longest time in seconds, not {latency!r}")
        if not 0 <= split <= 1:
            raise ValueError(f"split is a number from 0 to 1, not {split!r}")
        self.seed: int = seed
        self.history: list[str] = []
        self._chance = random.Random(seed)
        self._conditions = Conditions(self._chance, latency=latency, split=split)
        self._loop: SimulatedLoop | None = None
        self._wall_offset = _EPOCH

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this network; return its result. Only once for each network.

        Raises:
            RuntimeError: the network has run already, or every task waits for something that can never happen.
        """
        if self._loop is not None:
            main.close()
            raise RuntimeError("a SimulatedNetwork runs once: make another one, with the same seed or another")
        loop = self._loop = SimulatedLoop(self._conditions)
        # The program's own random numbers do not change when the network needs one more or less.
        program = random.Random(self._chance.getrandbits(64))
        with simulated(loop, self._wall_clock, program), asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                return runner.run(main)
            except BaseException as error:
                error.add_note(self._story())
                raise

    def _story(self) -> str:
        first = f"SimulatedNetwork(seed={self.seed}), after {self.time:.3f} simulated seconds"
        return "\n".join([first, *self.history[-_STORY:]])

    # What there is

    @property
    def time(self) -> float:
        """The simulated seconds since the run began."""
        return 0.0 if self._loop is None else self._loop.time()

    @property
    def connections(self) -> int:
        """How many TCP connections are open, at one end at least."""
        return len(self._conditions.links)

    @property
    def accepted(self) -> int:
        """How many TCP connections there have been."""
        return self._conditions.connections

    @property
    def fingerprint(self) -> str:
        """A hash of all bytes that have arrived anywhere, with times: two runs with one seed have the same."""
        return self._conditions.fingerprint

    def watch(self, trace: Callable[[str], object] | None) -> None:
        """Call this function with a line for each connection, segment and end; `None` for no function."""
        self._conditions.trace = trace

    def _wall_clock(self) -> float:
        return self._wall_offset + self.time

    def _note(self, what: str) -> None:
        self.history.append(f"{self.time:.3f} s: {what}")

    # Faults that happen at once

    def cut(self, *, reset: bool = False) -> int:
        """Close all TCP connections; return their number. What is under way is lost.

        Args:
            reset: close with RST, which is an error for both ends, instead of FIN.
        """
        self._note(f"cut(reset={reset})")
        links = self._conditions.all_links()
        for link in links:
            link.cut(reset=reset)
        return len(links)

    def cut_after(self, count: int, direction: Direction, *, reset: bool = False) -> None:
        """Close a TCP connection when exactly so many more bytes have arrived, over all connections together.

        Args:
            count: how many bytes.
            direction: `"up"` or `"down"`.
            reset: close with RST instead of FIN.
        """
        if count < 0:
            raise ValueError(f"count must not be negative, not {count}")
        (flow_direction,) = _some(direction)
        if not count:
            self.cut(reset=reset)
            return
        self._note(f"cut_after({count}, {direction!r}, reset={reset})")
        flow = self._conditions.flows[flow_direction]
        flow.left, flow.reset = count, reset

    def lose_line(self) -> int:
        """Let all TCP connections die without a word; return their number.

        Nothing arrives at either end any more, and no end is told, as when a router forgets the connections. New
        connections work.
        """
        self._note("lose_line()")
        links = self._conditions.all_links()
        for link in links:
            link.lose()
        return len(links)

    def leap(self, seconds: float) -> None:
        """Set the wall clock (`time.time`) forward, or back with a negative number. Timers do not change."""
        self._note(f"leap({seconds:g})")
        self._wall_offset += seconds

    def suspend(self, seconds: float) -> None:
        """Let the computer sleep for so many seconds: all clocks go on, nothing runs, and timers fire late."""
        if seconds < 0:
            raise ValueError(f"seconds must not be negative, not {seconds}")
        self._note(f"suspend({seconds:g})")
        if self._loop is None:
            raise RuntimeError("a computer can be suspended only while the network runs")
        self._loop.suspend(seconds)

    # Faults that last

    def stall(self, direction: Direction | None = None) -> None:
        """Hold all data on the way, also the data of new connections, as a proxy does that has no time.

        Args:
            direction: only the direction `"up"` or `"down"`; both by default.
        """
        self._note(f"stall({direction or ''})")
        for each in _some(direction):
            self._conditions.block(each, stall=True)

    def resume(self, direction: Direction | None = None) -> None:
        """Let data pass again, beginning with the data that was held."""
        self._note(f"resume({direction or ''})")
        for each in _some(direction):
            self._conditions.unblock(each, stall=True)

    def swallow(self, direction: Direction | None = None) -> None:
        """Let all packets vanish: a black hole, until `restore`.

        Systems send lost packets again, so that a connection outlives a black hole of some seconds: its data then
        arrives late. New connections wait, and fail after two minutes.

        Args:
            direction: only the direction `"up"` or `"down"`; both by default.
        """
        self._note(f"swallow({direction or ''})")
        for each in _some(direction):
            self._conditions.block(each, hole=True)

    def restore(self, direction: Direction | None = None) -> None:
        """End the black hole."""
        self._note(f"restore({direction or ''})")
        for each in _some(direction):
            self._conditions.unblock(each, hole=True)

    def refuse(self) -> None:
        """Refuse new TCP connections, until `accept`. Open connections stay open."""
        self._note("refuse()")
        self._conditions.is_refusing = True

    def accept(self) -> None:
        """Accept TCP connections again."""
        self._note("accept()")
        self._conditions.is_refusing = False

    @contextmanager
    def slow(self, shortest: float, longest: float) -> Iterator[None]:
        """Let segments take so many seconds while the `with` block runs."""
        self._note(f"slow({shortest:g}, {longest:g})")
        before, self._conditions.latency = self._conditions.latency, (shortest, longest)
        try:
            yield
        finally:
            self._conditions.latency = before

    def forget_names(self) -> None:
        """Let every look-up of a host name fail (DNS), until `know_names`. IP addresses and localhost work."""
        self._note("forget_names()")
        self._conditions.names_fail = True

    def know_names(self) -> None:
        """Let look-ups of host names work again."""
        self._note("know_names()")
        self._conditions.names_fail = False

    # Outages by chance

    async def outages(
        self, seconds: float, *, every: float = 3600.0, longest: float = 600.0, only: Collection[int] | None = None
    ) -> int:
        """Let faults of all kinds happen by chance, one after another; return their number.

        The same seed and arguments give the same faults, whatever the program does.

        Args:
            seconds: for how long.
            every: how many seconds pass on average from one fault to the next.
            longest: how many seconds a fault lasts at most. Most faults are short, a few are long.
            only: the numbers of the faults that happen, as `history` has them; the others are left out. All by default.
        """
        number = 0
        for outage in Outage.series(self.seed, seconds, every=every, longest=longest):
            await asyncio.sleep(outage.pause)
            number += 1
            if only is None or number in only:
                self._note(f"outage {number}: {outage.kind} for {outage.lasts:g} s")
                await outage.happen(self)
            else:
                await asyncio.sleep(outage.lasts)
        return number


def _some(direction: Direction | None) -> tuple[Direction, ...]:
    if direction is None:
        return (UP, DOWN)
    if direction not in (UP, DOWN):
        raise ValueError(f"a direction is 'up' or 'down', not {direction!r}")
    return (direction,)
