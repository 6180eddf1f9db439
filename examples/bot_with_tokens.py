"""A bot whose tokens live shorter than it does: it stays connected, and logs in again only when it must.

    python examples/bot_with_tokens.py https://example.com/hub https://login.example.com/token

It wants a hub that accepts bearer tokens and refreshes them on the live connection, as ASP.NET Core 11 does, with a
method `User()`, and an address that answers a GET with a token as plain text. It waits for two refreshes.
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp

from signalr_sdk import AuthenticationRefresh, HubConnection, TokenRequest

LIFETIME = 2.0  # seconds; a login says how long a token is good, this one does not
REFRESHES = 2


class Login:
    """The token provider: asked for each attempt to connect, after a 401, and for each refresh."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.logins = 0
        self._session = session
        self._url = url
        self._token = ""
        self._good_until = 0.0

    async def __call__(self, request: TokenRequest) -> str:
        """Return the token while it is good; log in for a refresh, and when the server has refused the token."""
        if request.reason == "refresh" or request.refused == self._token or time.monotonic() > self._good_until:
            asked_at = time.monotonic()
            async with self._session.get(self._url, raise_for_status=True) as answer:
                self._token = await answer.text()
            self._good_until = asked_at + LIFETIME
            self.logins += 1
        return self._token


async def main(url: str, login_url: str) -> None:
    """Stay connected for longer than a token lives."""
    async with aiohttp.ClientSession() as session:
        login = Login(session, login_url)
        # Tokens that live no more than twice as long as `before` are refreshed at half of their life.
        hub = HubConnection(url, access_token=login, authentication_refresh=AuthenticationRefresh(before=60))
        refreshed: asyncio.Queue[float | None] = asyncio.Queue()
        hub.on_authentication_refreshed(refreshed.put)
        # A refresh that fails leaves the connection alone. If the server then closes it, the next one has a new token.
        hub.on_error(lambda error: print(f"error: {error}", file=sys.stderr))
        async with hub:
            connection = hub.connection_id
            for _ in range(REFRESHES):
                print(f"the token is good for {await refreshed.get()} s more")
            # By hand, for example when the user has got new rights.
            await hub.refresh_authentication()
            print(f"still {await hub.invoke('User')}, on the same connection: {hub.connection_id == connection}")
        print(f"logged in {login.logins} times")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
