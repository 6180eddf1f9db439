"""`RedisStore`: an outbox that many machines share, in Redis.

Theory of operation:

- Entries have positions, which rise with each entry. `waiting` and `dead` are sorted sets of positions; `entries` has
  the value of each, and `states` what failures have changed. `keys` has the waiting positions of each key, in order.
- Each write is a script. Writes at the same time go out together, on one connection, in the order of the calls.
- One machine delivers: the holder of a lease. Its token is written to `sink`, and its writes are refused when a later
  deliverer has written a larger one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from .._guard.copying import Uncopied
from .._guard.futures import resolve
from .._guard.loops import check_loop, running_loop
from ..delivery.counted_warnings import CountedWarning
from ..delivery.entry import OutboxLimits, OutboxStats, StoredEntry
from ..delivery.stores import Page
from ..errors import LeaseLostError, OutboxFullError, StateError, StoreError
from .gathered_writes import GatheredWrites
from .lease import Lease
from .redis_client import RedisClient, Script, tagged
from .stored_values import content_digest, decode_entry, encode_entry, encode_state, key_digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Collection, Sequence

    from ..delivery.stores import Ending, Overflow
    from .redis_client import Argument, RedisLike

_log = logging.getLogger("signalr_sdk.fleet")

_ADD: Final = Script.of("store_add")
_CHANGE: Final = Script.of("store_change")
_CLAIM: Final = Script.of("store_claim")
_READ: Final = Script.of("store_read")
_STATS: Final = Script.of("store_stats")
# Seconds for each script.
_TIMEOUT: Final = 5.0
# One read looks at so many entries at most, and returns so many bytes, so that Redis is not held up.
_SCANNED: Final = 2000
_READ_BYTES: Final = 2 * 1024 * 1024
# Dead entries that one script handles.
_AT_ONCE: Final = 200
# Reads at the same time, each on a connection of its own.
_READERS: Final = 4


@attrs.frozen
class _Addition:
    """An entry to add, with the arguments of the script."""

    remembered: str
    args: Sequence[Argument]


@attrs.frozen
class _Change:
    """A change of an entry, with the arguments of the script."""

    token: str
    kind: str
    which: str | int = ""
    value: bytes | int = b""
    remembered: str = ""


class RedisStore(Uncopied):
    """Keeps the entries of an outbox in Redis, for many machines: all put, one delivers.

    The entries are as durable as Redis is: switch `appendonly` on. `maxmemory-policy` must be `noeviction`, or Redis
    might drop entries; `open` looks. After a `StoreError`, a `put` may have been kept: put again with the same `id=`.
    `Outbox.retry` puts dead entries at the end.

    One machine delivers, the holder of a lease. If that machine dies, another one takes over within `ttl` and one
    second. An entry that was under way then may come twice, with the same id.

    Args:
        redis: the URL of Redis, or a client of redis-py for asyncio, which is never closed, and needs room for 8
            connections.
        name: the name of the outbox. All keys in Redis begin with `{name}:`.
        ttl: seconds for which the right to deliver lasts without a renewal.

    Raises:
        ValueError: an argument is invalid.

    Example:
        ```python
        async with Outbox(RedisStore("redis://localhost", "meters"), hub) as outbox:
            await outbox.put("Store", ID, 20.5)
        ```
    """

    def __init__(self, redis: str | RedisLike, name: str, *, ttl: float = 3.0) -> None:
        self._redis, self._name, self._ttl = redis, name, ttl
        _ = Lease(redis, name, ttl=ttl)  # checks the arguments
        parts = ("totals", "waiting", "dead", "entries", "states", "ids", "keys", "sink", "lease")
        self._keys = {part: tagged(name, part) for part in parts}
        self._users = 0
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None
        self._client: RedisClient | None = None
        self._token = "0"
        self._waiters: set[asyncio.Future[None]] = set()
        self._dropped = CountedWarning("the outbox is full: %d entries were dropped to make room")

    def __repr__(self) -> str:
        return f"<RedisStore {self._name!r}>"

    # Opening and closing

    async def open(self) -> None:
        """Connect to Redis. Each call has a matching `close`.

        Raises:
            StoreError: Redis cannot be reached, or may drop entries.
            StateError: the store is open on another event loop.
        """
        if self._users and self._pid == os.getpid():
            check_loop(self._loop)
        loop = running_loop()
        if self._loop is not loop or self._pid != os.getpid():
            self._loop, self._pid, self._users, self._opening = loop, os.getpid(), 0, asyncio.Lock()
            self._waiters = set()
        assert self._opening is not None
        async with self._opening:
            if self._users == 0:
                await self._connect()
            self._users += 1

    async def _connect(self) -> None:
        client = RedisClient(self._redis, timeout=_TIMEOUT)
        try:
            for node in await client.memory():
                _check_policy(node)
        except BaseException:
            await client.close()
            raise
        self._client = client
        self._additions = GatheredWrites(self._add_all)
        self._changes = GatheredWrites(self._change_all)
        self._reading = asyncio.Semaphore(_READERS)

    async def close(self) -> None:
        """Disconnect, with the last `close` of all `open`."""
        if self._pid != os.getpid() or self._opening is None:
            return
        async with self._opening:
            self._users -= 1
            if self._users == 0 and self._client is not None:
                client, self._client = self._client, None
                self._dropped.flush()
                await self._additions.close(_TIMEOUT)
                await self._changes.close(_TIMEOUT)
                await client.close()

    def _opened(self) -> RedisClient:
        if self._client is None or self._pid != os.getpid():
            raise StateError("this store is not open here: make another one in each process")
        return self._client

    def _named(self, *parts: str) -> list[str]:
        return [self._keys[part] for part in parts]

    # Putting

    def add(self, entry: StoredEntry, body: bytes, limits: OutboxLimits, overflow: Overflow) -> Awaitable[bool]:
        """See `OutboxStore.add`."""
        _ = self._opened()
        value = encode_entry(entry, body)
        args: list[Argument] = [
            *(entry.id, key_digest(entry.key), content_digest(entry, body), value, entry.size),
            *(limits.entries, limits.bytes, int(overflow == "drop_oldest"), int(entry.remember is not None)),
        ]
        result = self._additions.put(_Addition(self._remembered(entry.id), args), len(value))
        return self._added(result, entry, limits)

    async def _added(self, result: asyncio.Future[int], entry: StoredEntry, limits: OutboxLimits) -> bool:
        match await result:
            case -1:
                raise ValueError(f"the id {entry.id!r} was put with another method, key or arguments")
            case -2:
                raise _full(limits.entries, "entries")
            case -3:
                raise _full(limits.bytes, "bytes")
            case known:
                self._dropped.add(max(known - 1, 0))
                self._notify()
                return known > 0

    def _remembered(self, id_: str) -> str:
        return tagged(self._name, f"id:{id_}")

    async def _add_all(self, additions: Sequence[_Addition]) -> Sequence[int]:
        keys = self._named("totals", "waiting", "dead", "entries", "states", "ids", "keys")
        args = [argument for addition in additions for argument in addition.args]
        results: Sequence[int] = await self._opened().run(_ADD, keys + [each.remembered for each in additions], args)
        return results

    # Changing

    async def done(self, entries: Sequence[StoredEntry], how: Ending) -> None:
        """See `OutboxStore.done`."""
        changes = []
        for entry in entries:
            remember = int((entry.remember or 0) * 1000)
            changes.append(_Change(self._token, how, entry.position, remember, self._remembered(entry.id)))
        await self._change(changes)

    async def update(self, entry: StoredEntry) -> None:
        """See `OutboxStore.update`."""
        kind = "died" if entry.dead else "update"
        await self._change([_Change(self._token, kind, entry.position, encode_state(entry))])

    async def retry(self, ids: Collection[str]) -> int:
        """See `OutboxStore.retry`. The entries wait at the end."""
        return await self._change_some("retry", ids) if ids else await self._change_dead("retry_dead")

    async def drop(self, ids: Collection[str], all_dead: bool) -> int:
        """See `OutboxStore.drop`."""
        dropped = await self._change_dead("drop_dead") if all_dead else 0
        return dropped + await self._change_some("drop", ids)

    async def _change_some(self, kind: str, ids: Collection[str]) -> int:
        return sum(await self._change([_Change("", kind, id_) for id_ in dict.fromkeys(ids)]))

    async def _change_dead(self, kind: str) -> int:
        done = 0
        while (changed := sum(await self._change([_Change("", kind, "", _AT_ONCE)]))) == _AT_ONCE:
            done += changed
        return done + changed

    async def _change(self, changes: Sequence[_Change]) -> list[int]:
        _ = self._opened()
        results = [self._changes.put(change, 200) for change in changes]
        counts = await asyncio.gather(*results)
        if any(count < 0 for count in counts):
            raise LeaseLostError(f"another process delivers from the outbox '{self._name}' now")
        self._notify()
        return counts

    async def _change_all(self, changes: Sequence[_Change]) -> Sequence[int]:
        """Make changes, in order. Those of the deliverer and those of others go in scripts of their own."""
        keys = self._named("totals", "waiting", "dead", "entries", "states", "ids", "keys", "sink")
        counts: list[int] = []
        while len(counts) < len(changes):
            token = changes[len(counts)].token
            group = []
            for change in changes[len(counts) :]:
                if change.token != token:
                    break
                group.append(change)
            args: list[Argument] = [token]
            for change in group:
                args += [change.kind, change.which, change.value]
            remembered = [change.remembered or self._keys["totals"] for change in group]
            reply = await self._opened().run(_CHANGE, keys + remembered, args)
            counts += [reply] * len(group) if isinstance(reply, int) else cast("list[int]", reply)
        return counts

    # Reading

    async def read(
        self,
        after: int,
        limit: int,
        *,
        skip: Collection[str | None] = (),
        key: str | None = None,
        until: int | None = None,
    ) -> Page:
        """See `OutboxStore.read`."""
        rest: list[Argument] = ["", *(key_digest(each) for each in skip)] if until is None else [until, key_digest(key)]
        position, revision, more, found = await self._read("waiting", [after, limit, _READ_BYTES, _SCANNED, *rest])
        return Page([decode_entry(*each) for each in found], position, revision, bool(more))

    async def _read(self, which: str, args: list[Argument]) -> Any:
        client = self._opened()
        async with self._reading:
            return await client.run(_READ, self._named(which, "entries", "states", "keys", "totals"), args)

    async def entries(
        self, *, dead: bool | None = None, limit: int = 100, after: int | None = None
    ) -> list[StoredEntry]:
        """See `OutboxStore.entries`."""
        found: list[StoredEntry] = []
        for which, is_dead in (("waiting", False), ("dead", True)):
            if dead in (None, is_dead):
                found += await self._all(which, limit, 0 if after is None else after, is_dead=is_dead)
        return sorted(found, key=lambda entry: entry.position)[:limit]

    async def _all(self, which: str, limit: int, after: int, *, is_dead: bool) -> list[StoredEntry]:
        found: list[StoredEntry] = []
        more = 1
        while more and len(found) < limit:
            args: list[Argument] = [after, limit - len(found), _READ_BYTES, _SCANNED, ""]
            after, _revision, more, page = await self._read(which, args)
            found += [decode_entry(*each, dead=is_dead) for each in page]
        return found

    async def stats(self) -> OutboxStats:
        """See `OutboxStore.stats`."""
        client = self._opened()
        async with self._reading:
            keys = self._named("totals", "waiting", "entries", "lease")
            totals, oldest, delivering = await client.run(_STATS, keys, [])
        figures = {name.decode(): int(value) for name, value in zip(totals[::2], totals[1::2], strict=True)}
        counters = ("waiting", "dead", "bytes", "put", "delivered", "died", "dropped", "expired")
        return OutboxStats(
            **{name: figures.get(name, 0) for name in counters},
            oldest=max(time.time() - decode_entry(b"0", oldest, None).put_at, 0.0) if oldest else None,
            delivering=bool(delivering),
        )

    async def changed(self, timeout: float) -> None:
        """See `OutboxStore.changed`. Changes by other machines are seen when the time is over."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            _ = await asyncio.wait({waiter}, timeout=timeout)
        finally:
            self._waiters.discard(waiter)

    def _notify(self) -> None:
        for waiter in self._waiters:
            resolve(waiter, None)

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[None]:
        """See `OutboxStore.claim`. The right is a lease, with a token that each write of the deliverer has."""
        async with Lease(self._redis, self._name, ttl=self._ttl) as token:
            if not await self._opened().run(_CLAIM, self._named("sink"), [token]):
                raise LeaseLostError(f"another process delivers from the outbox '{self._name}' now")
            self._token = str(token)
            yield


def _check_policy(memory: dict[str, Any]) -> None:
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise StoreError(f"Redis may drop entries: its maxmemory-policy must be noeviction, not {policy}")


def _full(most: int, limit: str) -> OutboxFullError:
    return OutboxFullError(f"the outbox holds its limit of {most:,} {limit}; nothing was put", limit)
