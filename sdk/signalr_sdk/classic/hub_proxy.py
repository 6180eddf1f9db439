"""`HubProxy`: one hub of a classic connection, with its methods, events and state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import attrs

from .._guard.copying import Uncopied
from .._hub.event_methods import EventMethods
from .._receiving.handlers import Handlers
from ..errors import InvocationTimeoutError
from ..options import UNSET, Limits, Timeouts, Unset
from .hub_messages import Call
from .session import HUB_END

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeForm

    from .._hub.typed_values import TypedValues
    from .._life.supervisor import Supervisor
    from .._receiving.dispatcher import Dispatcher
    from ..protocols.values import NamingChoice
    from .calls import HubCalls
    from .hub_connection import HubConnection
    from .json_codec import ClassicJson
    from .link import ClassicLink

T = TypeVar("T")


@attrs.frozen(eq=False)
class ProxyHome:
    """What a `HubProxy` uses of its connection.

    Attributes:
        connection: the connection, for users.
        life: returns the supervisor, which is another one after the event loop was closed.
        dispatcher: returns the dispatcher, which is another one after the event loop was closed.
        check_loop: raises if the connection's event loop is not running in this thread. Called before each call.
        values: converts results and arguments to types.
        json: encodes values of users.
        timeouts: the timeouts of the connection.
        limits: the limits of the connection.
        handlers: the handlers of the connection.
    """

    connection: HubConnection
    life: Callable[[], Supervisor[ClassicLink[HubCalls]]]
    dispatcher: Callable[[], Dispatcher]
    check_loop: Callable[[], None]
    values: TypedValues
    json: ClassicJson
    timeouts: Timeouts
    limits: Limits
    handlers: Handlers


class HubProxy(EventMethods, Uncopied):
    """One hub of a server of classic ASP.NET SignalR. `HubConnection.hub` returns it.

    Upper and lower case are the same in the names of hubs, methods and events. The methods must be called on the event
    loop of the connection.

    Example:
        ```python
        chat = connection.hub("Chat")
        chat.on("addMessage", print)
        async with connection:
            total = await chat.invoke("Add", 1, 2)
        ```
    """

    def __init__(self, name: str, home: ProxyHome) -> None:
        self._name = name
        self._home = home
        self._limits = home.limits
        self._values = home.values
        self._state: dict[str, Any] = {}
        self._prefix = name.lower() + HUB_END
        self._handlers = Handlers(self._prefix, home.handlers.events)
        home.handlers.hubs[self._prefix] = self._handlers

    @property
    def _life(self) -> Supervisor[ClassicLink[HubCalls]]:
        return self._home.life()

    @property
    def _dispatcher(self) -> Dispatcher:
        return self._home.dispatcher()

    def _keys(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._prefix + name for name in names) or (self._prefix,)

    @property
    def name(self) -> str:
        """The name of the hub, as it was first given to `HubConnection.hub`."""
        return self._name

    @property
    def connection(self) -> HubConnection:
        """The connection to which the hub belongs."""
        return self._home.connection

    @property
    def state(self) -> dict[str, Any]:
        """Values that go along with each call of this hub, and that the hub may change.

        What the hub has changed is merged before the call returns, and before the handlers of an event are called. As
        JSON, the state may have 4096 characters.
        """
        return self._state

    def __repr__(self) -> str:
        return f"<HubProxy '{self._name}' of {self._home.connection!r}>"

    @overload
    async def invoke(
        self,
        method: str,
        *args: Any,
        timeout: float | Unset | None = UNSET,
        result_type: TypeForm[T],
        on_progress: Callable[[Any], Any] | None = None,
    ) -> T: ...
    @overload
    async def invoke(
        self,
        method: str,
        *args: Any,
        timeout: float | Unset | None = UNSET,
        on_progress: Callable[[Any], Any] | None = None,
    ) -> Any: ...
    async def invoke(
        self,
        method: str,
        *args: Any,
        timeout: float | Unset | None = UNSET,
        result_type: Any = Any,
        on_progress: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Call a hub method and return its result; `None` if the method has no result.

        A classic server cannot be asked to cancel a method: after a cancellation or a timeout, the method may go on.

        Args:
            method: the name of the hub method.
            args: the arguments of the hub method.
            timeout: seconds for the whole call, including waiting for a connection; `None` for no limit;
                `Timeouts.invoke` by default.
            result_type: the type to which the result is converted; by default the result is not converted.
            on_progress: a sync or async function, called with each value that the method reports (`IProgress<T>`), in
                order, before the result is returned. What it raises ends the call. Over other transports than
                WebSockets, the last values may come after the result; they are dropped.

        Raises:
            ClassicHubError: the hub method failed. `str()` of the error is the server's text.
            InvocationTimeoutError: the call took longer than `timeout`.
            ConnectionClosedError: the connection ended during the call, or the server refused the call. The hub method
                may or may not have run.
            NotConnectedError: there was no connection within `Timeouts.ready`.
            LocalProtocolError: an argument or the state cannot be encoded; nothing was sent.
            RemoteProtocolError: the server cannot encode the result (not over WebSockets, where it closes the
                transport instead).
            ResultTypeError: the result does not fit `result_type`.
        """
        self._home.check_loop()
        limit = self._home.timeouts.invoke if isinstance(timeout, Unset) else timeout
        if limit is None:
            return await self._invoke(method, args, result_type, on_progress)
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                return await self._invoke(method, args, result_type, on_progress)
        except TimeoutError:
            if not scope.expired():
                raise
            text = f"'{self._name}.{method}' did not end within {limit:g} s; the method may go on at the server"
            raise InvocationTimeoutError(text) from None

    async def _invoke(
        self, method: str, args: tuple[Any, ...], result_type: Any, on_progress: Callable[[Any], Any] | None
    ) -> Any:
        exact = result_type is not Any and await self._values.needs_exact(result_type)
        call = self._new_call(method, args)
        link = self._life.link or await self._life.ready()
        result = await link.outgoing.invoke(call, exact=exact, on_progress=on_progress, mark=self._limits.messages)
        return result if result_type is Any else self._values.convert(result_type, result)

    async def send(self, method: str, *args: Any) -> None:
        """Call a hub method without waiting for its result.

        Over WebSockets, `send` returns when the message is in the outgoing buffer, and waits while that is full. Over
        other transports, `send` returns when the server has answered, and a `send` waits for the `send` before it. An
        error of the hub method goes to `on_error`.

        Raises:
            ConnectionClosedError: the connection ended, or the server refused the call.
            NotConnectedError: there was no connection within `Timeouts.ready`.
            LocalProtocolError: an argument or the state cannot be encoded; nothing was sent.
        """
        self._home.check_loop()
        call = self._new_call(method, args)
        link = self._life.link or await self._life.ready()
        await link.outgoing.send(call)

    def _new_call(self, method: str, args: tuple[Any, ...]) -> Call:
        if not isinstance(method, str):
            raise TypeError(f"the name of a hub method is a str, not {type(method).__name__}")
        return Call(self._name, method, [self._home.json.plain(value) for value in args], state=dict(self._state))

    def proxy(self, declaration: TypeForm[T], *, naming: NamingChoice = "pascal") -> T:
        """Return an object with typed methods that call the hub. A class declares the methods.

        Args:
            declaration: a class, best a `typing.Protocol`. Its public methods are `async def` with a result type
                (`None` for no result). The decorator `method` gives a method another name on the hub, or makes the
                method send without waiting for an answer.
            naming: how Python names become names of hub methods: `"pascal"`, `"camel"`, `None` for no change, or a
                function.

        Raises:
            TypeError: a method of the class lacks a type, or is declared in a way that no hub method can have. Classic
                SignalR has no streams.

        Example:
            ```python
            class ChatHub(Protocol):
                async def add(self, a: int, b: int) -> int: ...

            chat = connection.hub("Chat").proxy(ChatHub)
            assert await chat.add(1, b=2) == 3
            ```
        """
        # Import at the first use: few programs need proxies.
        from .._hub.proxies import ASYNC_CLASSIC, make_proxy

        return cast("T", make_proxy(self, declaration, naming, ASYNC_CLASSIC))
