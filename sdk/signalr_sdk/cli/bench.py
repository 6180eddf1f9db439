"""`signalr bench`: measures calls and messages per second between a hub and this client, and the client's CPU time."""

from __future__ import annotations

import asyncio
import math
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from rich.console import Console
from rich.table import Table

from .. import HubConnection, HubError
from .._core.redaction import redact_error
from .._guard.tasks import run_side_by_side
from . import exit_status, options
from .arguments import parse_argument
from .connection_options import ConnectionOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_EVENT = "bench"
_AT_ONCE = 100
# The scenarios "invoke, one after another" and "connect and stop" run with `--count` divided by these numbers. With the
# full `--count`, each of the two scenarios would take minutes.
_FEWER_CALLS, _FEWER_CONNECTIONS = 10, 200
_CALL = "Method and arguments, with {count} and {event} for the values of the measurement; '' leaves it out."


@attrs.frozen
class Row:
    """The result of one scenario of the measurement, for example "send".

    Attributes:
        scenario: name of the scenario.
        count: how many messages, calls or connections were measured.
        seconds: how long the scenario took.
        cpu: CPU seconds that this process used for the scenario.
        error: text of the hub's error, if the scenario failed.
    """

    scenario: str
    count: int
    seconds: float = attrs.field(default=0.0, kw_only=True)
    cpu: float = attrs.field(default=0.0, kw_only=True)
    error: str | None = attrs.field(default=None, kw_only=True)

    @property
    def per_second(self) -> float:
        """Messages, calls or connections per second."""
        return self.count / self.seconds

    @property
    def microseconds(self) -> float:
        """CPU microseconds of this process for each message, call or connection."""
        return self.cpu / self.count * 1e6


@options.command("signalr bench http://localhost:5000/chat --count 5000")
def bench(
    url: options.Url = None,
    invoke: Annotated[str, typer.Option("--invoke", metavar="CALL", help=_CALL)] = "Add 1 2",
    flood: Annotated[
        str, typer.Option("--flood", metavar="CALL", help="A call after which the hub sends {count} events {event}.")
    ] = "Flood {event} {count} 32",
    stream: Annotated[str, typer.Option("--stream", metavar="CALL", help="A streaming method.")] = "Counter {count}",
    upload: Annotated[
        str, typer.Option("--upload", metavar="CALL", help="A method whose last argument is a stream of numbers.")
    ] = "Sum",
    count: Annotated[int, options.number("--count", "-n", help="Messages for each scenario.")] = 20_000,
    plot: Annotated[
        Path | None, options.option("--plot", metavar="FILE", help="Draw a chart too (extra plot).")
    ] = None,
    as_json: options.Json = False,
    timeout: Annotated[
        float, options.seconds("--timeout", help="Limit for the whole command.", show_default="5m")
    ] = 300.0,
    *,
    connection: ConnectionOptions,
) -> None:
    """Measure how fast a hub and this client are together. It counts calls, events, stream items and connections.

    The default methods exist on the hub of `signalr serve`. Exit status: 0 done, 1 a hub method does not exist or has
    failed, 2 wrong usage, 3 no connection.
    """
    draw = _plotter(plot) if plot is not None else None
    hub_url = connection.hub_url(url)
    scenarios = Scenarios(lambda: connection.hub(hub_url, reconnect=False), count)
    calls = {"invoke": invoke, "flood": flood, "stream": stream, "upload": upload}
    rows = connection.run(scenarios.measure(calls), timeout=timeout, classic_hint=exit_status.CORE_ONLY)
    if as_json:
        exit_status.show([attrs.asdict(row) for row in rows])
    else:
        Console(soft_wrap=True, highlight=False, markup=False).print(_table(rows))
    if draw is not None:
        draw([row for row in rows if row.error is None])
    if any(row.error is not None for row in rows):
        raise typer.Exit(exit_status.HUB_SAID_NO)


