"""`signalr outbox`: put calls into an outbox, deliver them, and look into it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import attrs
import typer

from signalr_sdk_cli.plain_help import HELP_OPTIONS, Command, CommandGroup

from .. import Retry
from .._core.redaction import redact_error
from .._guard.tasks import spawn
from ..delivery import ID, Entry, Outbox
from . import exit_status, options
from .announced_retry import AnnouncedRetry
from .arguments import CONTEXT, Args, Context, Text, parse_arguments
from .connection_options import ConnectionOptions
from .exit_status import WRONG_USAGE, fail
from .redis_stores import redis_store

if TYPE_CHECKING:
    from typer.core import TyperGroup

    from .. import HubConnection
    from ..delivery import OutboxStore

T = TypeVar("T")

_PAUSE = 1.0  # seconds before a connection that has ended for good is started again
_ID = "@id"

_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings=HELP_OPTIONS,
    help="Put calls into an outbox on disk, deliver them, and look into it.",
    epilog=options.examples_text(
        (
            "signalr outbox put meter.db Store @id kitchen 20.5 --key kitchen",
            "signalr outbox run meter.db https://example.com/meters --drain",
        )
    ),
)

Store = Annotated[str, options.positional("STORE", "The outbox's file, or redis://HOST/DB#NAME.")]
Ids = Annotated[list[str] | None, options.positional("[ID]...", "Ids of entries.")]
Limit = Annotated[int, options.number("--limit", help="Print N entries at most.", show_default="100")]


@_app.command(cls=Command, context_settings={**HELP_OPTIONS, **CONTEXT})
def put(
    context: Context,
    store: Store,
    method: Annotated[str, options.positional("METHOD", "The hub method.")],
    args: Args = None,
    text: Text = False,
    key: Annotated[str | None, options.option("--key", metavar="KEY", help="Calls with one key stay in order.")] = None,
    id: Annotated[
        str | None, options.option("--id", metavar="ID", help="An id of your own: the call is put once.")
    ] = None,
) -> None:
    """Put a call into an outbox, and print its id. The argument @id stands for the id, =@id for the text.

    Exit status: 0 on the disk, 2 wrong usage, 3 the outbox is full, or its file cannot be used.
    """
    words = args or []
    values = parse_arguments(context, words, is_text=text)
    given = [
        value if text or word.startswith("=") else _with_id(value) for word, value in zip(words, values, strict=True)
    ]

    async def work(outbox: Outbox) -> str:
        return await outbox.put(method, *given, key=key, id=id)

    typer.echo(_use(_new(store), work))


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def ls(
    store: Store,
    dead: Annotated[bool, typer.Option("--dead", help="Only entries that were given up.")] = False,
    limit: Limit = 100,
    as_json: options.Json = False,
) -> None:
    """List the entries of an outbox, oldest first.

    Exit status: 0 done, 2 wrong usage, 3 the file cannot be used.
    """

    async def work(outbox: Outbox) -> list[Entry]:
        return await outbox.entries(dead=True if dead else None, limit=limit)

    for entry in _use(_there(store), work):
        if as_json:
            exit_status.show(_as_dict(entry))
        else:
            state = f"dead after {entry.attempts}: {entry.error}" if entry.dead else "waiting"
            key = f" [{entry.key}]" if entry.key is not None else ""
            typer.echo(
                exit_status.for_terminal(f"{entry.id}  {entry.put_at:%Y-%m-%d %H:%M:%S}  {entry.method}{key}  {state}")
            )


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def stats(store: Store, as_json: options.Json = False) -> None:
    """Print the figures of an outbox.

    Exit status: 0 done, 2 wrong usage, 3 the file cannot be used.
    """
    figures = attrs.asdict(_use(_there(store), lambda outbox: outbox.stats()))
    if as_json:
        exit_status.show(figures)
        return
    for name, value in figures.items():
        typer.echo(f"{_shown(value):>12}  {name}")


def _shown(figure: Any) -> str:
    return "-" if figure is None else f"{figure:.1f}" if isinstance(figure, float) else f"{figure:d}"


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def retry(store: Store, ids: Ids = None) -> None:
    """Let dead entries wait again, at their old place; without ids, all of them. Print how many.

    Exit status: 0 done, 2 wrong usage, 3 the file cannot be used.
    """
    count = _use(_there(store), lambda outbox: outbox.retry(*(ids or ())))
    typer.echo(f"{count} waiting again")


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def drop(
    store: Store,
    ids: Ids = None,
    dead: Annotated[bool, typer.Option("--dead", help="All entries that were given up.")] = False,
) -> None:
    """Remove entries from an outbox: those with these ids, or all dead ones. Print how many.

    Exit status: 0 done, 2 wrong usage, 3 the file cannot be used.
    """
    if dead == bool(ids):
        fail(WRONG_USAGE, "name the ids of the entries, or --dead")
    count = _use(_there(store), lambda outbox: outbox.drop(*(ids or ()), all_dead=dead))
    typer.echo(f"{count} dropped")


@options.command(
    "signalr outbox run meter.db https://example.com/meters",
    "signalr outbox run meter.db https://example.com/meters --drain --timeout 10m",
)
def run(
    store: Store,
    url: options.Url = None,
    lanes: Annotated[int, options.number("--lanes", help="Keys with a call under way.", show_default="1")] = 1,
    batch: Annotated[
        list[str] | None,
        options.option("--batch", metavar="METHOD=N", help="A method that takes a list of up to N. Repeatable."),
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="Exit when no entry waits.")] = False,
    timeout: options.NoTimeout = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Deliver the calls of an outbox, over all outages, until Ctrl-C.

    Exit status: 0 done, 2 wrong usage, 3 entries still wait after --timeout, or the file cannot be used.
    """
    policy = AnnouncedRetry(exit_status.say, connection.token_source, Retry.forever())
    hub = connection.hub(connection.hub_url(url), reconnect=policy, retry_start=policy)
    outbox = Outbox(_new(store), hub, lanes=lanes, batch=_batches(batch or ()))
    connection.run(
        _deliver(outbox, hub, timeout, drain=drain), timeout=None, hint="", classic_hint=exit_status.CORE_ONLY
    )


