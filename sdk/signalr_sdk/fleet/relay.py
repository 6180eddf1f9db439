"""`Relay`: the events of a hub in a stream of Redis, by one of many replicas.

Theory of operation:

- One replica, the leader, holds a lease. The leader connects to the hub, and adds each event to the stream.
- Each leader has a larger token than those before. Its first script writes the token to the *sink*, and from then on
  the scripts of older leaders are refused: a leader that was paused cannot write any more.
- The positions of feeds lie beside the stream, and one script moves a position and adds its event. So the stream has
  each number once, whatever ends whenever.
- Batches of one leader are numbered. A script whose answer was lost is sent again, and adds nothing if it has run. A
  Redis that has lost the last batches does not know the number before: then the leader begins anew, with the positions
  that Redis has.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, cast

from .._core.redaction import redact_error
from .._guard.copying import Uncopied
from .._guard.loops import running_loop
from .._guard.tasks import run_side_by_side
from ..delivery.arguments import checked_count
from ..delivery.entry import Position
from ..delivery.feed import FeedParts, parts_of
from ..errors import FeedGapError, FeedResetError, LeaseLostError, StateError, StoreError
from .lease import Lease
from .redis_client import RedisClient, Script, tagged
from .stream_records import Record, RecordQueue, json_list, position_in

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from .. import HubConnection
    from ..delivery.feed import Feed
    from .redis_client import Argument, RedisLike

_log = logging.getLogger("signalr_sdk.fleet")

_TAKEOVER: Final = Script.of("relay_takeover")
_ADD: Final = Script.of("relay_add")
# Delays between attempts to connect to the hub after the connection has ended for good, in seconds.
_LONGEST_DELAY: Final = 30.0
# A connection that lasted longer, in seconds, is no failure.
_LASTED: Final = 60.0


class Relay(Uncopied):
    """Adds the events of a hub to a stream of Redis. One of all replicas of a program does so at a time.

    The replica that holds the lease starts the hub, for ever again, and stops the hub when the lease is lost. Workers
    read the stream, with consumer groups of Redis. Fields of an entry:

    - `kind`: `event`; `takeover`, the first entry of each leader; `gap` and `reset`, of a feed.
    - `event`: the name of the event.
    - `args`: a JSON list of the arguments; for a feed a list with the item; for a gap the first and the last number
      that never came; for a reset the number and the epoch before.
    - `token`: the token of the leader. `at`: when the leader got the event, in milliseconds since 1970.
    - `number` and `epoch`: of a feed.

    Events without numbers that the hub sends while no replica is connected are lost, and those that a killed leader had
    not written; a `takeover` entry marks where that may be. A feed asks the hub for what it has missed: **each number
    is in the stream once, and in order**, over any change of the leader, as far as `catch_up` reaches.

    Args:
        hub: the hub connection, which is not started. Give it a `Timeouts(close=)` of less than `ttl / 3`.
        redis: the URL of Redis, or a client of redis-py for asyncio, which is never closed.
        stream: the key of the stream. Further keys are `{stream}:sink` and `{stream}:relay`.
        events: names of events without numbers.
        feeds: feeds on `hub`, without a store: their positions are kept in Redis, beside the stream.
        lease: the name of the lease; by default `stream`.
        ttl: seconds for which the lease lasts without a renewal.
        maxlen: the length of the stream, about which Redis drops the oldest entries; `None` for no limit.

    Raises:
        ValueError: an argument is invalid.

    Example:
        ```python
        hub = HubConnection("https://example.com/trades", timeouts=Timeouts(close=0.8))
        trades = Feed(hub, "Trade", number=lambda trade: trade["n"], start=0,
                      catch_up=lambda at: hub.stream("TradesSince", at.number))
        await Relay(hub, "redis://localhost", "trades", ["News"], feeds=[trades]).run()
        ```
    """

    def __init__(
        self,
        hub: HubConnection,
        redis: str | RedisLike,
        stream: str,
        events: Iterable[str] = (),
        *,
        feeds: Iterable[Feed[Any]] = (),
        lease: str | None = None,
        ttl: float = 3.0,
        maxlen: int | None = 1_000_000,
    ) -> None:
        if isinstance(events, str):
            raise ValueError("events must be names of events, not one text")  # noqa: TRY004 - a text is iterable
        self._hub, self._redis, self._stream, self._ttl = hub, redis, stream, ttl
        self._events = [*dict.fromkeys(events)]
        self._feeds = [parts_of(feed) for feed in feeds]
        self._maxlen = 0 if maxlen is None else checked_count("maxlen", maxlen)
        if not self._events and not self._feeds:
            raise ValueError("a relay needs events or feeds")
        names = [feed.name for feed in self._feeds]
        if len(set(names)) < len(names):
            raise ValueError(f"each feed needs a name of its own, but the names are {names}")
        for feed in self._feeds:
            if feed.hub is not hub:
                raise ValueError(f"the feed '{feed.name}' is on another hub")
            if feed.has_store:
                raise ValueError(f"the feed '{feed.name}' has a store: the relay keeps its position in Redis")
        self._keys = [stream, tagged(stream, "sink"), tagged(stream, "relay")]
        self._lease = Lease(redis, stream if lease is None else lease, ttl=ttl)

    def __repr__(self) -> str:
        return f"<Relay {self._stream!r} {self._lease!r}>"

    async def run(self) -> None:
        """Wait for the lease, and relay while it is held, until cancelled.

        Raises:
            StateError: somebody else has started the hub.
        """
        await self._lease.run(self._lead)

    async def _lead(self, token: int) -> None:
        client = RedisClient(self._redis, timeout=self._ttl)
        try:
            writer = _Writer(client, self._keys, token, self._maxlen)
            state = await writer.take_over()
            await self._relay(writer, state)
        finally:
            await client.close()

    async def _relay(self, writer: _Writer, state: Mapping[str, str]) -> None:
        works: list[Coroutine[Any, Any, None]] = [writer.run(), self._keep_hub()]
        async with AsyncExitStack() as entered:
            # In this order at the end: the feeds end, the hub stops, the handlers go, the last records are written.
            entered.push_async_callback(self._finish, writer)
            for event in self._events:
                self._register(event, writer, entered)
            for feed in self._feeds:
                # What comes between the end of the feed and that of the hub is for the next leader.
                self._hub.on(feed.event, _leave)
                entered.callback(self._hub.off, feed.event, _leave)
            entered.push_async_callback(self._hub.stop)
            for feed in self._feeds:
                feed.begin_behind(_Positions(position_in(state, feed.name)))
                await entered.enter_async_context(feed.feed)
                works.append(_read(feed, writer.queue))
            await run_side_by_side(works, "relay")

    def _register(self, event: str, writer: _Writer, entered: AsyncExitStack) -> None:
        async def add(*args: Any) -> None:
            await writer.queue.put(Record("event", event, json_list([*args]), _milliseconds()))

        self._hub.on(event, add)
        entered.callback(self._hub.off, event, add)

    async def _finish(self, writer: _Writer) -> None:
        if self._lease.token is None:
            return
        try:
            async with asyncio.timeout(self._ttl / 3):
                await writer.drain()
        except (TimeoutError, StoreError, LeaseLostError) as error:
            _log.warning("the last events were not added to the stream: %s", error)

    async def _keep_hub(self) -> None:
        """Start the hub, for ever again."""
        failures = 0
        while True:
            begun = running_loop().time()
            try:
                await self._hub.start()
                await self._hub.wait_closed()
            except StateError:
                raise
            except Exception as error:  # noqa: BLE001 - users' code may raise anything
                _log.warning("the connection of the relay has ended: %s", redact_error(error))
            else:
                _log.warning("the connection of the relay has ended")
            failures = 0 if running_loop().time() - begun > _LASTED else failures + 1
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(_LONGEST_DELAY, 2.0 ** min(failures, 10)))


class _Writer:
    """Adds the records of one leader to the stream.

    Args:
        client: what talks to Redis.
        keys: the keys of the scripts.
        token: the token of the leader.
        maxlen: the length of the stream; 0 for no limit.
    """

    def __init__(self, client: RedisClient, keys: list[str], token: int, maxlen: int) -> None:
        self.queue = RecordQueue()
        self._client, self._keys, self._token, self._maxlen = client, keys, token, maxlen
        self._batch = 0
        self._sent: tuple[int, list[Argument]] | None = None
        self._told: set[str] = set()

    async def take_over(self) -> Mapping[str, str]:
        """Have the scripts of older leaders refused; return the state of the relay."""
        reply = await self._run(_TAKEOVER, [self._token, _milliseconds(), self._maxlen])
        if isinstance(reply, int):
            raise LeaseLostError("a later leader has taken over the stream")
        _log.info("this process adds events to the stream '%s' now, token %d", self._keys[0], self._token)
        texts = [cast("bytes", each).decode() for each in reply]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def run(self) -> None:
        """Write records for ever.

        Raises:
            LeaseLostError: a later leader has written, or Redis has lost what this leader wrote.
        """
        while True:
            await self.queue.filled()
            await self.drain()

    async def drain(self) -> None:
        """Return when all records that wait are written."""
        while not self.queue.is_empty:
            await self._write()

    async def _write(self) -> None:
        if self._sent is None:
            records = self.queue.batch()
            args: list[Argument] = [self._token, self._batch + 1, self._maxlen]
            for record in records:
                args += record.arguments()
            self._sent = len(records), args
        # A batch whose writing was cancelled may be in the stream: it must stay the same under its number.
        count, args = self._sent
        result = await self._run(_ADD, args)
        if result == -1:
            raise LeaseLostError("a later leader has taken over the stream")
        if result < 0:
            raise LeaseLostError("Redis has lost what this leader has written")
        self._batch += 1
        self._sent = None
        self.queue.remove(count)

    async def _run(self, script: Script, args: list[Argument]) -> Any:
        """Run a script until there is an answer. The scripts may run twice."""
        pause = 0.05
        while True:
            try:
                result = await self._client.run(script, self._keys, args)
            except StoreError as error:
                if str(error) not in self._told:
                    self._told.add(str(error))
                    _log.warning("the stream '%s' cannot be written: %s", self._keys[0], error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                self._told.clear()
                return result


class _Positions:
    """The store of a feed whose position is kept in the stream's state."""

    def __init__(self, position: Position | None) -> None:
        self._position = position

    async def load(self, _name: str) -> Position | None:
        return self._position

    async def save(self, _name: str, _position: Position) -> None:
        pass


async def _read(feed: FeedParts, queue: RecordQueue) -> None:
    """Put the items of a feed into the queue, with its gaps and resets in their places."""
    while True:
        try:
            kind, args = "event", [await anext(feed.feed)]
        except FeedGapError as gap:
            _log.warning("the feed '%s' goes on: %s", feed.name, gap)
            kind, args = "gap", [gap.first, gap.last]
        except FeedResetError as reset:
            _log.warning("the feed '%s' goes on: %s", feed.name, reset)
            before = reset.before or Position(0)
            kind, args = "reset", [before.number, before.epoch]
        # Of this item: the feed moves only in `anext`.
        position = feed.feed.position
        await queue.put(Record(kind, feed.event, json_list(args), _milliseconds(), feed.name, position))


def _leave(*_args: Any) -> None:
    pass


def _milliseconds() -> int:
    return int(time.time() * 1000)
