"""Redis, as the command line names it: `redis://HOST/DB`, for an outbox with `#NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exit_status import WRONG_USAGE, fail

if TYPE_CHECKING:
    from types import ModuleType

    from ..fleet import RedisStore


def is_redis(text: str) -> bool:
    """Return whether a text is the URL of a Redis."""
    return text.startswith(("redis://", "rediss://", "unix://"))


def fleet() -> ModuleType:
    """Return the module `signalr_sdk.fleet`; end the command if the extra is missing."""
    try:
        # redis-py belongs to an extra.
        from .. import fleet
    except ImportError as error:
        fail(WRONG_USAGE, str(error))
    return fleet


def redis_store(text: str) -> RedisStore:
    """Return the store of an outbox from a text like `redis://localhost/0#meters`; end the command if it is none."""
    url, _, name = text.partition("#")
    if not is_redis(url):
        fail(WRONG_USAGE, "an outbox is a file, or in Redis: redis://HOST/DB#NAME")
    if not name:
        fail(WRONG_USAGE, "the URL of Redis must end with the outbox's name: redis://HOST/DB#NAME")
    store: RedisStore = fleet().RedisStore(url, name)
    return store
