"""An integration in the style of Home Assistant: the application's session, a refreshed token, a watchdog.

    python examples/smart_home.py https://example.com/chargers https://login.example.com/token

It wants a hub with bearer tokens and the methods `SendToAll(event, value)` and `Echo(value)`. The proxy belongs to the
rehearsal at the end.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from signalr_sdk import ConnectionFailedError, HubConnection, Retry, Timeouts, TokenRequest
from signalr_sdk.testing import FaultProxy


@dataclass
class Entry:
    """A config entry that is loaded: its hub connection, and its newest data."""

    hub: HubConnection
    data: dict[str, float]


async def async_setup_entry(session: aiohttp.ClientSession, url: str, login_url: str) -> Entry:
    """Connect. Raise an error if the hub is away: the application tries again later."""
    token, data = "", {"watts": 0.0}

    async def get_token(request: TokenRequest) -> str:
        nonlocal token
        if not token or request.reason == "refresh" or request.refused == token:
            async with session.get(login_url, raise_for_status=True) as answer:
                token = await answer.text()
        return token

    # Seconds; a real charger speaks less often.
    hub = HubConnection(url, http=session, access_token=get_token, reconnect=Retry.forever(), timeouts=Timeouts(idle=5))
    hub.on("watts", lambda watts: data.update(watts=watts))

    @hub.on_setup
    async def load(_connection_id: str | None) -> None:
        data.update(await hub.invoke("Echo", {"watts": 0.0}))  # what came while there was no connection is lost

    try:
        await hub.start()
    except ConnectionFailedError as error:
        raise RuntimeError("not ready") from error  # ConfigEntryNotReady
    return Entry(hub, data)


async def main(url: str, login_url: str) -> None:
    """Load the integration, let the charger fall silent, cut the line, unload."""
    there, back, changed = urlsplit(url), asyncio.Queue[str | None](), asyncio.Event()
    async with aiohttp.ClientSession() as session, FaultProxy(there.port or 80, there.hostname or "") as proxy:
        entry = await async_setup_entry(session, proxy.url(there.path), login_url)
        entry.hub.on_reconnected(back.put_nowait)
        await back.get()  # the watchdog has replaced the connection, since the charger said nothing
        proxy.cut()
        await back.get()
        entry.hub.on("watts", lambda _watts: changed.set())
        await entry.hub.invoke("SendToAll", "watts", 7400.0)
        await changed.wait()
        await entry.hub.stop()  # async_unload_entry
        print(f"unloaded at {entry.data['watts']:g} W, session closed: {session.closed}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
