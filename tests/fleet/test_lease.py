"""`Lease`: one holder at a time, tokens that grow, and a body that ends when the lease is lost."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import LeaseLostError, StateError
from signalr_sdk.fleet import Lease

if TYPE_CHECKING:
    import logging

    from tests.fleet.redis_process import RedisProcess


# A test that fails on a busy machine shows nothing.
pytestmark = pytest.mark.timeout(60)


async def hold(lease: Lease, entered: asyncio.Event | None = None) -> None:
    async with lease:
        if entered is not None:
            entered.set()
        await asyncio.Event().wait()


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_lease_is_held_and_handed_over(redis_process: RedisProcess, redis: Any) -> None:
    one, two = (Lease(redis_process.url, "job", ttl=9) for _ in range(2))
    entered = asyncio.Event()
    async with one as token:
        assert one.token == token
        waiting = asyncio.create_task(hold(two, entered))
        assert await asyncio.wait({waiting}, timeout=0.5) == (set(), {waiting})
        assert not entered.is_set()
        assert (redis.get("{job}:lease") or "").startswith(f"{token}:")
        left = time.monotonic()
    assert one.token is None
    await entered.wait()
    assert time.monotonic() - left < 6
    assert two.token is not None
    assert two.token > token
    assert redis.get("{job}:fence") == str(two.token)
    await cancelled(waiting)
    assert redis.get("{job}:lease") is None


async def test_a_lease_is_renewed(redis_process: RedisProcess) -> None:
    lease = Lease(redis_process.url, "job")
    async with lease as token:
        await asyncio.sleep(3.5)
        assert lease.token == token


async def test_a_lease_that_another_has_is_lost(redis_process: RedisProcess, redis: Any) -> None:
    lease = Lease(redis_process.url, "job")
    entered = asyncio.Event()
    task = asyncio.create_task(hold(lease, entered))
    await entered.wait()
    redis.set("{job}:lease", "1:another")
    with pytest.raises(LeaseLostError, match="not this holder's"):
        await task
    assert lease.token is None
    assert redis.get("{job}:lease") == "1:another"


async def test_a_silent_redis_costs_the_lease_after_two_thirds(redis_process: RedisProcess) -> None:
    lease = Lease(redis_process.url, "job")
    entered = asyncio.Event()
    task = asyncio.create_task(hold(lease, entered))
    await entered.wait()
    redis_process.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(LeaseLostError, match="could not be renewed"):
            await task
        assert lease.token is None
        assert time.monotonic() - begun > 0.3
    finally:
        redis_process.signal(signal.SIGCONT)


async def test_a_short_outage_does_not_cost_the_lease(redis_process: RedisProcess) -> None:
    lease = Lease(redis_process.url, "job", ttl=6)
    async with lease as token:
        await asyncio.sleep(1.7)
        redis_process.signal(signal.SIGSTOP)
        await asyncio.sleep(0.8)  # the renewal comes meanwhile
        redis_process.signal(signal.SIGCONT)
        await asyncio.sleep(2)
        assert lease.token == token


async def test_a_body_that_outlives_the_lease_is_an_error_in_the_log(
    redis_process: RedisProcess, redis: Any, expected_errors: list[logging.LogRecord]
) -> None:
    async def work() -> None:
        async with Lease(redis_process.url, "job", ttl=0.3):
            redis.delete("{job}:lease")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.6)

    with pytest.raises(LeaseLostError):
        await work()
    assert ["still runs" in each.getMessage() for each in expected_errors] == [True]


async def test_a_cancellation_stays_one(redis_process: RedisProcess, redis: Any) -> None:
    entered = asyncio.Event()
    task = asyncio.create_task(hold(Lease(redis_process.url, "job"), entered))
    await entered.wait()
    await cancelled(task)
    assert redis.get("{job}:lease") is None


async def test_a_cancellation_during_a_loss_stays_one(redis_process: RedisProcess, redis: Any) -> None:
    losing = asyncio.Event()

    async def work() -> None:
        async with Lease(redis_process.url, "job"):
            redis.delete("{job}:lease")
            try:
                await asyncio.Event().wait()
            finally:
                losing.set()
                await asyncio.sleep(0.05)

    task = asyncio.create_task(work())
    await losing.wait()
    await cancelled(task)


async def test_a_waiting_lease_can_be_cancelled(redis_process: RedisProcess, redis: Any) -> None:
    entered = asyncio.Event()
    holding = asyncio.create_task(hold(Lease(redis_process.url, "job"), entered))
    await entered.wait()
    waiting = asyncio.create_task(hold(Lease(redis_process.url, "job")))
    await asyncio.sleep(0.1)
    await cancelled(waiting)
    await cancelled(holding)
    assert redis.get("{job}:lease") is None


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.003, 0.01, 0.1])
async def test_a_lease_can_be_cancelled_while_redis_is_away(redis_process: RedisProcess, pause: float) -> None:
    redis_process.signal(signal.SIGSTOP)
    try:
        waiting = asyncio.create_task(hold(Lease(redis_process.url, "job", ttl=1)))
        await asyncio.sleep(pause)
        begun = time.monotonic()
        await cancelled(waiting)
        assert time.monotonic() - begun < 3
    finally:
        redis_process.signal(signal.SIGCONT)


async def test_a_body_that_ends_at_the_loss_loses_no_cancellation(redis_process: RedisProcess, redis: Any) -> None:
    lease = Lease(redis_process.url, "job")

    async def work() -> None:
        async with lease:
            redis.delete("{job}:lease")
            while lease.token is not None:  # noqa: ASYNC110 - the body must not wait when the lease is lost
                await asyncio.sleep(0)

    with pytest.raises(LeaseLostError):
        await work()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_body_that_blocks_the_loop_has_lost_the_lease(redis_process: RedisProcess) -> None:
    lease = Lease(redis_process.url, "job")

    async def work() -> None:
        async with lease:
            assert lease._held is not None
            lease._held.sent -= 2.2  # as if the body had blocked the event loop for so long

    with pytest.raises(LeaseLostError):
        await work()


async def test_other_errors_of_the_body_pass(redis_process: RedisProcess) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Lease(redis_process.url, "job"):
            raise ZeroDivisionError


async def test_work_runs_again_after_each_loss(redis_process: RedisProcess, redis: Any) -> None:
    lease = Lease(redis_process.url, "job")
    tokens: list[int] = []

    async def work(token: int) -> str:
        tokens.append(token)
        if len(tokens) == 1:
            redis.delete("{job}:lease")
            await asyncio.Event().wait()
        if len(tokens) == 2:
            raise LeaseLostError("the sink has refused the token")
        if len(tokens) == 3:
            raise ExceptionGroup("tasks", [LeaseLostError("in a group")])
        return "done"

    assert await lease.run(work) == "done"
    assert len(tokens) == 4
    assert tokens == sorted(set(tokens))


async def test_work_that_fails_ends_the_run(redis_process: RedisProcess) -> None:
    async def work(_token: int) -> None:
        raise ExceptionGroup("tasks", [LeaseLostError("lost"), ZeroDivisionError()])

    with pytest.raises(ExceptionGroup):
        await Lease(redis_process.url, "job").run(work)


async def test_tokens_grow_when_redis_has_lost_its_memory(redis_process: RedisProcess, redis: Any) -> None:
    lease = Lease(redis_process.url, "job")
    async with lease as first:
        pass
    redis_process.kill()
    redis_process.start()
    async with Lease(redis_process.url, "job") as second:
        assert second > first
    redis.set("{job}:fence", second + 10**9)  # the clock of another server was ahead
    async with lease as third:
        assert third == second + 10**9 + 1
    redis.flushall()
    async with lease as fourth:  # this object remembers its last token
        assert fourth == third + 1


async def test_a_lease_that_waits_outlives_an_outage_of_redis(
    redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    redis_process.kill()
    entered = asyncio.Event()
    task = asyncio.create_task(hold(Lease(redis_process.url, "job"), entered))
    assert await asyncio.wait({task}, timeout=1.5) == (set(), {task})
    assert len([each for each in caplog.records if "cannot be taken" in each.message]) >= 1
    redis_process.start()
    await entered.wait()
    await cancelled(task)


async def test_a_full_redis_gives_leases(redis_process: RedisProcess, redis: Any) -> None:
    redis.config_set("maxmemory", "1")
    async with Lease(redis_process.url, "job"):
        pass


async def test_a_lease_is_entered_once_at_a_time(redis_process: RedisProcess) -> None:
    lease = Lease(redis_process.url, "job")
    async with lease:
        with pytest.raises(StateError):
            await lease.__aenter__()


async def test_a_client_of_the_user_is_not_closed(redis_process: RedisProcess) -> None:
    import redis.asyncio as redis_py

    client = redis_py.Redis.from_url(redis_process.url, decode_responses=True)
    async with Lease(client, "job"):
        pass
    assert await client.ping()
    await client.aclose()


@pytest.mark.parametrize("arguments", [{"ttl": 0}, {"ttl": float("nan")}, {"redis": "http://localhost"}])
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Lease(**{"redis": "redis://localhost", "name": "job", **arguments})


async def test_each_error_of_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Cluster:
        """A cluster that is away."""

        def __init__(self) -> None:
            self.asked = 0
            self.asked_often = asyncio.Event()

        async def execute_command(self, *_args: Any, **_options: Any) -> Any:
            self.asked += 1
            if self.asked == 7:
                self.asked_often.set()
            raise ConnectionError(f"cannot connect to server {self.asked % 3}")

    cluster = Cluster()
    waiting = asyncio.create_task(hold(Lease(cluster, "job", ttl=0.3)))
    await cluster.asked_often.wait()
    await cancelled(waiting)
    assert len([each for each in caplog.records if "cannot be taken" in each.message]) == 3


def test_names_with_a_hash_tag_keep_it() -> None:
    from signalr_sdk.fleet.redis_client import tagged

    assert tagged("job", "lease") == "{job}:lease"
    assert tagged("{app}:job", "lease") == "{app}:job:lease"
    for name in ("", "{}job", "job}", "{job"):
        with pytest.raises(ValueError, match="brace"):
            tagged(name, "lease")
