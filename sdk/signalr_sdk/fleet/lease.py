"""`Lease`: at most one holder of a name, with a token that grows, kept in Redis.

Theory of operation:

- The lease is a key of Redis that expires `ttl` after the last renewal. The holder counts from *before* a renewal was
  sent, on a clock that never goes back, so that the holder gives up earlier than Redis does.
- After 2/3 of `ttl` without a renewal, the task in the body is cancelled, and has the last third to end.
- A process that was paused notices too late that its lease is over. So whatever the holder writes to must compare
  tokens: the token of each holder is larger than all tokens before.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from .._guard.copying import Uncopied
from .._guard.loops import running_loop
from .._guard.tasks import spawn
from ..delivery.arguments import checked_seconds
from ..errors import LeaseLostError, StateError, StoreError
from .redis_client import RedisClient, Script, tagged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .redis_client import Argument, RedisLike

T = TypeVar("T")

_log = logging.getLogger("signalr_sdk.fleet")

_ACQUIRE: Final = Script.of("lease_acquire")
_RENEW: Final = Script.of("lease_renew")
_RELEASE: Final = Script.of("lease_release")
# A shorter time to live leaves no time for the network.
_SHORTEST_TTL: Final = 0.1


class Lease(Uncopied):
    """At most one holder of a name, among all processes that use the same Redis.

    `async with lease as token:` waits for the lease, and renews the lease while the body runs. If the lease is lost,
    the body is cancelled, and `LeaseLostError` is raised. A lease is lost if no renewal has succeeded for 2/3 of `ttl`,
    or if another process has taken the lease. The body then has 1/3 of `ttl` to end; a body that ends later is an ERROR
    in the log. Give a hub that the body uses a `Timeouts.close` of less than that.

    A lease alone is no guarantee: a process may be paused, and a replica of Redis that takes over may not know the
    lease. The guarantee is the token, which grows with each holder, even if Redis has lost its memory: whatever the
    holder writes to must refuse a token that is smaller than one that it has seen.

    Args:
        redis: the URL of Redis (`redis://`, `rediss://`, `unix://`), or a client of redis-py for asyncio, which is
            never closed.
        name: the name. The keys in Redis are `{name}:lease` and `{name}:fence`, the last token.
        ttl: seconds for which the lease lasts without a renewal.

    Raises:
        ValueError: an argument is invalid.

    Example:
        ```python
        lease = Lease("redis://localhost", "report")
        async with lease as token:
            await connection.execute("UPDATE report SET text = $1, token = $2 WHERE token <= $2", text, token)
        ```
    """

    def __init__(self, redis: str | RedisLike, name: str, *, ttl: float = 3.0) -> None:
        self._name = name
        self._ttl = checked_seconds("ttl", ttl)
        if ttl < _SHORTEST_TTL:
            raise ValueError(f"ttl must be at least {_SHORTEST_TTL:g} seconds, not {ttl!r}")
        self._redis = redis
        _ = self._new_client()  # refuses an invalid URL
        self._lease, self._fence = tagged(name, "lease"), tagged(name, "fence")
        self._is_entered = False
        self._held: _Held | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        # No later token of this object is smaller, even if a replica of Redis with another clock has taken over.
        self._last = 0

    def __repr__(self) -> str:
        return f"<Lease {self._name!r} {'waiting' if self.token is None else f'token {self.token}'}>"

    @property
    def token(self) -> int | None:
        """The token, while the lease is held; `None` otherwise."""
        held = self._held
        return None if held is None or held.lost is not None else held.token

    async def run(self, work: Callable[[int], Awaitable[T]]) -> T:
        """Call `work(token)` whenever the lease is held, again after each loss, and return its result.

        Args:
            work: an async function. A `LeaseLostError` from it, alone or in an exception group, counts as a loss.

        Raises:
            BaseException: what `work` raises.
        """
        while True:
            begun = running_loop().time()
            try:
                async with self as token:
                    return await work(token)
            except LeaseLostError as error:
                _log.warning("the lease '%s' is lost: %s", self._name, error)
            except BaseExceptionGroup as group:
                if group.split(LeaseLostError)[1] is not None:
                    raise
                _log.warning("the lease '%s' is lost", self._name)
            # A loss that repeats at once must not load Redis.
            await asyncio.sleep(begun + self._ttl / 6 - running_loop().time())

    def _new_client(self) -> RedisClient:
        return RedisClient(self._redis, timeout=self._ttl / 3)

    # Entering

    async def __aenter__(self) -> int:
        """Wait for the lease; return the token. While Redis cannot be reached, a warning is logged."""
        task = asyncio.current_task()
        if self._is_entered or task is None:
            raise StateError("this lease is entered already: make another Lease for each task")
        self._is_entered = True
        holder, client = uuid.uuid4().hex, self._new_client()
        try:
            token, sent = await self._acquire(client, holder)
        except BaseException:
            # The request may have been granted although nobody waits for the answer any more.
            await self._leave(client, holder)
            raise
        _log.info("the lease '%s' is held, token %d", self._name, token)
        self._last = token
        self._held = held = _Held(client, holder, token, sent, task, task.cancelling())
        held.keeper = spawn(self._keep(held), "lease")
        return token

    async def _acquire(self, client: RedisClient, holder: str) -> tuple[int, float]:
        clock = running_loop().time
        told: set[str] = set()
        pause = self._ttl / 6
        while True:
            sent = clock()
            wait = pause
            try:
                args: list[Argument] = [holder, int(self._ttl * 1000), self._last]
                granted, value = await client.run(_ACQUIRE, [self._lease, self._fence], args)
            except StoreError as error:
                # The errors of a cluster name now one server and now another.
                if str(error) not in told:
                    told.add(str(error))
                    _log.warning("the lease '%s' cannot be taken: %s", self._name, error)
            else:
                # A late answer leaves too little of the lease.
                if granted and clock() - sent < self._ttl / 3:
                    return int(value), sent
                if not granted and value > 0:
                    wait = min(pause, value / 1000 + 0.001)
            await asyncio.sleep(wait)

    # Holding

    async def _keep(self, held: _Held) -> None:
        """Renew the lease until it is lost."""
        clock = running_loop().time
        ttl = self._ttl
        value = f"{held.token}:{held.holder}"
        due = held.sent + ttl / 3
        while True:
            await asyncio.sleep(due - clock())
            begun = clock()
            left = held.sent + ttl * 2 / 3 - begun
            if left <= 0:
                break
            try:
                renewed = await held.client.run(_RENEW, [self._lease], [value, int(ttl * 1000)], timeout=left)
            except StoreError as error:
                held.error = error
                due = clock() + ttl / 30
                continue
            if not renewed:
                self._lose(held, LeaseLostError(f"the lease '{self._name}' is not this holder's any more"))
                return await self._watch(held)
            held.sent, held.error = begun, None
            due = begun + ttl / 3
        lost = LeaseLostError(f"the lease '{self._name}' could not be renewed for {clock() - held.sent:.1f} s")
        lost.__cause__ = held.error
        self._lose(held, lost)
        return await self._watch(held)

    def _lose(self, held: _Held, lost: LeaseLostError) -> None:
        held.lost, held.is_cancelled = lost, True
        _ = held.task.cancel()

    async def _watch(self, held: _Held) -> None:
        """After a loss: report a body that has not ended when the lease has expired in Redis."""
        await asyncio.sleep(held.sent + self._ttl - running_loop().time())
        held.is_reported = True
        _log.error("the body of the lease '%s' still runs, although the lease is over", self._name)

    # Leaving

    async def __aexit__(self, kind: type[BaseException] | None, error: object, _traceback: object) -> None:
        held, self._held = self._held, None
        assert held is not None
        assert held.keeper is not None
        held.keeper.cancel()
        self._check_in_time(held)
        is_ours = await self._take_back_cancellation(held, is_over=kind is None)
        await self._leave(held.client, held.holder)
        if held.lost is not None and (kind is None or (is_ours and issubclass(kind, asyncio.CancelledError))):
            raise held.lost from held.lost.__cause__

    def _check_in_time(self, held: _Held) -> None:
        """Note a loss that nobody could notice, because the body has blocked the event loop; report a late body."""
        passed = running_loop().time() - held.sent
        if held.lost is None and passed >= self._ttl * 2 / 3:
            held.lost = LeaseLostError(f"the lease '{self._name}' could not be renewed for {passed:.1f} s")
        if passed >= self._ttl and not held.is_reported:
            _log.error("the body of the lease '%s' ended %.1f s too late", self._name, passed - self._ttl)

    async def _take_back_cancellation(self, held: _Held, *, is_over: bool) -> bool:
        """Undo the cancellation of the body after a loss; return whether nobody else has cancelled the body.

        Args:
            held: the time of holding that ends.
            is_over: whether the body has ended without an exception.
        """
        if not held.is_cancelled:
            return False
        task = held.task
        is_ours = task.uncancel() <= held.cancelling
        if is_ours and is_over:
            # The body has ended before its cancellation. Up to Python 3.12, the cancellation still comes.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            if task.cancelling() > held.cancelling:
                raise asyncio.CancelledError
        return is_ours

    async def _leave(self, client: RedisClient, holder: str) -> None:
        """Give the lease back, for a limited time. The lease expires in any case."""
        self._is_entered = False
        # A task, since a cancellation must not keep the others waiting for the end of the lease.
        task = spawn(self._release(client, holder), "end of a lease", self._leaving)
        _ = await asyncio.wait({task}, timeout=self._ttl / 4)

    async def _release(self, client: RedisClient, holder: str) -> None:
        try:
            # A request that was given up may still be granted.
            await client.settle(self._ttl / 8)
            await client.run(_RELEASE, [self._lease], [holder], timeout=self._ttl / 8)
        except StoreError as error:
            _log.debug("the lease '%s' was not given back, and expires: %s", self._name, error)
        finally:
            await client.close()


@attrs.define(eq=False)
class _Held:
    """One time of holding a lease.

    Attributes:
        client: what talks to Redis.
        holder: the id of the holder in Redis.
        token: the token.
        sent: when the last request that succeeded was sent.
        task: the task in the body.
        cancelling: how many cancellations of the task were under way at the beginning.
        keeper: the task that renews the lease.
        error: the error of the last renewal.
        lost: why the lease is lost.
        is_cancelled: whether the task was cancelled because of that.
        is_reported: whether a body that still ran after the end of the lease was reported.
    """

    client: RedisClient
    holder: str
    token: int
    sent: float
    task: asyncio.Task[object]
    cancelling: int
    keeper: asyncio.Task[None] | None = None
    error: StoreError | None = None
    lost: LeaseLostError | None = None
    is_cancelled: bool = False
    is_reported: bool = False
