"""`AzureSignalR` for programs without asyncio: it calls the asyncio `AzureSignalR` on the event loop's thread."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self, Unpack

from .._guard.copying import Uncopied
from .._http.aiohttp_client import AiohttpClient
from .._http.client_choice import choose_client
from .._hub.options import CommonHubOptions
from ..azure.service import API_VERSION
from ..azure.service import AzureSignalR as AsyncAzureSignalR
from ..errors import AzureSignalRError
from ..options import UNSET, Timeouts, Unset
from .http_client import ClientFactory, LazyClient
from .hub_connection import HubConnection
from .loop_use import LoopUse
from .token_providers import credential_on_thread
from .twins import twin_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from ..azure.paging import GroupConnection
    from ..azure.token_sources import Credential
    from ..azure.tokens import Claims
    from ..interfaces import HttpClient, HttpRequest, HttpResponse, HttpStream


class SyncHubOptions(CommonHubOptions, total=False):
    """The keyword arguments of `signalr_sdk.sync.HubConnection`, except `access_token`."""

    http: ClientFactory | None


@twin_of(AsyncAzureSignalR)
class AzureSignalR(Uncopied):
    """One hub of Azure SignalR Service, for programs without asyncio.

    Works like `signalr_sdk.azure.AzureSignalR`, without `await`. Many threads may use one object at the same time.
    Ctrl-C interrupts a method that waits, and cancels its request. The constructor does no I/O and starts no thread.
    The first request starts the event loop's thread, which then runs until `close()`.

    Args:
        connection_string: the connection string of the resource, as the Azure portal shows it.
        hub: the hub's name.
        application: prefix for the hub's name, to keep apart the hubs of several applications on one resource.
        credential: for Entra ID: an object with a plain method `get_token(*scopes)`, which is called on a thread.
        http: a plain function that makes the HTTP client, as for `HubConnection`. The function is called on the event
            loop's thread. `close()` closes the client. Each connection of `connect` makes a client of its own.
        timeouts: `connect` and `request` limit each request, `invoke` limits `invoke_connection`.
        api_version: version of the REST API.
        clock: returns the time in seconds since 1970, for tokens.

    Raises:
        ValueError: the connection string or a name is wrong, or `credential` does not fit the connection string.
        TypeError: `get_token` of the credential is async, or `http` is no function.
        ModuleNotFoundError: PyJWT is missing (extra `azure`), which access keys need.

    Example:
        ```python
        with AzureSignalR(connection_string, "chat") as chat:
            chat.send_all("ReceiveMessage", "me", "hello")
        ```
    """

    def __init__(
        self,
        connection_string: str,
        hub: str,
        *,
        application: str | None = None,
        credential: Credential | None = None,
        http: ClientFactory | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        api_version: str = API_VERSION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = _LoopClient(http)
        self._azure = AsyncAzureSignalR(
            connection_string,
            hub,
            application=application,
            credential=credential_on_thread(credential),
            http=self._http,
            timeouts=timeouts,
            api_version=api_version,
            clock=clock,
        )
        self._defaults = SyncHubOptions(http=http, timeouts=timeouts)
        self._loop_use = self._http.loop_use

    def __repr__(self) -> str:
        return f"<signalr_sdk.sync.{repr(self._azure)[1:]}"

    @property
    def hub(self) -> str:
        return self._azure.hub

    def close(self) -> None:
        """Close the HTTP client. Further requests raise `AzureSignalRError`. May be called again, on any thread."""
        self._loop_use.call(self._http.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # Letting clients in

    def negotiate(
        self,
        user_id: str | None = None,
        claims: Claims | None = None,
        lifetime: float = 3600.0,
        *,
        close_on_expiration: bool = False,
    ) -> dict[str, str]:
        return self._loop_use.call(
            self._azure.negotiate, user_id, claims, lifetime, close_on_expiration=close_on_expiration
        )

    def connect(
        self,
        user_id: str | None = None,
        claims: Claims | None = None,
        lifetime: float = 3600.0,
        *,
        close_on_expiration: bool = False,
        **hub_options: Unpack[SyncHubOptions],
    ) -> HubConnection:
        # The asyncio `connect` checks the arguments and makes a connection. Use only the URL of that connection, and
        # never start it.
        url = self._azure.connect(user_id, claims, lifetime, close_on_expiration=close_on_expiration).url

        def token() -> str:
            return self.negotiate(user_id, claims, lifetime, close_on_expiration=close_on_expiration)["accessToken"]

        options: SyncHubOptions = {**self._defaults, **hub_options}
        return HubConnection(url, access_token=token, **options)

    # Sending

    def send_all(self, event: str, *args: Any, excluded: Iterable[str] = ()) -> None:
        self._loop_use.call(self._azure.send_all, event, *args, excluded=excluded)

    def send_user(self, user: str, event: str, *args: Any) -> None:
        self._loop_use.call(self._azure.send_user, user, event, *args)

    def send_users(self, users: Iterable[str], event: str, *args: Any) -> None:
        self._loop_use.call(self._azure.send_users, users, event, *args)

    def send_group(self, group: str, event: str, *args: Any, excluded: Iterable[str] = ()) -> None:
        self._loop_use.call(self._azure.send_group, group, event, *args, excluded=excluded)

    def send_groups(self, groups: Iterable[str], event: str, *args: Any) -> None:
        self._loop_use.call(self._azure.send_groups, groups, event, *args)

    def send_connection(self, connection_id: str, event: str, *args: Any) -> None:
        self._loop_use.call(self._azure.send_connection, connection_id, event, *args)

    def send_connections(self, connection_ids: Iterable[str], event: str, *args: Any) -> None:
        self._loop_use.call(self._azure.send_connections, connection_ids, event, *args)

    def invoke_connection(
        self, connection_id: str, method: str, *args: Any, timeout: float | Unset | None = UNSET
    ) -> Any:
        return self._loop_use.call(self._azure.invoke_connection, connection_id, method, *args, timeout=timeout)

    # Groups

    def add_to_group(self, connection_id: str, group: str) -> None:
        self._loop_use.call(self._azure.add_to_group, connection_id, group)

    def remove_from_group(self, connection_id: str, group: str) -> None:
        self._loop_use.call(self._azure.remove_from_group, connection_id, group)

    def remove_from_all_groups(self, connection_id: str) -> None:
        self._loop_use.call(self._azure.remove_from_all_groups, connection_id)

    def add_user_to_group(self, user: str, group: str, ttl: int | None = None) -> None:
        self._loop_use.call(self._azure.add_user_to_group, user, group, ttl)

    def remove_user_from_group(self, user: str, group: str) -> None:
        self._loop_use.call(self._azure.remove_user_from_group, user, group)

    def remove_user_from_all_groups(self, user: str) -> None:
        self._loop_use.call(self._azure.remove_user_from_all_groups, user)

    # Looking up

    def connection_exists(self, connection_id: str) -> bool:
        return self._loop_use.call(self._azure.connection_exists, connection_id)

    def user_exists(self, user: str) -> bool:
        return self._loop_use.call(self._azure.user_exists, user)

    def group_exists(self, group: str) -> bool:
        return self._loop_use.call(self._azure.group_exists, group)

    def user_in_group(self, user: str, group: str) -> bool:
        return self._loop_use.call(self._azure.user_in_group, user, group)

    def group_connections(self, group: str, page_size: int = 200) -> Iterator[GroupConnection]:
        return self._iterate(self._azure.group_connections(group, page_size))

    def _iterate(self, members: AsyncIterator[GroupConnection]) -> Iterator[GroupConnection]:
        while True:
            try:
                yield self._loop_use.call(_next, members)
            except StopAsyncIteration:
                return

    def health(self) -> bool:
        return self._loop_use.call(self._azure.health)

    # Closing

    def close_connection(self, connection_id: str, reason: str | None = None) -> None:
        self._loop_use.call(self._azure.close_connection, connection_id, reason)

    def close_all(self, reason: str | None = None, excluded: Iterable[str] = ()) -> None:
        self._loop_use.call(self._azure.close_all, reason, excluded)

    def close_group(self, group: str, reason: str | None = None, excluded: Iterable[str] = ()) -> None:
        self._loop_use.call(self._azure.close_group, group, reason, excluded)

    def close_user(self, user: str, reason: str | None = None, excluded: Iterable[str] = ()) -> None:
        self._loop_use.call(self._azure.close_user, user, reason, excluded)


async def _next(members: AsyncIterator[GroupConnection]) -> GroupConnection:
    return await anext(members)


class _LoopClient:
    """An HTTP client that is made for the first request. From then on, the event loop's thread runs until `close`.

    Args:
        factory: the user's function that makes the HTTP client; `None` for an `AiohttpClient`.

    Attributes:
        loop_use: runs calls on the event loop's thread.
    """

    def __init__(self, factory: ClientFactory | None) -> None:
        self.loop_use = LoopUse()
        self._lazy = LazyClient(AiohttpClient if factory is None else factory)
        self._client: HttpClient | None = None
        self._is_closed = False
        self._over = asyncio.Event()

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """See `HttpClient.request`."""
        return await self._made().request(request)

    def stream(self, request: HttpRequest, /) -> AbstractAsyncContextManager[HttpStream]:
        """See `HttpClient.stream`."""
        return self._made().stream(request)

    def _made(self) -> HttpClient:
        if self._is_closed:
            raise AzureSignalRError("this AzureSignalR is closed")
        if self._client is None:
            self._client, _own = choose_client(self._lazy.source)
            self.loop_use.keep_loop_for(self._over.wait(), self.close)
        return self._client

    async def close(self) -> None:
        """Close the HTTP client if it was made, and let the event loop's thread end."""
        self._is_closed = True
        try:
            await self._lazy.close()
        finally:
            self._over.set()
