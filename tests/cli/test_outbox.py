"""`signalr outbox`: what it prints, and its exit status."""

from __future__ import annotations

import json
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from signalr_sdk.testing import HubServer, LedgerHub

from .running import free_port, process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Signalr

# Starting a process, and syncing a file, can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "outbox.db")


@pytest.fixture
def meters() -> Iterator[tuple[str, type[LedgerHub]]]:
    """The URL of a hub, and its class."""

    class Meters(LedgerHub):
        pass

    with HubServer({"/meters": Meters}) as server:
        yield server.url("/meters"), Meters


def test_put_and_look(signalr: Signalr, store: str) -> None:
    first = signalr("outbox", "put", store, "Store", "@id", "kitchen", "-20.5", "--key", "kitchen")
    assert (first.status, first.err) == (0, "")
    second = signalr("outbox", "put", store, "StoreAll", '[{"id": "@id"}, "=x"]', "=@id", "--id", "mine")
    assert second.out == "mine\n"
    entries = [json.loads(line) for line in signalr("outbox", "ls", store, "--json").out.splitlines()]
    assert [entry["args"] for entry in entries] == [
        [first.out.strip(), "kitchen", -20.5],
        [[{"id": "mine"}, "=x"], "@id"],
    ]
    assert (entries[0]["key"], entries[0]["dead"], entries[0]["attempts"]) == ("kitchen", False, 0)
    listed = signalr("outbox", "ls", store, "--limit", "1").out.splitlines()
    assert len(listed) == 1
    assert listed[0].startswith(first.out.strip())
    assert listed[0].endswith("Store [kitchen]  waiting")
    assert json.loads(signalr("outbox", "stats", store, "--json").out)["waiting"] == 2
    assert "           2  waiting\n" in signalr("outbox", "stats", store).out
    assert re.search(r"^ +\d+\.\d  oldest$", signalr("outbox", "stats", store).out, re.MULTILINE)
    assert signalr("outbox", "drop", store, "mine").out == "1 dropped\n"
    assert signalr("outbox", "retry", store).out == "0 waiting again\n"


def test_run_delivers(signalr: Signalr, store: str, meters: tuple[str, type[LedgerHub]]) -> None:
    url, hub = meters
    hub.state.rule("bad", "fail", -1)
    for n in range(5):
        signalr("outbox", "put", store, "StoreAll", f'{{"id": "@id", "key": null, "n": {n}}}')
    done = signalr("outbox", "run", store, url, "--drain", "--timeout", "8s", "--batch", "StoreAll=3")
    assert done.status == 0
    assert "connected over WebSockets" in done.err
    assert [row.call.split()[1] for row in hub.state.rows] == ["3", "3", "3", "2", "2"]
    assert json.loads(signalr("outbox", "stats", store, "--json").out)["delivered"] == 5


def test_entries_that_still_wait(signalr: Signalr, store: str, meters: tuple[str, type[LedgerHub]]) -> None:
    url, hub = meters
    signalr("outbox", "put", store, "Store", "@id", "k", "1", "--text", "--key", "k")
    signalr("outbox", "put", store, "Store", "@id", "k", "2", "--key", "k")
    done = signalr("outbox", "run", store, url, "--drain", "--timeout", "300ms")
    # The text "1" is no number for the hub: the call is tried again, and the call behind it waits.
    assert (done.status, "2 entries still wait after 0.3 s" in done.err) == (3, True)
    assert hub.state.rows == []


def test_a_hub_that_cannot_be_reached(signalr: Signalr, store: str) -> None:
    signalr("outbox", "put", store, "A")
    done = signalr("outbox", "run", store, f"http://127.0.0.1:{free_port()}/hub", "--drain", "--timeout", "1s")
    assert done.status == 3
    assert "no connection, trying again in" in done.err
    assert "1 entries still wait after 1 s" in done.err


def test_wrong_uses(signalr: Signalr, store: str) -> None:
    for arguments, text in (
        (("ls", store), "there is no file"),
        (("stats", "redis://localhost/0"), "outbox's name"),
        (("stats", "http://localhost/0#meters"), "a file, or in Redis"),
        (("run", store, "http://127.0.0.1:1/hub", "--batch", "All"), "METHOD=N"),
        (("put", store, "Store", "{"), "begins like JSON"),
        (("put", "/nowhere/outbox.db", "Store"), "cannot be read or written"),
    ):
        done = signalr("outbox", *arguments)
        assert done.status in (2, 3)
        assert text in done.err
        assert done.err.count("\n") == 1
    signalr("outbox", "put", store, "A")
    assert signalr("outbox", "drop", store).status == 2


def test_a_token_that_is_refused_is_told(signalr: Signalr, store: str) -> None:
    signalr("outbox", "put", store, "Store", "@id", "k", "1")
    with HubServer({"/meters": LedgerHub}, authorize=lambda _token: None) as server:
        url = server.url("/meters")
        done = signalr("outbox", "run", store, url, "--token", "secret", "--drain", "--timeout", "1s")
    assert done.status == 3
    assert done.err.startswith("signalr: no connection, trying again in ")
    assert "the server refuses the token of --token" in done.err
    assert "secret" not in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_in_order(store: str, signalr: Signalr, meters: tuple[str, type[LedgerHub]]) -> None:
    url, hub = meters
    signalr("outbox", "put", store, "Store", "@id", "k", "1")
    with process("outbox", "run", store, url) as running:
        assert running.stderr is not None
        assert b"connected" in running.stderr.readline()
        while not hub.state.rows:
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        assert running.wait() == 130
    assert json.loads(signalr("outbox", "stats", store, "--json").out)["waiting"] == 0
