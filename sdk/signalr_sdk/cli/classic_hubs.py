"""The hubs of a classic server for the commands: a method or event is written as "Hub.Method"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import typer

from ..interfaces import Handler
from . import exit_status
from .json_output import as_json, print_json
from .option_words import in_options
from .options import option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..classic import HubConnection, HubProxy
    from ..options import ConnectionState, Transport
    from .arguments import MethodCall
    from .connection_options import ConnectionOptions

H = TypeVar("H", bound=Handler)

_HELP = "The server is a classic one (ASP.NET SignalR 2.x). Methods are HUB.METHOD, events HUB.EVENT or HUB.*."
Classic = Annotated[bool, option("--classic", help=_HELP)]
_HUB_HELP = "A hub of a classic server (ASP.NET SignalR 2.x). Repeatable; all that the server lists by default."
Hubs = Annotated[list[str] | None, option("--hub", metavar="NAME", help=_HUB_HELP)]

HINT = "; for a server of ASP.NET Core SignalR leave out --classic"
PERHAPS_CLASSIC = (400, 405)
"""A classic server that takes no POST answers a negotiation of ASP.NET Core SignalR with one of these statuses."""
# In `News.*`, any event of the hub.
_ANY = "*"


def split_name(text: str) -> tuple[str, str]:
    """Return the hub and the method, or the hub and the event, of a text such as "Chat.Add".

    Raises:
        ValueError: the text lacks one of the two.
    """
    hub, _dot, name = text.rpartition(".")
    if not hub or not name:
        raise ValueError(
            f"{text!r} lacks the hub or the name: for a classic server write HUB.METHOD or HUB.EVENT "
            "(HUB.* for all events of a hub; signalr hubs URL lists the hubs)"
        )
    return hub, name


class ClassicHubs:
    """The hubs of a classic server, with the methods of a hub connection that the commands use.

    Args:
        connection: the connection.
        hubs: the names of the hubs that are wanted.
    """

    def __init__(self, connection: HubConnection, hubs: Iterable[str]) -> None:
        self._connection = connection
        self._hubs: dict[str, HubProxy] = {hub.casefold(): connection.hub(hub) for hub in hubs}

    @property
    def state(self) -> ConnectionState:
        """See `HubConnection.state`."""
        return self._connection.state

    @property
    def transport(self) -> Transport | None:
        """The transport in use; `None` if not connected."""
        return self._connection.transport

    async def invoke(self, method: str, *args: Any) -> Any:
        """Call a method such as "Chat.Add", and return its result. Progress goes to standard error."""
        hub, name = self._split(method)
        return await hub.invoke(name, *args, on_progress=_show_progress)

    async def send(self, method: str, *args: Any) -> None:
        """Call a method such as "Chat.Add" without waiting for its result."""
        hub, name = self._split(method)
        await hub.send(name, *args)

    def on_any(self, handler: Callable[[str, tuple[Any, ...]], Any]) -> None:
        """Register a handler for all events of all hubs. The names of events are as "Chat.addMessage"."""
        for hub in self._hubs.values():
            _forward(hub, handler)

    def on_setup(self, handler: H) -> H:
        """See `HubConnection.on_setup`."""
        return self._connection.on_setup(handler)

    def on_connected(self, handler: H) -> H:
        """See `HubConnection.on_connected`."""
        return self._connection.on_connected(handler)

    def on_error(self, handler: H) -> H:
        """See `HubConnection.on_error`."""
        return self._connection.on_error(handler)

    async def flush(self) -> None:
        """See `HubConnection.flush`."""
        await self._connection.flush()

    async def wait_connected(self) -> None:
        """See `HubConnection.wait_connected`."""
        await self._connection.wait_connected()

    async def wait_closed(self) -> None:
        """See `HubConnection.wait_closed`."""
        await self._connection.wait_closed()

    def check(self, name: str) -> None:
        """Raise a `ValueError` if the name of an event names none of the hubs."""
        self._split(name)

    def _split(self, method: str) -> tuple[HubProxy, str]:
        hub, name = split_name(method)
        proxy = self._hubs.get(hub.casefold())
        if proxy is None:
            names = ", ".join(each.name for each in self._hubs.values())
            raise ValueError(f"{hub!r} is none of the hubs of this connection ({names}); name it with --hub {hub}")
        return proxy, name

    async def __aenter__(self) -> Self:
        await self._connection.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._connection.stop()


def _forward(hub: HubProxy, handler: Callable[[str, tuple[Any, ...]], Any]) -> None:
    @hub.on_any
    async def event(name: str, arguments: tuple[Any, ...]) -> None:
        await handler(f"{hub.name}.{name}", arguments)


def _show_progress(value: Any) -> None:
    typer.echo(as_json(value), err=True)


def classic_hubs(
    connection: ConnectionOptions, url: str, names: Sequence[str] = (), *, hubs: Sequence[str] = (), **more: Any
) -> ClassicHubs:
    """Return the hubs of a classic server.

    Args:
        connection: the options that the user has typed.
        url: the URL of all hubs.
        names: methods and events, such as "Chat.Add" and "News.*", whose hubs are wanted.
        hubs: the names of hubs that are wanted too.
        more: further arguments of the connection.
    """
    if connection.protocol not in (None, "json"):
        exit_status.fail(exit_status.WRONG_USAGE, "a classic server has JSON only; leave out --protocol")
    from ..classic import HubConnection  # takes time that commands need only here

    arguments = {"transports": connection.transports, **connection.arguments, **more}
    try:
        return ClassicHubs(HubConnection(url, **arguments), [*hubs, *(split_name(name)[0] for name in names)])
    except ValueError as error:
        exit_status.fail(exit_status.WRONG_USAGE, in_options(str(error)))


def classic_hub(call: MethodCall, connection: ConnectionOptions, url: str, **more: Any) -> ClassicHubs:
    """Return the hub of a method on the command line. `more` are further arguments of the connection."""
    if call.upload is not None:
        exit_status.fail(exit_status.WRONG_USAGE, "--upload and --classic exclude each other; leave out one of them")
    _url, method, _arguments = call.resolve(connection)
    return classic_hubs(connection, url, [method], **more)


def invoke_classic(call: MethodCall, connection: ConnectionOptions, timeout: float) -> None:
    """Call a method of a classic hub, and print its result."""
    url, method, arguments = call.resolve(connection)
    hubs = classic_hub(call, connection, url, reconnect=False)

    async def run() -> None:
        async with hubs:
            result = await hubs.invoke(method, *arguments)
        print_json(result)

    connection.run(run(), timeout=timeout, core=HINT)


def is_wanted(name: str, wanted: Iterable[str]) -> bool:
    """Return whether an event is among those that the user has named, such as "Chat.addMessage" or "News.*"."""
    hub = name.rpartition(".")[0]
    return any(each.casefold() in (name.casefold(), f"{hub}.{_ANY}".casefold()) for each in wanted)