async def _deliver(outbox: Outbox, hub: HubConnection, timeout: float | None, *, drain: bool) -> None:
    @outbox.on_dead
    def tell(entry: Entry) -> None:
        exit_status.say(f"given up after {entry.attempts} attempts: {entry.id} {entry.method}: {entry.error}")

    @hub.on_connected
    def connected(_connection_id: str | None) -> None:
        exit_status.say(f"connected over {hub.transport}")

    @hub.on_error
    def complain(error: Exception) -> None:
        exit_status.say(redact_error(error))

    async with outbox:
        connecting = spawn(_stay_connected(hub), "stay connected")
        try:
            if drain:
                await _drain(outbox, timeout)
            else:
                async with asyncio.timeout(timeout):
                    await asyncio.Event().wait()
        finally:
            connecting.cancel()
            await asyncio.wait({connecting})


async def _drain(outbox: Outbox, timeout: float | None) -> None:
    try:
        await outbox.drain(timeout)
    except TimeoutError:
        left = (await outbox.stats()).waiting
        raise TimeoutError(f"{left} entries still wait after {timeout:g} s") from None


async def _stay_connected(hub: HubConnection) -> None:
    """Start the connection again each time it has ended: `Retry.forever()` starts and reconnects for ever."""
    while True:
        async with hub:
            await hub.wait_closed()
        await asyncio.sleep(_PAUSE)


def _batches(given: list[str] | tuple[str, ...]) -> dict[str, int]:
    batches: dict[str, int] = {}
    for text in given:
        method, _, most = text.rpartition("=")
        if not method:
            fail(WRONG_USAGE, f"--batch: {text!r} is no batch; write METHOD=N")
        batches[method] = options.whole_number(most)
    return batches


def _new(store: str) -> str | OutboxStore:
    return redis_store(store) if "://" in store else store


def _there(store: str) -> str | OutboxStore:
    if "://" not in store and not Path(store).exists():
        fail(WRONG_USAGE, f"there is no file {store}; signalr outbox put makes one")
    return _new(store)


def _use(store: str | OutboxStore, work: Callable[[Outbox], Coroutine[Any, Any, T]]) -> T:
    async def opened() -> T:
        async with Outbox(store) as outbox:
            return await work(outbox)

    return exit_status.run(opened(), timeout=None, hint="")


def _with_id(value: Any) -> Any:
    match value:
        case str():
            return ID if value == _ID else value
        case list():
            return [_with_id(each) for each in value]
        case dict():
            return {key: _with_id(each) for key, each in value.items()}
        case _:
            return value


def _as_dict(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "method": entry.method,
        "args": entry.args,
        "key": entry.key,
        "putAt": entry.put_at,
        "attempts": entry.attempts,
        "error": entry.error,
        "dead": entry.dead,
    }


outbox: TyperGroup = typer.main.get_command(_app)  # type: ignore[assignment]
outbox.add_command(run, "run")
