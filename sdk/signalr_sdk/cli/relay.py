"""`signalr relay`: add the events of a hub to a stream of Redis, on one of many machines at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import attrs

from .. import HubConnection, Retry, Timeouts
from .._core.redaction import redact_error
from ..delivery import Feed
from . import exit_status, options
from .announced_retry import AnnouncedRetry
from .connection_options import ConnectionOptions
from .exit_status import WRONG_USAGE, fail
from .redis_stores import fleet, is_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from ..delivery import Position
    from ..fleet import Relay

_TTL = 3.0  # the default of `Relay`


@attrs.frozen
class _Numbers:
    """How numbered events are read, and fetched again."""

    number: str
    catch_up: str
    epoch: str | None

    def feed(self, hub: HubConnection, event: str) -> Feed[Any]:
        epoch = None if self.epoch is None else partial(_field, self.epoch)

        def since(at: Position) -> AsyncIterable[Any]:
            place = (at.number,) if self.epoch is None else (at.epoch, at.number)
            return hub.stream(self.catch_up, *place)

        return Feed(hub, event, number=partial(_field, self.number), epoch=epoch, catch_up=since, start=0)


def _field(name: str, item: Any) -> Any:
    """Return a field of an event. The arguments of an event that has several are counted from 0 on."""
    return item[int(name) if isinstance(item, list) and name.isdecimal() else name]


@options.command(
    "signalr relay https://example.com/news News --to redis://localhost/0 --stream news",
    "signalr relay https://example.com/trades Trade --to redis://localhost/0 --stream trades --number n "
    "--catch-up TradesSince",
)
def relay(
    url: options.Url = None,
    events: Annotated[list[str] | None, options.positional("EVENT...", "Names of events.")] = None,
    to: Annotated[str | None, options.option("--to", metavar="URL", help="Redis: redis://HOST/DB.")] = None,
    stream: Annotated[str | None, options.option("--stream", metavar="KEY", help="The stream's key.")] = None,
    lease: Annotated[
        str | None, options.option("--lease", metavar="NAME", help="The lease's name; the stream's key by default.")
    ] = None,
    ttl: Annotated[float, options.seconds("--ttl", help="How long the lease lasts.", show_default="3s")] = _TTL,
    number: Annotated[
        str | None, options.option("--number", metavar="FIELD", help="The field that numbers the events.")
    ] = None,
    catch_up: Annotated[
        str | None, options.option("--catch-up", metavar="METHOD", help="The method that streams what was missed.")
    ] = None,
    epoch: Annotated[
        str | None, options.option("--epoch", metavar="FIELD", help="The field that names the series of numbers.")
    ] = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Add the events of a hub to a stream of Redis, on one of many machines at a time.

    Run the command on several machines: one of them connects, and if it dies, another one takes over. With --number,
    each event is in the stream once and in order: METHOD gets the last number, with --epoch the epoch before it.

    Exit status: 2 wrong usage, 130 interrupted.
    """
    hub_url, names = connection.split_url([*([url] if url is not None else []), *(events or ())])
    if to is None or stream is None or not names:
        fail(WRONG_USAGE, "name the events, --to redis://HOST/DB and --stream KEY")
    if not is_redis(to):
        fail(WRONG_USAGE, f"--to: {to!r} is no URL of Redis; write redis://HOST/DB")
    if (number is None) != (catch_up is None) or (epoch is not None and number is None):
        fail(WRONG_USAGE, "--number and --catch-up go together, and --epoch goes with them")
    numbers = None if number is None or catch_up is None else _Numbers(number, catch_up, epoch)
    # A hub that answers nothing must be left before the lease is over.
    policy = AnnouncedRetry(exit_status.say, connection.token_source, Retry.forever())
    hub = connection.hub(hub_url, timeouts=Timeouts(close=ttl / 4), reconnect=policy, retry_start=policy)
    _announce(hub)
    try:
        work = _relay(hub, names, numbers, redis=to, stream=stream, lease=lease, ttl=ttl)
    except ValueError as error:
        fail(WRONG_USAGE, str(error))
    exit_status.say("waiting for the lease")
    connection.run(work.run(), timeout=None, hint="", classic_hint=exit_status.CORE_ONLY)


def _relay(hub: HubConnection, names: list[str], numbers: _Numbers | None, **more: Any) -> Relay:
    feeds = [] if numbers is None else [numbers.feed(hub, name) for name in names]
    made: Relay = fleet().Relay(hub, more.pop("redis"), events=[] if feeds else names, feeds=feeds, **more)
    return made


def _announce(hub: HubConnection) -> None:
    @hub.on_connected
    def connected(_connection_id: str | None) -> None:
        exit_status.say(f"connected over {hub.transport}: this machine has the lease")

    @hub.on_closed
    def closed(error: Exception | None) -> None:
        exit_status.say("disconnected" if error is None else f"disconnected: {redact_error(error)}")

    @hub.on_error
    def complain(error: Exception) -> None:
        exit_status.say(redact_error(error))
