"""What the user gives to a connection of `signalr_sdk.sync`, as the asyncio client takes it."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from .threads import plain, run_on_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp
    import httpx

    from ..interfaces import HttpClient

    ClientMaker: TypeAlias = Callable[[], "aiohttp.ClientSession | httpx.AsyncClient | HttpClient"]


def token_provider(
    access_token: str | Callable[[], str | None] | None,
) -> str | Callable[[], Awaitable[str | None]] | None:
    """Return a provider that asks the user's on a thread; a string as it is."""
    if access_token is None or isinstance(access_token, str):
        return access_token
    provider = plain(access_token, "an access token provider")

    async def provide() -> str | None:
        return await run_on_thread(provider, "access token")

    return provide


class GivenClient:
    """The HTTP client of one connection: made when it is first needed, closed when the connection has ended.

    Both on the loop's thread: it belongs to that event loop, which ends with the last connection.
    """

    def __init__(self, maker: ClientMaker | None) -> None:
        if maker is not None and not callable(maker):
            raise TypeError(
                f"http of signalr_sdk.sync is a callable that makes the client on the thread of the event loop, for "
                f"example `lambda: aiohttp.ClientSession()`, not {type(maker).__name__}"
            )
        self._maker = maker
        self._client: Any = None

    @property
    def source(self) -> Any:
        """What the asyncio client is to be given."""
        return None if self._maker is None else self._get

    def _get(self) -> Any:
        if self._client is None:
            assert self._maker is not None
            self._client = self._maker()
        return self._client

    async def close(self) -> None:
        """Close it, if it was made."""
        client, self._client = self._client, None
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        if close is not None:
            result = close()
            if inspect.isawaitable(result):
                await asyncio.shield(result)