class Scenarios:
    """Measures the scenarios (calls, messages, streams, connections) one after another.

    Args:
        new_hub: a function that returns a new connection to the hub, not started.
        count: messages or calls for each scenario; the slow scenarios do fewer.
    """

    def __init__(self, new_hub: Callable[[], HubConnection], count: int) -> None:
        self._new_hub = new_hub
        self._count = count

    async def measure(self, calls: dict[str, str]) -> list[Row]:
        """Run all scenarios one after another, and return one `Row` for each.

        Args:
            calls: a dict from `invoke`, `flood`, `stream` and `upload` to a text like `Add 1 2`: the hub method to call
                and its arguments. If a text is empty, the scenarios that would call this method are left out.
        """
        rows = []
        async with self._new_hub() as hub:
            scenarios: list[tuple[str, str, int, Callable[..., Awaitable[None]]]] = [
                ("invoke", "invoke, one after another", math.ceil(self._count / _FEWER_CALLS), self._one_after_another),
                ("invoke", f"invoke, {_AT_ONCE} at once", self._count, self._at_once),
                ("invoke", "send", self._count, self._send),
                ("flood", "receive", self._count, self._receive),
                ("stream", "stream down", self._count, self._stream),
                ("upload", "stream up", self._count, self._upload),
            ]
            for kind, name, count, run in scenarios:
                if calls[kind]:
                    method, *args = self._parse(calls[kind])
                    rows.append(await _timed(name, count, run(hub, count, method, args)))
        connections = math.ceil(self._count / _FEWER_CONNECTIONS)
        return [*rows, await _timed("connect and stop", connections, self._connect(connections))]

    def _parse(self, call: str) -> list[Any]:
        method, *words = shlex.split(call)
        known = {"{count}": self._count, "{event}": _EVENT}
        return [method, *(known[word] if word in known else parse_argument(word) for word in words)]

    async def _one_after_another(self, hub: HubConnection, count: int, method: str, args: list[Any]) -> None:
        for _ in range(count):
            await hub.invoke(method, *args)

    async def _at_once(self, hub: HubConnection, count: int, method: str, args: list[Any]) -> None:
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await hub.invoke(method, *args)

        await run_side_by_side((work() for _ in range(_AT_ONCE)), "bench")

    async def _send(self, hub: HubConnection, count: int, method: str, args: list[Any]) -> None:
        for _ in range(count):
            await hub.send(method, *args)
        # End with a call that waits for its answer. A hub handles the calls of one client in order, so the answer comes
        # after the hub has handled all `send` calls. Without this call, only the writing of the messages would be
        # measured.
        await hub.invoke(method, *args)

    async def _receive(self, hub: HubConnection, count: int, method: str, args: list[Any]) -> None:
        received = 0
        done = asyncio.Event()

        def count_event(*_args: object) -> None:
            nonlocal received
            received += 1
            if received == count:
                done.set()

        hub.on(_EVENT, count_event)
        await hub.invoke(method, *args)
        await done.wait()

    async def _stream(self, hub: HubConnection, _count: int, method: str, args: list[Any]) -> None:
        async with hub.stream(method, *args) as items:
            async for _ in items:
                pass

    async def _upload(self, hub: HubConnection, count: int, method: str, args: list[Any]) -> None:
        await hub.invoke(method, *args, _ones(count))

    async def _connect(self, count: int) -> None:
        for _ in range(count):
            async with self._new_hub():
                pass


async def _ones(count: int) -> AsyncIterator[int]:
    for _ in range(count):
        yield 1


async def _timed(name: str, count: int, work: Awaitable[None]) -> Row:
    seconds, cpu = time.perf_counter(), time.process_time()
    try:
        await work
    except HubError as error:
        return Row(name, count, error=redact_error(error))
    return Row(name, count, seconds=time.perf_counter() - seconds, cpu=time.process_time() - cpu)


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("scenario")
    for title in ("count", "per second", "CPU us each"):
        table.add_column(title, justify="right")
    table.add_column()
    for row in rows:
        if row.error is None:
            table.add_row(row.scenario, f"{row.count:,}", f"{row.per_second:,.0f}", f"{row.microseconds:,.2f}")
        else:
            table.add_row(row.scenario, f"{row.count:,}", "-", "-", row.error)
    return table


def _plotter(file: Path) -> Callable[[list[Row]], None]:
    """Return a function that draws a chart of the results. If matplotlib is missing, end the command at once."""
    try:
        # Import matplotlib only here: it belongs to the extra `plot`, which may be missing.
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        exit_status.fail(exit_status.WRONG_USAGE, "--plot needs an extra: pip install 'signalr-sdk[plot]'")

    def draw(rows: list[Row]) -> None:
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh([row.scenario for row in rows], [row.per_second for row in rows])
        axes.bar_label(bars, [f"{row.per_second:,.0f}" for row in rows], padding=3)
        axes.invert_yaxis()
        axes.set(xscale="log", xlabel="per second")
        axes.margins(x=0.2)
        try:
            figure.savefig(file)
        except (OSError, ValueError) as error:
            exit_status.fail(exit_status.WRONG_USAGE, f"--plot: cannot write {file}: {error}")

    return draw
