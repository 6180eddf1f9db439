"""Many machines, one connection: leases, the events of a hub in a stream, and a shared outbox, all in Redis.

This module needs the extra `redis` (redis-py 5.0.1 or later), and Redis or Valkey 6.2 or later.
"""

from __future__ import annotations

from .lease import Lease
from .redis_store import RedisStore
from .relay import Relay

__all__ = ["Lease", "RedisStore", "Relay"]
