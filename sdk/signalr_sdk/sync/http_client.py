"""Makes the user's HTTP client on the event loop's thread, and closes the client there."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import aiohttp
    import httpx

    from ..interfaces import HttpClient

ClientFactory: TypeAlias = Callable[[], "aiohttp.ClientSession | httpx.AsyncClient | HttpClient"]


class LazyClient:
    """The HTTP client of one connection. Each start of the connection makes a client; the connection's end closes it.

    The client belongs to the event loop, which ends with the last connection of the process. So the client is made and
    closed on the event loop's thread, and is never used again after the end of the connection.

    Args:
        factory: the user's function that makes the client; with `None` the asyncio connection makes a default client.

    Raises:
        TypeError: `factory` cannot be called, for example because it is a client.
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
        """The argument `http` for the asyncio connection: a function that makes the client when first called.

        `None` if the user gave no function.
        """
        return None if self._factory is None else self._get

    def _get(self) -> Any:
        if self._client is None:
            assert self._factory is not None
            self._client = self._factory()
        return self._client

    async def close(self) -> None:
        """Close the client if it was made. The next start of the connection makes a new client."""
        client, self._client = self._client, None
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        if close is not None:
            result = close()
            if inspect.isawaitable(result):
                await asyncio.shield(result)
