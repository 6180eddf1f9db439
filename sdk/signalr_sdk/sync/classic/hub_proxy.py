"""`HubProxy` for threads: one hub of a classic connection."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, overload

import attrs

from ..._guard.copying import Uncopied
from ..._hub.proxies import make_proxy
from ...classic.hub_proxy import HubProxy as AsyncHubProxy
from ...options import UNSET, Unset
from ..event_methods import STYLE, EventMethods
from ..twins import twin_of
from .progress import follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeForm

    from ...protocols.values import NamingChoice
    from ..loop_use import LoopUse
    from ..registry import HandlerRegistry
    from .hub_connection import HubConnection

T = TypeVar("T")

_STYLE: Final = attrs.evolve(STYLE, has_streams=False)


@twin_of(AsyncHubProxy)
class HubProxy(EventMethods, Uncopied):
    """One hub of a server of classic ASP.NET SignalR. `HubConnection.hub` returns it.

    Upper and lower case are the same in the names of hubs, methods and events. Many threads may use one hub.

    Example:
        ```python
        chat = connection.hub("Chat")
        chat.on("addMessage", print)
        with connection:
            total = chat.invoke("Add", 1, 2)
        ```
    """

    def __init__(
        self, proxy: AsyncHubProxy, connection: HubConnection, loop_use: LoopUse, registry: HandlerRegistry
    ) -> None:
        self._target: AsyncHubProxy = proxy
        self._connection = connection
        self._loop_use = loop_use
        self._registry = registry

    @property
    def name(self) -> str:
        return self._target.name

    @property
    def connection(self) -> HubConnection:
        return self._connection

    @property
    def state(self) -> dict[str, Any]:
        return self._target.state

    def __repr__(self) -> str:
        return f"<HubProxy '{self.name}' of {self._connection!r}>"

    @overload
    def invoke(
        self,
        method: str,
        *args: Any,
        timeout: float | Unset | None = UNSET,
        result_type: TypeForm[T],
        on_progress: Callable[[Any], Any] | None = None,
    ) -> T: ...
    @overload
    def invoke(
        self,
        method: str,
        *args: Any,
        timeout: float | Unset | None = UNSET,
        on_progress: Callable[[Any], Any] | None = None,
    ) -> Any: ...
    def invoke(
        self,
        method: str,
        *args: Any,
        timeout: float | Unset | None = UNSET,
        result_type: Any = Any,
        on_progress: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Call a hub method and return its result; `None` if the method has no result. Ctrl-C ends the wait.

        A classic server cannot be asked to cancel a method: after Ctrl-C or a timeout, the method may go on.

        Args:
            method: the name of the hub method.
            args: the arguments of the hub method.
            timeout: seconds for the whole call, including waiting for a connection; `None` for no limit;
                `Timeouts.invoke` by default.
            result_type: the type to which the result is converted; by default the result is not converted.
            on_progress: a plain function, called on this thread with each value that the method reports
                (`IProgress<T>`), in order, before the result is returned. What it raises ends the call. Over other
                transports than WebSockets, the last values may come after the result; they are dropped.

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
        invoke = functools.partial(self._target.invoke, method, *args, timeout=timeout, result_type=result_type)
        if on_progress is None:
            return self._loop_use.call(invoke)
        return follow(self._loop_use, lambda report: invoke(on_progress=report), on_progress)

    def send(self, method: str, *args: Any) -> None:
        self._loop_use.call(self._target.send, method, *args)

    def proxy(self, declaration: TypeForm[T], *, naming: NamingChoice = "pascal") -> T:
        """Return an object with typed methods that call the hub. A class declares the methods.

        Args:
            declaration: a class, best a `typing.Protocol`. Its public methods are plain `def` with a result type
                (`None` for no result). The decorator `method` gives a method another name on the hub, or makes the
                method send without waiting for an answer.
            naming: how Python names become names of hub methods: `"pascal"`, `"camel"`, `None` for no change, or a
                function.

        Raises:
            TypeError: a method of the class lacks a type, or is declared in a way that no hub method can have. Classic
                SignalR has no streams.
        """
        return cast("T", make_proxy(self, declaration, naming, _STYLE))
