"""The hubs of a classic server for the commands: a method or event is written as "Hub.Method"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import typer

from ..classic import HubConnection, HubProxy
from ..interfaces import Handler
from . import exit_status
from .json_output import as_json, print_json
from .options import option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..options import Transport
    from .arguments import MethodCall
    from .connection_options import ConnectionOptions

H = TypeVar("H", bound=Handler)

_HELP = "The server is a classic one (ASP.NET SignalR 2.x). Write HUB.METHOD."
Classic = Annotated[bool, option("--classic", help=_HELP)]

HINT = "; for a server of ASP.NET Core SignalR leave out --classic"
# In `News.*`, any event of the hub.
_ANY = "*"


def split_name(text: str, what: str = "METHOD") -> tuple[str, str]:
    """Return the hub and the method, or the hub and the event, of a text such as "Chat.Add". Else end the command."""
    hub, _dot, name = text.rpartition(".")
    if not hub or not name:
        exit_status.fail(
            exit_status.WRONG_USAGE,
            f"{text!r} names no hub; with --classic write HUB.{what} (signalr hubs URL lists the hubs)",
        )
    return hub, name


class ClassicHubs:
    """The hubs of a classic server, with the methods of a hub connection that the commands use.

    Args:
        connection: the connection.
        names: methods and events, such as "Chat.Add" and "News.*", whose hubs are wanted.
    """

    def __init__(self, connection: HubConnection, names: Iterable[str]) -> None:
        self._connection = connection
        self._hubs: dict[str, HubProxy] = {}
        for name in names:
            hub, _name = split_name(name)
            self._hubs[hub.casefold()] = connection.hub(hub)

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

    async def wait_closed(self) -> None:
        """See `HubConnection.wait_closed`."""
        await self._connection.wait_closed()

    def _split(self, method: str) -> tuple[HubProxy, str]:
        hub, name = split_name(method)
        return self._hubs[hub.casefold()], name

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


def classic_hubs(connection: ConnectionOptions, url: str, names: Sequence[str], **more: Any) -> ClassicHubs:
    """Return the hubs of a classic server.

    Args:
        connection: the options that the user has typed.
        url: the URL of all hubs.
        names: methods and events whose hubs are wanted.
        more: further arguments of the connection.
    """
    if connection.protocol not in (None, "json"):
        exit_status.fail(exit_status.WRONG_USAGE, "--protocol and --classic exclude each other; leave out one of them")
    arguments = {"transports": connection.transports, **connection.arguments, **more}
    return ClassicHubs(HubConnection(url, **arguments), names)


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

    connection.run(run(), timeout=timeout, hint=HINT)


def is_wanted(name: str, wanted: Iterable[str]) -> bool:
    """Return whether an event is among those that the user has named, such as "Chat.addMessage" or "News.*"."""
    hub = name.rpartition(".")[0]
    return any(each.casefold() in (name.casefold(), f"{hub}.{_ANY}".casefold()) for each in wanted)
