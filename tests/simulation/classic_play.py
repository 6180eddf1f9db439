"""A play of classic SignalR: the client and `ClassicHubServer` on a simulated network, through outages of all kinds.

Numbers go to all clients, and others to a group, in steady streams; calls go to the server. What must hold:

- A number arrives once and in order. Numbers are missing only where the server could not keep them: around an end of
  the server's process or application, and around a new connection.
- Every call ends exactly once. The hub method of a call runs once at most.
- `OnConnected` runs once for each connection.
- After the play, the client is connected again and in its group; after its stop, nothing is left.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import random
import sys
from collections import Counter
from typing import TYPE_CHECKING

import attrs
from tenacity import wait_random_exponential

from signalr_sdk import Retry, SignalRError, Timeouts, Transport
from signalr_sdk.classic import HubConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer, SimulatedNetwork
from signalr_sdk.testing.simulated.outages import Outage

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalr_sdk.classic import HubProxy

_FAULTS = 20  # in each play of `main`
_EVERY = 0.5  # seconds from one number to the next
_BEHIND = 10  # moments at which numbers to all may arrive before one of the group arrives
_PATIENCE = 120.0  # seconds that a call may take, and that the client may take to come back after the last fault
# Seconds that the numbers may take to arrive then. The client gives up a poll that hangs only after `_PATIENCE`.
_CATCH_UP = 1.5 * _PATIENCE
# Seconds for which the server keeps numbers that the client does not read: 30 until it takes the client for gone, and
# 100 from then on. A client that waits for a poll that hangs, and then for a server that refuses it, is away longer.
_KEPT = 130.0


class BrokenPromiseError(AssertionError):
    """Something that must hold does not."""


@attrs.define
class Stream:
    """A stream of numbers to the client, and where numbers may be missing.

    Attributes:
        name: name of the event.
        next: the number that is sent next.
        got: the last number that arrived.
        at: the simulated time at which it arrived.
        unsure: whether the next number is the first one of a new connection.
        ends: the numbers around which the server could lose messages: its process or application has ended.
        received: how many numbers have arrived.
        gaps: how often numbers were missing.
    """

    name: str
    next: int = 0
    got: int = -1
    at: float = 0.0
    unsure: bool = True
    ends: list[int] = attrs.field(factory=list)
    received: int = 0
    gaps: int = 0

    def take(self, number: int, now: float) -> None:
        """Check a number that has arrived, at a simulated time in seconds."""
        before, self.got = self.got, number
        away, self.at = now - self.at, now
        may_miss = self.unsure or away >= _KEPT or any(end <= number for end in self.ends)
        self.received += 1
        self.unsure = False
        self.ends = [end for end in self.ends if end > number]
        if number <= before:
            raise BrokenPromiseError(f"{self.name}: {number} came after {before}")
        if number > before + 1:
            self.gaps += 1
            if not may_miss:
                raise BrokenPromiseError(f"{self.name}: {number} came after {before}, and nothing allows that")


class Numbers(ClassicHub):
    """The hub of the play."""

    calls: Counter[int]
    connects: Counter[str]

    async def on_connected(self) -> None:
        self.connects[self.context.connection_id] += 1

    async def join(self) -> None:
        await self.groups.add(self.context.connection_id, "g")

    async def add(self, number: int) -> int:
        self.calls[number] += 1
        return number + 1


@attrs.define
class ClassicPlay:
    """A play.

    Attributes:
        seed: decides all that happens.
        transport: the client's transport.
        faults: how many faults of the network and of the server there are.
        counts: how often each thing has happened.
    """

    seed: int
    transport: Transport
    faults: int
    counts: Counter[str] = attrs.field(factory=Counter)
    _all: Stream = attrs.field(factory=lambda: Stream("number"))
    _group: Stream = attrs.field(factory=lambda: Stream("grouped"))
    _errors: list[BaseException] = attrs.field(factory=list)

    def run(self) -> str:
        """Play; return the fingerprint of all that the network has carried.

        Raises:
            BrokenPromiseError: something does not hold.
        """
        network = SimulatedNetwork(self.seed)
        network.run(self._play(network))
        return network.fingerprint

    async def _play(self, network: SimulatedNetwork) -> None:
        hub = type("Numbers", (Numbers,), {"calls": Counter(), "connects": Counter(), "__module__": __name__})
        before = asyncio.all_tasks()
        async with (
            ClassicHubServer({"Numbers": hub}) as server,
            self._connection(server) as connection,
        ):
            await self._through_faults(network, server, connection)
        self._check(hub)
        if left := asyncio.all_tasks() - before:
            raise BrokenPromiseError(f"tasks are left: {left}")
        if network.connections:
            raise BrokenPromiseError(f"{network.connections} TCP connections are left")

    def _connection(self, server: ClassicHubServer) -> HubConnection:
        again = Retry.forever(wait=wait_random_exponential(multiplier=0.2, max=5))
        connection = HubConnection(
            server.url(), transports=self.transport, reconnect=again, timeouts=Timeouts(connect=5)
        )
        hub = connection.hub("Numbers")
        hub.on("number", self._guarded(self._all))
        hub.on("grouped", self._guarded(self._group))
        # The server sends what has gathered topic by topic: many numbers to all at one moment, and then the group's.
        moments: set[float] = set()
        hub.on("number", lambda _number: moments.add(asyncio.get_running_loop().time()))
        hub.on("grouped", lambda _number: moments.clear())

        @connection.on_setup
        async def join(_connection_id: str) -> None:
            await hub.invoke("Join", timeout=60)

        @connection.on_connected
        def connected(_connection_id: str) -> None:
            self.counts["connections"] += 1
            self._all.unsure = self._group.unsure = True

        @connection.on_reconnecting
        def lost(_error: Exception | None) -> None:
            self.counts["losses"] += 1
            # Both streams have the same numbers. In its group, the client gets both.
            if not self._group.unsure and len(moments) > _BEHIND:
                self._errors.append(BrokenPromiseError("the client was no longer in its group"))

        return connection

    def _guarded(self, stream: Stream) -> Callable[[int], None]:
        def take(number: int) -> None:
            try:
                stream.take(number, asyncio.get_running_loop().time())
            except BrokenPromiseError as error:
                self._errors.append(error)

        return take

    async def _through_faults(
        self, network: SimulatedNetwork, server: ClassicHubServer, connection: HubConnection
    ) -> None:
        sending = asyncio.create_task(self._send_numbers(server))
        calling = asyncio.create_task(self._call(connection))
        try:
            await self._let_faults_happen(network, server)
            await connection.wait_connected(_PATIENCE)
            last = self._all.next, self._group.next
            async with asyncio.timeout(_CATCH_UP):
                while self._all.got < last[0] or self._group.got < last[1]:  # noqa: ASYNC110  # it is simulated
                    await asyncio.sleep(1)
        finally:
            sending.cancel()
            calling.cancel()
            await asyncio.gather(sending, calling, return_exceptions=True)

    async def _send_numbers(self, server: ClassicHubServer) -> None:
        while True:
            clients = server.clients("Numbers")
            for stream, proxy in ((self._all, clients.all), (self._group, clients.group("g"))):
                number, stream.next = stream.next, stream.next + 1
                await proxy.send(stream.name, number)
            await asyncio.sleep(_EVERY)

    async def _call(self, connection: HubConnection) -> None:
        hub = connection.hub("Numbers")
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                _ = group.create_task(self._one_call(hub, number))
                await asyncio.sleep(2 * _EVERY)

    async def _one_call(self, hub: HubProxy, number: int) -> None:
        try:
            async with asyncio.timeout(2 * _PATIENCE):
                if await hub.invoke("Add", number, timeout=_PATIENCE) != number + 1:
                    self._errors.append(BrokenPromiseError(f"the result of call {number} is wrong"))
            self.counts["results"] += 1
        except SignalRError as error:
            self.counts[type(error).__name__] += 1
        except TimeoutError:
            self._errors.append(BrokenPromiseError(f"call {number} did not end"))

    async def _let_faults_happen(self, network: SimulatedNetwork, server: ClassicHubServer) -> None:
        chance = random.Random(f"classic {self.seed}")
        for _ in range(self.faults):
            await asyncio.sleep(chance.expovariate(1 / 15.0))
            if chance.random() < 0.5:
                # `outages` waits first, and makes one fault after another; one of them will do.
                series = Outage.series(chance.getrandbits(32), 1e6, every=1.0, longest=60.0)
                await next(series).happen(network)
            else:
                await self._let_server_fail(server, chance)

    async def _let_server_fail(self, server: ClassicHubServer, chance: random.Random) -> None:
        kind = chance.choice(["drop", "silence", "answer", "hang", "refuse", "restart", "shut_down"])
        self.counts[kind] += 1
        lasts = 60.0 * chance.random() ** 3
        faults = server.faults
        match kind:
            case "drop":
                faults.drop(chance.choice(["reset", "fin", "close"]))
            case "silence":
                # No client can know what was swallowed while its transport lives on.
                self._note_end()
                with faults.silence(keep_alive_only=chance.random() < 0.5):
                    await asyncio.sleep(lasts)
                self._note_end()
            case "answer":
                with faults.answer(None, chance.choice([400, 403, 404, 500, 503]), times=chance.randint(1, 5)):
                    await asyncio.sleep(lasts)
            case "hang":
                with faults.hang(None, times=chance.randint(1, 5)):
                    await asyncio.sleep(lasts)
            case "refuse":
                with faults.refuse():
                    await asyncio.sleep(lasts)
            case "restart":
                self._note_end()
                await faults.restart(chance.choice(["same", "new"]), down=lasts)
                self._note_end()
            case _:
                self._note_end()
                faults.shut_down()

    def _note_end(self) -> None:
        for stream in (self._all, self._group):
            stream.ends.append(stream.next)

    def _check(self, hub: type[Numbers]) -> None:
        self.counts["numbers"] = self._all.received + self._group.received
        self.counts["gaps"] = self._all.gaps + self._group.gaps
        for what, counted in (("call", hub.calls), ("OnConnected of", hub.connects)):
            for name, times in counted.items():
                if times != 1:
                    self._errors.append(BrokenPromiseError(f"{what} {name} ran {times} times"))
        if self._errors:
            raise self._errors[0]


def main() -> None:
    """Run plays over each transport, until one breaks a promise, or until there were as many faults as wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.classic_play")
    parser.add_argument("--seed", type=int, default=1, help="of the first play; each play has the next one")
    parser.add_argument("--faults", type=int, default=1000, help="in all plays together (default: %(default)s)")
    parser.add_argument("--transport", type=Transport, choices=list(Transport), help="only this transport")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    transports = list(Transport) if options.transport is None else [options.transport]
    counts: Counter[str] = Counter()
    plays = ((seed, transport) for seed in itertools.count(options.seed) for transport in transports)
    while counts["faults"] < options.faults:
        seed, transport = next(plays)
        play = ClassicPlay(seed, transport, _FAULTS)
        try:
            play.run()
        except BaseException:
            sys.stdout.write(f"--seed {seed} --transport {transport} --faults {_FAULTS}\n")
            raise
        counts += play.counts
        counts["faults"] += _FAULTS
    sys.stdout.write(f"{dict(counts)}\n")


if __name__ == "__main__":
    main()
