"""Makes and closes the user's HTTP client on the loop's thread."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp
    import httpx

    from ..interfaces import HttpClient

    ClientFactory: TypeAlias = Callable[[], "aiohttp.ClientSession | httpx.AsyncClient | HttpClient"]


class LazyClient:
    """The HTTP client of one connection: made when it is first needed, closed when the connection has ended.

    The client is made and closed on the loop's thread, because it belongs to that event loop, which ends with the last
    connection.

    Args:
        factory: makes the client; with `None` the asyncio connection makes its default client.
    """

    def __init__(self, factory: ClientFactory | None) -> None:
        if factory is not None and not callable(factory):
            raise TypeError(
                f"http of signalr_sdk.sync is a callable that makes the client on the thread of the event loop, for "
                f"example `lambda: aiohttp.ClientSession()`, not {type(factory).__name__}"
            )
        self._factory = factory
        self._client: Any = None

    @property
    def source(self) -> Any:
        """The value for the argument `http` of the asyncio connection."""
        return None if self._factory is None else self._get

    def _get(self) -> Any:
        if self._client is None:
            assert self._factory is not None
            self._client = self._factory()
        return self._client

    async def close(self) -> None:
        """Close the client, if there is one. The next start of the connection makes a new client."""
        client, self._client = self._client, None
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        if close is not None:
            result = close()
            if inspect.isawaitable(result):
                await asyncio.shield(result)
