"""Kills, stops and cuts off the leader of three replicas of a relay, and looks what is in the stream.

    python -m tests.fleet.kills --kill 200 --stop 20 --cut-redis 20 --cut-hub 20 --seed 7

Each number must be in the stream once and in order, and the tokens of its entries must never fall: an older leader was
never accepted after a newer one.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fleet.redis_process import RedisProcess, free_port
from tests.fleet.replica import STREAM
from tests.tcp_proxy import TcpProxy

from signalr_sdk.testing import HubServer, LedgerHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROOT = Path(__file__).parents[2]
# Whatever is waited for comes within this time.
LIMIT = 60.0
# A read of the stream, so that the driver holds up nobody.
_PAGE = 5000


class Replica:
    """A process, and its own way to Redis."""

    def __init__(self, hub_url: str, proxy: TcpProxy, ttl: float) -> None:
        self._command = [
            *(sys.executable, "-m", "tests.fleet.replica", hub_url),
            *(f"redis://127.0.0.1:{proxy.port}", str(ttl)),
        ]
        self.proxy = proxy
        self.tokens: set[int] = set()
        self.log: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    async def _read(self, lines: asyncio.StreamReader | None) -> None:
        assert lines is not None
        async for line in lines:
            self.log.append(line.decode().rstrip())
            if line.startswith(b"token "):
                self.tokens.add(int(line.split()[1]))

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        if self._process is not None and self._reading is not None:
            self.signal(signal.SIGKILL)
            await self._process.wait()
            await self._reading
            self._process._transport.close()  # type: ignore[attr-defined]
            self._process = None


class Kills:
    """One run.

    Attributes:
        takeovers: how long the stream had no leader after each blow, in seconds.
    """

    def __init__(self, server: HubServer, hub: type[LedgerHub], redis: RedisProcess, ttl: float, seed: int) -> None:
        self.takeovers: dict[str, list[float]] = {}
        self.replicas: list[Replica] = []
        self._server, self._hub, self._redis, self._ttl = server, hub, redis, ttl
        self._random = random.Random(seed)
        self._client = redis.client()
        self._emitting: asyncio.Task[None] | None = None
        self._is_ending = False

    async def start(self, count: int, rate: int, entered: AsyncExitStack) -> None:
        for _ in range(count):
            proxy = TcpProxy(self._redis.port)
            await proxy.allow()
            entered.push_async_callback(proxy.close)
            replica = Replica(self._server.url("/ledger"), proxy, self._ttl)
            entered.push_async_callback(replica.kill)
            await replica.start()
            self.replicas.append(replica)
        self._emitting = asyncio.create_task(self._emit(rate))
        entered.callback(self._emitting.cancel)
        await self._until("a first leader", lambda: self.leader() is not None and self.length() > 0)

    async def _emit(self, rate: int) -> None:
        begun, sent = time.monotonic(), 0
        while not self._is_ending:
            while sent < (time.monotonic() - begun) * rate:
                await self._server.send("/ledger", "item", self._hub.state.next_item())
                sent += 1
            await asyncio.sleep(0.01)

    async def _until(self, what: str, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, f"{what} does not come\n{self.logs()}"
            await asyncio.sleep(0.01)

    def logs(self) -> str:
        return "\n".join(f"{index}: {line}" for index, each in enumerate(self.replicas) for line in each.log[-15:])

    def sink(self) -> int:
        return int(self._client.get("{items}:sink") or 0)

    def length(self) -> int:
        return int(self._client.hget("{items}:relay", "number:item") or 0)

    def leader(self) -> Replica | None:
        token = self.sink()
        return next((each for each in self.replicas if token in each.tokens), None)

    async def blow(self, kind: str) -> None:
        """Strike the leader, and measure when another one has written its first entry."""
        await self._until("a leader", lambda: self.leader() is not None)
        await asyncio.sleep(self._random.uniform(0.0, 1.0))
        leader, token, length = self.leader(), self.sink(), self.length()
        if leader is None:
            return
        begun = time.monotonic()
        await getattr(self, f"_{kind}")(leader)
        if kind == "cut_hub":
            await self._until("the next event", lambda: self.length() > length)
        else:
            await self._until("the next leader", lambda: self.sink() != token)
        self.takeovers.setdefault(kind, []).append(time.monotonic() - begun)
        await getattr(self, f"_undo_{kind}")(leader)
        length = self.length()
        await self._until("the next event", lambda: self.length() > length + 20)

    async def _kill(self, leader: Replica) -> None:
        await leader.kill()

    async def _undo_kill(self, leader: Replica) -> None:
        await leader.start()

    async def _stop(self, leader: Replica) -> None:
        leader.signal(signal.SIGSTOP)

    async def _undo_stop(self, leader: Replica) -> None:
        await asyncio.sleep(self._random.uniform(0.0, 1.0))
        leader.signal(signal.SIGCONT)

    async def _cut_redis(self, leader: Replica) -> None:
        leader.proxy.stalls = True

    async def _undo_cut_redis(self, leader: Replica) -> None:
        await asyncio.sleep(self._random.uniform(0.0, 1.0))
        leader.proxy.stalls = False

    async def _cut_hub(self, _leader: Replica) -> None:
        self._server.faults.cut(reset=True)

    async def _undo_cut_hub(self, _leader: Replica) -> None:
        pass

    async def finish(self) -> None:
        """Emit nothing more, and wait until everything is in the stream."""
        assert self._emitting is not None
        # Not by a cancellation: a last event that is made and not sent is missed by nobody.
        self._is_ending = True
        await self._emitting
        await self._until("the last event", lambda: self.length() == self._hub.state.number)

    def check(self) -> str:
        """Look at the stream; return a summary.

        Raises:
            AssertionError: a promise was broken.
        """
        numbers: list[int] = []
        tokens: list[int] = []
        takeovers: list[int] = []
        after = "-"
        while page := self._client.xrange(STREAM, min=after, count=_PAGE):
            after = f"({page[-1][0]}"
            for _id, fields in page:
                tokens.append(int(fields["token"]))
                if fields["kind"] == "takeover":
                    takeovers.append(int(fields["token"]))
                else:
                    assert fields["kind"] == "event", fields
                    numbers.append(int(fields["number"]))
        last = self._hub.state.number
        wrong = [(at, n) for at, n in enumerate(numbers, 1) if at != n][:5]
        assert numbers == list(range(1, last + 1)), f"{len(numbers)} of {last}; first wrong: {wrong}"
        assert tokens == sorted(tokens), "an older leader was accepted after a newer one"
        assert len(takeovers) == len(set(takeovers)), "two leaders had the same token"
        return f"{last} events, {len(takeovers)} leaders, once and in order; {self.figures()}"

    def figures(self) -> str:
        """Return how long the blows took so far."""
        return "; ".join(
            f"{kind} {len(found)}: median {statistics.median(found):.2f} s, largest {max(found):.2f} s"
            for kind, found in self.takeovers.items()
        )

    def close(self) -> None:
        self._client.close()


@asynccontextmanager
async def kills(
    folder: Path, *, ttl: float = 3.0, rate: int = 500, count: int = 3, seed: int = 1
) -> AsyncIterator[Kills]:
    class Ledger(LedgerHub):
        pass

    redis = RedisProcess(folder, port=free_port()).start()
    try:
        async with HubServer({"/ledger": Ledger}) as server, AsyncExitStack() as entered:
            run = Kills(server, Ledger, redis, ttl, seed)
            entered.callback(run.close)
            await run.start(count, rate, entered)
            yield run
    finally:
        redis.kill()


async def run(options: argparse.Namespace) -> None:
    kinds = ["kill", "stop", "cut_redis", "cut_hub"]
    blows = [kind for kind in kinds for _ in range(getattr(options, kind))]
    random.Random(options.seed).shuffle(blows)
    with tempfile.TemporaryDirectory() as folder:
        async with kills(Path(folder), ttl=options.ttl, rate=options.rate, seed=options.seed) as run:
            for done, kind in enumerate(blows, 1):
                await run.blow(kind)
                if done % 10 == 0:
                    sys.stdout.write(f"{done} of {len(blows)}; {run.figures()}\n")
                    sys.stdout.flush()
            await run.finish()
            sys.stdout.write(run.check() + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for kind in ("kill", "stop", "cut-redis", "cut-hub"):
        parser.add_argument(f"--{kind}", type=int, default=0)
    parser.add_argument("--ttl", type=float, default=3.0)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
