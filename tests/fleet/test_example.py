"""The example with consumer groups: relays and workers die, and each trade is booked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from tests.fleet.redis_process import RedisProcess

EXAMPLES = Path(__file__).parents[2] / "examples" / "fleet"

TRADES: list[dict[str, Any]] = []


class TradesHub(Hub):
    async def trades_since(self, number: int) -> AsyncIterator[dict[str, Any]]:
        for trade in TRADES[number:]:
            yield trade


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.05)


@pytest.mark.timeout(120)
def test_each_trade_is_booked(redis_process: RedisProcess, redis: Any) -> None:
    TRADES.clear()
    with ExitStack() as entered:
        server = entered.enter_context(HubServer({"/trades": TradesHub}))

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = entered.enter_context(subprocess.Popen([sys.executable, *command], cwd=EXAMPLES))
            entered.callback(process.kill)
            return process

        def trade(count: int) -> None:
            for _ in range(count):
                TRADES.append({"n": len(TRADES) + 1, "price": 7.5})
                server.send("/trades", "Trade", TRADES[-1]).result()

        relays = [start("trades_relay.py", server.url("/trades"), redis_process.url) for _ in range(2)]
        workers = [start("trades_worker.py", redis_process.url, f"w{number}", "0.5") for number in range(3)]
        trade(20)
        until(lambda: redis.hlen("booked") > 0)
        for victim in (workers[0], relays[0], workers[1], relays[1]):
            trade(50)
            victim.kill()
            if victim is relays[0]:
                start("trades_relay.py", server.url("/trades"), redis_process.url)
            trade(20)
        until(lambda: redis.hlen("booked") == len(TRADES) == 300)
        until(lambda: redis.xpending("trades", "book")["pending"] == 0)
        assert {int(number): json.loads(text) for number, text in redis.hgetall("booked").items()} == {
            trade["n"]: trade for trade in TRADES
        }
        # SIGTERM ends a worker in order.
        workers[2].terminate()
        assert workers[2].wait() == 0
