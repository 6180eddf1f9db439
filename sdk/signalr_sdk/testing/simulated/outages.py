"""Outages by chance, for `SimulatedNetwork.outages`."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from ..fault_proxy import Direction

# The longest that the wall clock leaps, in seconds.
_LEAP: Final = 7200.0


class Network(Protocol):
    """The methods of `SimulatedNetwork` that outages use."""

    def cut(self, *, reset: bool = False) -> int:
        """See `SimulatedNetwork`."""

    def lose_line(self) -> int:
        """See `SimulatedNetwork`."""

    def leap(self, seconds: float) -> None:
        """See `SimulatedNetwork`."""

    def suspend(self, seconds: float) -> None:
        """See `SimulatedNetwork`."""

    def stall(self, direction: Direction | None = None) -> None:
        """See `SimulatedNetwork`."""

    def resume(self, direction: Direction | None = None) -> None:
        """See `SimulatedNetwork`."""

    def swallow(self, direction: Direction | None = None) -> None:
        """See `SimulatedNetwork`."""

    def restore(self, direction: Direction | None = None) -> None:
        """See `SimulatedNetwork`."""

    def refuse(self) -> None:
        """See `SimulatedNetwork`."""

    def accept(self) -> None:
        """See `SimulatedNetwork`."""

    def forget_names(self) -> None:
        """See `SimulatedNetwork`."""

    def know_names(self) -> None:
        """See `SimulatedNetwork`."""

    def slow(self, shortest: float, longest: float) -> AbstractContextManager[None]:
        """See `SimulatedNetwork`."""


@attrs.frozen
class Outage:
    """One fault by chance.

    Attributes:
        kind: name of the method below that makes the fault.
        pause: seconds before the fault.
        lasts: seconds that the fault lasts.
        part: chooses among the variants of the kind; from 0 to 1.
    """

    kind: str
    pause: float
    lasts: float
    part: float

    @classmethod
    def series(cls, seed: int, seconds: float, *, every: float, longest: float) -> Iterator[Outage]:
        """Yield the outages of a seed for so many seconds."""
        chance = random.Random(f"outages {seed}")
        now = 0.0
        while True:
            outage = cls(
                chance.choice(_KINDS),
                pause=chance.expovariate(1 / every),
                lasts=longest * chance.random() ** 4,
                part=chance.random(),
            )
            now += outage.pause + outage.lasts
            if now > seconds:
                return
            yield outage

    async def happen(self, network: Network) -> None:
        """Let the fault happen; return when it is over."""
        await getattr(self, f"_{self.kind}")(network)

    @property
    def _direction(self) -> Direction | None:
        return "up" if self.part < 0.25 else "down" if self.part < 0.5 else None

    async def _cut(self, network: Network) -> None:
        network.cut(reset=self.part < 0.5)
        await asyncio.sleep(self.lasts)

    async def _lose_line(self, network: Network) -> None:
        network.lose_line()
        await asyncio.sleep(self.lasts)

    async def _leap(self, network: Network) -> None:
        network.leap(round(_LEAP * (2 * self.part - 1)))
        await asyncio.sleep(self.lasts)

    async def _suspend(self, network: Network) -> None:
        network.suspend(self.lasts)

    async def _stall(self, network: Network) -> None:
        network.stall(self._direction)
        await self._end_with(lambda: network.resume(self._direction))

    async def _swallow(self, network: Network) -> None:
        network.swallow(self._direction)
        await self._end_with(lambda: network.restore(self._direction))

    async def _refuse(self, network: Network) -> None:
        network.refuse()
        network.cut()
        await self._end_with(network.accept)

    async def _forget_names(self, network: Network) -> None:
        network.forget_names()
        network.cut()
        await self._end_with(network.know_names)

    async def _slow(self, network: Network) -> None:
        with network.slow(0.1 + self.part, 1.0 + self.part):
            await asyncio.sleep(self.lasts)

    async def _end_with(self, end: Callable[[], None]) -> None:
        try:
            await asyncio.sleep(self.lasts)
        finally:
            end()


_KINDS: Final = ("cut", "lose_line", "leap", "suspend", "stall", "swallow", "refuse", "forget_names", "slow")
