"""`LedgerHub`: a hub that records what clients store, fails when it is told to, and sends numbered events."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .hubs import Hub, HubException

if TYPE_CHECKING:
    import os

# A call that ends its connection waits this many seconds, so that the client loses the connection and gets no answer.
_NEVER = 1.0
# The most records in one answer.
_PAGE = 5000


@attrs.frozen
class LedgerRow:
    """One record of a `LedgerState`.

    Attributes:
        id: the id that the client gave.
        key: the key that the client gave, or `None`.
        n: the number that the client gave; -1 for `StoreValue`.
        call: the hub method; for `StoreAll`, with the number of its readings and the first id.
        connection: the connection id of the client.
    """

    id: str
    key: str | None
    n: int
    call: str
    connection: str


@attrs.define
class _Rule:
    match: str
    action: str
    times: int


class LedgerState:
    """What the hubs of one `LedgerHub` class share: the records, the rules that make calls fail, and numbered events.

    Args:
        file: a file to which the records are appended, and from which they are read at the start; `None` for none.

    Attributes:
        rows: the records, in their order.
        since_calls: how often clients have asked for the history of events.
    """

    def __init__(self, file: str | os.PathLike[str] | None = None) -> None:
        self.rows: list[LedgerRow] = []
        self.since_calls: int = 0
        self._file = None if file is None else Path(file)
        self._rules: list[_Rule] = []
        self._items: list[dict[str, Any]] = []
        self._epoch = "e1"
        self._number = 0
        if self._file is not None and self._file.exists():
            lines = self._file.read_text(encoding="utf-8").splitlines()
            self.rows += [LedgerRow(**json.loads(line)) for line in lines]

    def seen(self) -> Counter[str]:
        """Return how often each id was recorded."""
        return Counter(row.id for row in self.rows)

    def rule(self, match: str, action: str, times: int = 1) -> None:
        """Make calls fail.

        Args:
            match: an id or a key; `"*"` for all calls, `"since"` for the history of events.
            action: `"fail"` (a `HubException`), `"abort"` (the connection ends), `"late:MILLISECONDS"`; `"fail-after"`
                and `"abort-after"`, which record first. `"crash"` and `"crash-after"` end the connection here; the
                twin of this hub on ASP.NET Core kills its process.
            times: how often; below 0 for always.
        """
        self._rules.append(_Rule(match, action, times))

    def clear_rules(self) -> None:
        """Forget all rules."""
        self._rules.clear()

    def record(self, *rows: LedgerRow) -> int:
        """Add records; return how often the id of the last one was recorded."""
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(attrs.asdict(row)) + "\n" for row in rows)
        self.rows += rows
        return self.seen()[rows[-1].id]

    def take_rule(self, *names: str | None) -> str | None:
        """Take the first rule that applies to one of these names; return its action."""
        for rule in self._rules:
            if rule.times != 0 and (rule.match == "*" or rule.match in names):
                rule.times -= rule.times > 0
                return rule.action
        return None

    # Numbered events

    @property
    def number(self) -> int:
        """The number of the last event."""
        return self._number

    def next_item(self) -> dict[str, Any]:
        """Make the next event, and keep it in the history."""
        self._number += 1
        item = {"epoch": self._epoch, "n": self._number, "text": f"{self._epoch}-{self._number}"}
        self._items.append(item)
        return item

    def find(self, number: int) -> dict[str, Any]:
        """Return the event with a number."""
        return next(item for item in self._items if item["n"] == number)

    def since(self, epoch: str | None, after: int) -> list[dict[str, Any]]:
        """Return the events behind a number; the whole history to somebody who knows another epoch."""
        self.since_calls += 1
        return [item for item in self._items if item["n"] > after or epoch not in (None, item["epoch"])]

    def forget(self, below: int) -> None:
        """Forget the events below a number."""
        self._items = [item for item in self._items if item["n"] >= below]

    def new_epoch(self, epoch: str) -> None:
        """Begin a new series of numbers, with an empty history."""
        self._epoch, self._number, self._items = epoch, 0, []


class LedgerHub(Hub):
    """A hub for tests of outboxes and feeds: it records what clients store, with the ids that the clients give.

    Each subclass has a state of its own. The events `item` have one argument, a dict with `epoch`, `n` and `text`.

    Attributes:
        state: what the hub has recorded, with the rules that make calls fail.

    Example:
        ```python
        class Meters(LedgerHub):
            pass

        async with HubServer({"/meters": Meters}) as server:
            hub = HubConnection(server.url("/meters"), reconnect=Retry.forever())
            async with hub, Outbox("meter.db", hub) as outbox:
                Meters.state.rule("*", "abort-after", times=2)  # the answers to two calls are lost
                await outbox.put("Store", ID, "kitchen", 1)
                await outbox.drain(timeout=10)
            assert max(Meters.state.seen().values()) <= 3
        ```
    """

    state: ClassVar[LedgerState] = LedgerState()

    def __init_subclass__(cls, *, file: str | os.PathLike[str] | None = None, **options: Any) -> None:
        """Give the subclass a state of its own.

        Args:
            file: a file that keeps the records over restarts of the program.
            options: for other base classes.
        """
        super().__init_subclass__(**options)
        cls.state = LedgerState(file)

    # Storing

    async def store(self, id: str, key: Any, n: int) -> int:
        """Record a number; return how often this id was recorded."""
        row = self._row(id, key, n, "Store")
        return await self._obey(self.state.take_rule(id, key), lambda: self.state.record(row))

    async def store_value(self, id: str, value: Any) -> Any:
        """Record an id; return the value."""
        row = self._row(id, None, -1, "StoreValue")
        _times = await self._obey(self.state.take_rule(id), lambda: self.state.record(row))
        return value

    async def store_all(self, readings: list[Any]) -> int:
        """Record several readings, or none of them; return how often the last id was recorded."""
        call = f"StoreAll {len(readings)} {readings[0]['id']}"
        rows = [self._row(each["id"], each["key"], each["n"], call) for each in readings]
        actions = (self.state.take_rule(row.id, row.key) for row in rows)
        action = next((each for each in actions if each is not None), None)
        return await self._obey(action, lambda: self.state.record(*rows))

    async def ledger(self, after: int) -> list[Any]:
        """Return records behind the first `after`, at most 5000."""
        return [attrs.asdict(row) for row in self.state.rows[after : after + _PAGE]]

    async def ledger_length(self) -> int:
        """Return the number of records."""
        return len(self.state.rows)

    async def rule(self, match: str, action: str, times: int) -> None:
        """Make calls fail; see `LedgerState.rule`."""
        self.state.rule(match, action, times)

    async def clear_rules(self) -> None:
        """Forget all rules."""
        self.state.clear_rules()

    # Numbered events

    async def emit(self, count: int, pause: int) -> int:
        """Send events to all clients, with a pause in milliseconds; return the last number."""
        for _ in range(count):
            await self.clients.all.send("item", self.state.next_item())
            await asyncio.sleep(pause / 1000)
        return self.state.number

    async def emit_silently(self, count: int) -> int:
        """Make events that are kept in the history and not sent; return the last number."""
        for _ in range(count):
            self.state.next_item()
        return self.state.number

    async def emit_again(self, n: int) -> None:
        """Send an event again."""
        await self.clients.all.send("item", self.state.find(n))

    async def emit_backwards(self, count: int) -> None:
        """Make events, and send the last one first."""
        items = [self.state.next_item() for _ in range(count)]
        for item in reversed(items):
            await self.clients.all.send("item", item)

    async def since(self, epoch: Any, after: int) -> AsyncIterator[Any]:
        """Stream the events behind a number; all of them to a client that knows another epoch."""
        for item in await self.since_list(epoch, after):
            yield item

    async def since_list(self, epoch: Any, after: int) -> list[Any]:
        """Return what `since` streams."""
        if self.state.take_rule("since") == "fail":
            raise HubException("told to fail")
        return self.state.since(epoch, after)

    async def since_calls(self) -> int:
        """Return how often clients have asked for the history."""
        return self.state.since_calls

    async def forget(self, below: int) -> None:
        """Forget the events below a number."""
        self.state.forget(below)

    async def new_epoch(self, epoch: str) -> None:
        """Begin a new series of numbers, with an empty history."""
        self.state.new_epoch(epoch)

    async def abort_me(self) -> None:
        """End the caller's connection."""
        self.context.abort()

    def _row(self, id_: str, key: str | None, n: int, call: str) -> LedgerRow:
        return LedgerRow(id_, key, n, call, self.context.connection_id)

    async def _obey(self, action: str | None, record: Callable[[], int]) -> int:
        name, _, milliseconds = (action or "").partition(":")
        if name == "fail":
            raise HubException("told to fail")
        if name in ("abort", "crash"):
            await self._end_connection()
        if name == "late":
            await asyncio.sleep(int(milliseconds) / 1000)
        times = record()
        if name == "fail-after":
            raise HubException("told to fail afterwards")
        if name in ("abort-after", "crash-after"):
            await self._end_connection()
        return times

    async def _end_connection(self) -> None:
        self.context.abort()
        await asyncio.sleep(_NEVER)
        raise HubException("aborted")
