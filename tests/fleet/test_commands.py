"""`signalr relay`, and `signalr outbox` with an outbox in Redis."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.running import process, run

from signalr_sdk.testing import HubServer, LedgerHub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fleet.redis_process import RedisProcess


@pytest.fixture
def served() -> Iterator[tuple[HubServer, type[LedgerHub]]]:
    """A server with a hub of its own."""

    class Meters(LedgerHub):
        pass

    with HubServer({"/meters": Meters}) as server:
        yield server, Meters


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.02)


def wrong(*arguments: str) -> str:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_outbox_in_redis(redis_process: RedisProcess, served: tuple[HubServer, type[LedgerHub]]) -> None:
    server, hub = served
    store = f"{redis_process.url}#meters"
    entry_id = run("outbox", "put", store, "Store", "@id", "k", "1", "--key", "k").stdout.strip()
    (line,) = run("outbox", "ls", store, "--json").stdout.splitlines()
    assert (json.loads(line)["id"], json.loads(line)["args"]) == (entry_id, [entry_id, "k", 1])
    done = run("outbox", "run", store, server.url("/meters"), "--drain", "--timeout", "40s")
    assert done.returncode == 0, done.stderr
    assert [row.id for row in hub.state.rows] == [entry_id]
    assert json.loads(run("outbox", "stats", store, "--json").stdout)["delivered"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("numbered", [True, False])
def test_a_relay(
    redis_process: RedisProcess, redis: Any, served: tuple[HubServer, type[LedgerHub]], numbered: bool
) -> None:
    server, hub = served
    options = ["--number", "n", "--catch-up", "Since", "--epoch", "epoch"] if numbered else []
    with process(
        *("relay", server.url("/meters"), "item", "--to", redis_process.url, "--stream", "items", *options),
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stderr is not None
        assert b"waiting for the lease" in running.stderr.readline()
        assert b"connected over WebSockets: this machine has the lease" in running.stderr.readline()
        server.send("/meters", "item", hub.state.next_item()).result()
        until(lambda: redis.xlen("items") == 2)
        running.send_signal(signal.SIGINT)
        assert running.wait() == 130
    _takeover, (_id, fields) = redis.xrange("items")
    assert json.loads(fields["args"]) == [{"epoch": "e1", "n": 1, "text": "e1-1"}]
    assert fields.get("number") == ("1" if numbered else None)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_wrong_uses_of_a_relay() -> None:
    url, redis = "http://127.0.0.1:1/hub", ("--to", "redis://127.0.0.1:1", "--stream", "s")
    assert "name the events" in wrong("relay", url, *redis)
    assert "name the events" in wrong("relay", url, "x", "--to", "redis://127.0.0.1:1")
    assert "is no URL of Redis" in wrong("relay", url, "x", "--to", "http://127.0.0.1:1", "--stream", "s")
    assert "go together" in wrong("relay", url, "x", *redis, "--number", "n")
    assert "brace" in wrong("relay", url, "x", "--to", "redis://127.0.0.1:1", "--stream", "a}")
