"""`RedisClient`: scripts that run in Redis. Each wait can be cancelled, and has a time limit.

redis-py swallows a cancellation that comes while it connects. So each command runs in a task of its own, and the caller
waits for that task. Exceptions of redis-py become `StoreError` here.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import attrs

from .._core.redaction import redact
from .._guard.foreign import error_of
from .._guard.tasks import retrieve, spawn
from ..errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Sequence

try:
    # redis-py is optional: it belongs to the extra `redis`.
    import redis.asyncio as redis_py
    from redis import exceptions as redis_errors
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as _missing:
    raise ImportError("signalr_sdk.fleet needs an extra: pip install 'signalr-sdk[redis]'") from _missing

Argument: TypeAlias = bytes | str | int | float

_FOLDER: Final = Path(__file__).parent / "scripts"
# The longest error text of Redis that is shown, in characters.
_ERROR_TEXT: Final = 300
# After the end of the program's use, commands that were given up may need this number of seconds to end.
_LAST_CHANCE: Final = 1.0


class RedisLike(Protocol):
    """What the package needs of a `redis.asyncio.Redis` or a `redis.asyncio.RedisCluster`."""

    def execute_command(self, *args: Any, **options: Any) -> Awaitable[Any]:
        """Send a command and return the reply."""
        ...


@attrs.frozen
class Script:
    """A script that runs in Redis, without interruption.

    Attributes:
        text: the source.
        digest: what Redis calls the script.
    """

    text: str = attrs.field(repr=False)
    digest: str

    @classmethod
    def of(cls, name: str) -> Script:
        """Read the script with this name."""
        text = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def tagged(name: str, part: str) -> str:
    """Return the key `{name}:part`, which lies in the same hash slot of a Redis Cluster as the key `name`.

    Raises:
        ValueError: the name has a brace, but no hash tag.
    """
    begin = name.find("{")
    if begin >= 0 and name.find("}", begin + 1) > begin + 1:
        return f"{name}:{part}"
    if not name or "{" in name or "}" in name:
        raise ValueError(f"the name must not be empty, and braces in it must be a hash tag, not {name!r}")
    return f"{{{name}}}:{part}"


class RedisClient:
    """Runs scripts in Redis. Belongs to one event loop, from the first `run` to `close`.

    Args:
        redis: a URL, or a client of the user, which is never closed here.
        timeout: seconds for each command, without another limit.

    Raises:
        ValueError: the URL is invalid.
    """

    def __init__(self, redis: str | RedisLike, *, timeout: float) -> None:
        self._redis = redis
        self._timeout = timeout
        self._own: redis_py.Redis | None = None
        self._running: set[asyncio.Task[Any]] = set()
        if isinstance(redis, str) and not redis.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("the URL of Redis must begin with redis://, rediss:// or unix://")

    def _client(self) -> Any:
        if not isinstance(self._redis, str):
            return self._redis
        if self._own is None:
            # A command that redis-py repeats in silence may come later than a lease lasts, and twice.
            self._own = redis_py.Redis.from_url(
                self._redis,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
            )
        return self._own

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, timeout: float | None = None
    ) -> Any:
        """Run a script and return its reply, where texts are bytes. A script that was given up may still run.

        Args:
            script: the script.
            keys: the keys that the script uses.
            args: its arguments.
            timeout: seconds; by default the limit of this client.

        Raises:
            StoreError: Redis cannot be reached, does not answer in time, is full, or refuses the command.
        """
        return await self._wait(self._evaluate(script, [*keys], [*args]), timeout)

    async def memory(self) -> list[dict[str, Any]]:
        """Return what Redis says about its memory, for each server.

        Raises:
            StoreError: as for `run`.
        """
        reply: dict[str, Any] = await self._wait(self._info(), None)
        nodes = [each for each in reply.values() if isinstance(each, dict)]
        return nodes or [reply]

    async def _info(self) -> dict[str, Any]:
        reply: dict[str, Any] = await self._client().execute_command("INFO", "memory")
        return reply

    async def _wait(self, work: Coroutine[Any, Any, Any], timeout: float | None) -> Any:
        limit = self._timeout if timeout is None else timeout
        task = spawn(work, "redis command", self._running)
        # The caller may be cancelled, also in the moment in which the command ends.
        task.add_done_callback(retrieve)
        try:
            _ = await asyncio.wait({task}, timeout=max(limit, 0.0))
        finally:
            task.cancel()
        if not task.done() or task.cancelled():
            raise StoreError(f"no answer from Redis within {limit:.1f} s")
        if (raised := task.exception()) is not None:
            raise _store_error(raised) from raised
        return task.result()

    async def _evaluate(self, script: Script, keys: list[str], args: list[Argument]) -> Any:
        client = self._client()
        # A client of the user may decode replies, but bodies of entries are no texts.
        raw = {"NEVER_DECODE": True}
        try:
            return await client.execute_command("EVALSHA", script.digest, len(keys), *keys, *args, **raw)
        except redis_errors.NoScriptError:
            # Redis has forgotten the script, or never had it. EVAL loads it.
            return await client.execute_command("EVAL", script.text, len(keys), *keys, *args, **raw)
        except redis_errors.ReadOnlyError:
            # This server is a replica now. A new connection may lead to its new master.
            if self._own is not None:
                await self._own.connection_pool.disconnect(inuse_connections=False)
            raise

    async def settle(self, timeout: float) -> None:
        """Wait until the commands that were given up have ended, for a limited time."""
        if self._running:
            _ = await asyncio.wait(self._running, timeout=timeout)

    async def close(self) -> None:
        """End all commands, and close the client if it was made here."""
        for task in [*self._running]:
            task.cancel()
        await self.settle(_LAST_CHANCE)
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()


def _store_error(raised: BaseException) -> StoreError:
    error = error_of(raised, "redis-py")
    text = redact(str(error), _ERROR_TEXT) or type(error).__name__
    is_full = isinstance(error, redis_errors.ResponseError) and ("OOM " in text or "command not allowed when" in text)
    return StoreError(f"Redis: {text}", "full" if is_full else "io")
