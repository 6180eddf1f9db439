"""Delivery that survives: calls and events that outlive lost connections, killed processes and power cuts.

SignalR keeps nothing for whoever is away. An `Outbox` keeps calls in a file until the hub has answered. A `Feed` reads
numbered events, each once and in order.
"""

from __future__ import annotations

from .entry import ID, Entry, OutboxLimits, OutboxStats, Position, StoredEntry
from .feed import Feed
from .ids import new_id
from .outbox import Outbox
from .sqlite_store import SqliteStore
from .stores import CursorStore, OutboxStore, Page

__all__ = [
    "ID",
    "CursorStore",
    "Entry",
    "Feed",
    "Outbox",
    "OutboxLimits",
    "OutboxStats",
    "OutboxStore",
    "Page",
    "Position",
    "SqliteStore",
    "StoredEntry",
    "new_id",
]
