"""What an outbox and a feed need of a store: `OutboxStore` and `CursorStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from .entry import OutboxLimits, OutboxStats, Position, StoredEntry

Overflow: TypeAlias = Literal["refuse", "drop_oldest"]
Ending: TypeAlias = Literal["delivered", "expired"]


@attrs.frozen
class Page:
    """What `OutboxStore.read` returns.

    Attributes:
        entries: waiting entries, in the order of their positions.
        position: every waiting entry up to this position is in `entries`, or was left out by `skip` or `key`.
        revision: changes each time entries come back (`retry`) or are dropped. Whoever has read ahead then reads again.
        more: whether there may be further entries behind `position`.
    """

    entries: list[StoredEntry]
    position: int
    revision: int
    more: bool


class OutboxStore(Protocol):
    """Keeps the entries of an outbox. `SqliteStore` is one.

    All methods are called on one event loop. They raise `StoreError` if the store fails, and `LeaseLostError` if
    another process has taken over the right to deliver.
    """

    async def open(self) -> None:
        """Open the store. Each call has a matching `close`."""
        ...

    async def close(self) -> None:
        """Close the store, when the last user has closed it."""
        ...

    def add(self, entry: StoredEntry, body: bytes, limits: OutboxLimits, overflow: Overflow) -> Awaitable[bool]:
        """Add an entry. The entry is durable when the method returns.

        Calls at the same time are added in the order of the calls.

        Returns:
            Whether the entry was added: `False` if an equal entry with this id, given by the user, is there or was
            delivered not long ago.

        Raises:
            OutboxFullError: the entry would exceed the limits, and `overflow` is `"refuse"`.
            ValueError: another call was put with the same id.
        """
        ...

    async def read(
        self,
        after: int,
        limit: int,
        *,
        skip: Collection[str | None] = (),
        key: str | None = None,
        until: int | None = None,
    ) -> Page:
        """Return waiting entries behind a position.

        Args:
            after: the position.
            limit: the most entries to return.
            skip: keys whose entries are left out.
            key: with `until`, only entries with this key are returned.
            until: with a position, only entries of the one `key` up to this position are returned.
        """
        ...

    async def done(self, entries: Sequence[StoredEntry], how: Ending) -> None:
        """Remove entries. Need not be durable at once: after a power cut, entries may come again."""
        ...

    async def update(self, entry: StoredEntry) -> None:
        """Store `attempts`, `elapsed`, `delay`, `due`, `error` and `dead` of an entry."""
        ...

    async def entries(
        self, *, dead: bool | None = None, limit: int = 100, after: int | None = None
    ) -> list[StoredEntry]:
        """Return entries, oldest first: the waiting ones, the dead ones, or both (`None`)."""
        ...

    async def retry(self, ids: Collection[str]) -> int:
        """Let dead entries wait again at their old place, without attempts; all dead ones if `ids` is empty."""
        ...

    async def drop(self, ids: Collection[str], all_dead: bool) -> int:
        """Remove entries, and with `all_dead` all dead ones. Return how many were removed."""
        ...

    async def stats(self) -> OutboxStats:
        """Return the figures."""
        ...

    async def changed(self, timeout: float) -> None:
        """Return when there may be something new, at the latest after `timeout` seconds."""
        ...

    def claim(self) -> AbstractAsyncContextManager[None]:
        """Return a context manager that waits for the right to deliver, and gives it back at the end."""
        ...


class CursorStore(Protocol):
    """Keeps the positions of feeds. `SqliteStore` is one."""

    async def load(self, name: str) -> Position | None:
        """Return the saved position of the feed with this name; `None` if there is none."""
        ...

    async def save(self, name: str, position: Position) -> None:
        """Save the position of the feed with this name. The position is durable when the method returns."""
        ...
