"""Many machines, one connection: leases in Redis, with tokens that keep a holder from the past from writing.

This module needs the extra `redis` (redis-py 5.0.1 or later), and Redis or Valkey 6.2 or later.
"""

from __future__ import annotations

from .lease import Lease

__all__ = ["Lease"]
