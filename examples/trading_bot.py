"""A trading bot on a gateway with session tokens: it buys when the price is low, each order once, over an outage.

    python examples/trading_bot.py https://example.com/gateway https://login.example.com/token

It wants a hub with bearer tokens and the methods `JoinGroup(group)`, `SendToGroup(group, event, value)` and
`Echo(order)`, which in earnest would place an order, and know by its number one that it has already. The proxy belongs
to the rehearsal at the end.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from urllib.parse import urlsplit

import aiohttp

from signalr_sdk import ConnectionClosedError, HubConnection, Retry, Timeouts, TokenRequest
from signalr_sdk.testing import FaultProxy


class Bot:
    """Buys below 100. An exception in its own code ends it: better no bot than one that trades on a broken idea."""

    def __init__(self, url: str, session: aiohttp.ClientSession, login_url: str) -> None:
        self.filled: asyncio.Queue[float] = asyncio.Queue()
        self._session, self._login_url, self._token, self._orders = session, login_url, "", count(1)
        self.hub = HubConnection(
            url,
            access_token=self.log_in,
            reconnect=Retry.forever(),
            retry_start=True,
            handler_errors="raise",
            timeouts=Timeouts(ready=None),  # an order waits until the gateway is back
        )
        self.hub.on("Price", self._trade)
        self.hub.on_setup(lambda _connection_id: self.hub.invoke("JoinGroup", "prices"))

    async def log_in(self, request: TokenRequest) -> str:
        """Return the session token; ask for another one when the gateway has refused it."""
        if not self._token or request.reason == "refresh" or request.refused == self._token:
            async with self._session.get(self._login_url, raise_for_status=True) as answer:
                self._token = await answer.text()
        return self._token

    async def _trade(self, price: float) -> None:
        order = {"number": next(self._orders), "price": price}
        while price < 100:
            try:
                answer = await self.hub.invoke("Echo", order)
            except ConnectionClosedError as error:
                print(f"order {order['number']} goes out again, with the same number: {error}")
            else:
                self.filled.put_nowait(answer["price"])
                return


async def main(url: str, login_url: str) -> None:
    """Trade, lose the line in the middle of an order, trade on."""
    there = urlsplit(url)
    async with aiohttp.ClientSession() as session, FaultProxy(there.port or 80, there.hostname or "") as proxy:
        bot = Bot(proxy.url(there.path), session, login_url)
        async with HubConnection(url, access_token=bot.log_in) as gateway, bot.hub:  # in earnest `bot.hub.run()`
            await gateway.invoke("SendToGroup", "prices", "Price", 101.0)
            await gateway.invoke("SendToGroup", "prices", "Price", 99.5)
            print(f"bought at {await bot.filled.get()}")
            proxy.cut_after(1, "up")
            await gateway.invoke("SendToGroup", "prices", "Price", 98.5)
            print(f"bought at {await bot.filled.get()}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
