"""`Outbox` and `Feed` of `signalr_sdk.sync`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import FeedGapError, Retry, StateError
from signalr_sdk.delivery import ID, Entry
from signalr_sdk.sync import Feed, HubConnection, Outbox
from signalr_sdk.testing import HubServer

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from pathlib import Path

    from signalr_sdk.testing import LedgerHub


@pytest.fixture
def server(ledger_hub: type[LedgerHub]) -> Iterator[HubServer]:
    with HubServer({"/ledger": ledger_hub}) as server:
        yield server


@pytest.fixture
def threads_hub(server: HubServer) -> Iterator[HubConnection]:
    policy = Retry.forever(wait=lambda _state: 0.01)
    hub = HubConnection(server.url("/ledger"), reconnect=policy, retry_start=policy)
    yield hub
    hub.stop()


def test_many_threads_put_and_the_handlers_have_one_thread(
    path: Path, threads_hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    ledger_hub.state.rule("bad", "fail", -1)
    on: set[int] = set()
    delivered: list[Any] = []
    dead: list[Entry] = []
    handled = threading.Event()
    threads_hub.on("item", lambda _item: on.add(threading.get_ident()))
    outbox = Outbox(path, threads_hub, retry=Retry.delays())
    outbox.on_dead(dead.append)

    @outbox.on_delivered
    def note(entry: Entry, result: Any) -> None:
        on.add(threading.get_ident())
        delivered.append((entry.args[2], result))
        threads_hub.invoke("LedgerLength")
        if len(delivered) == 50:
            handled.set()

    with outbox, threads_hub:
        threads_hub.invoke("Emit", 1, 0)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda n: outbox.put("Store", ID, "k", n, key="k"), range(50)))
        outbox.put("Store", ID, "bad", 1, key="bad")
        outbox.drain(9)
        assert handled.wait(5)
        assert outbox.stats().delivered == 50
        (entry,) = outbox.entries(dead=True)
        assert outbox.drop(entry.id) == 1
        assert outbox.retry() == 0
    assert sorted(delivered) == [(n, 1) for n in range(50)]
    assert dead == [entry]
    assert len(on) == 1


def test_an_outbox_without_a_hub_only_puts(path: Path, threads_hub: HubConnection) -> None:
    with Outbox(path) as outbox:
        outbox.put("Store", ID, None, 1)
        with pytest.raises(TimeoutError):
            outbox.drain(0.05)
    with pytest.raises(StateError):
        outbox.put("Store", ID, None, 2)
    with threads_hub, Outbox(path, threads_hub) as outbox:
        outbox.drain(5)
        assert "sync.Outbox" in repr(outbox)
        assert outbox.store is not None


def test_run_ends_with_stop(path: Path) -> None:
    outbox = Outbox(path)
    running = threading.Thread(target=outbox.run)
    running.start()
    while True:
        try:
            outbox.put("A")
            break
        except StateError:
            continue
    outbox.stop()
    running.join()


def test_async_handlers_are_refused(path: Path) -> None:
    async def handler(_entry: Entry) -> None: ...

    with pytest.raises(TypeError, match="plain function"):
        Outbox(path).on_dead(handler)


def test_a_handler_that_raises_is_logged(
    path: Path, threads_hub: HubConnection, expected_errors: list[logging.LogRecord]
) -> None:
    done = threading.Event()
    with threads_hub, Outbox(path, threads_hub) as outbox:
        outbox.on_delivered(lambda entry, _result: entry.args[99])
        outbox.on_delivered(lambda _entry, _result: done.set())
        outbox.put("Store", ID, None, 1)
        assert done.wait(5)
    assert expected_errors[0].getMessage() == "an on_delivered handler failed"


def test_a_handler_may_stop_the_outbox(path: Path, threads_hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    outbox = Outbox(path, threads_hub, close=3600)
    outbox.on_delivered(lambda _entry, _result: outbox.stop())
    with Outbox(path) as putting, threads_hub:
        for n in range(2):
            putting.put("Store", ID, None, n)
        outbox.run()
        assert len(ledger_hub.state.rows) == 1
        assert putting.stats().waiting == 1


def test_delivery_waits_for_earlier_on_connected_handlers(
    path: Path, threads_hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    go_on = threading.Event()
    threads_hub.on_connected(lambda _connection_id: go_on.wait())
    with threads_hub, Outbox(path, threads_hub) as outbox:
        outbox.put("Store", ID, None, 1)
        with pytest.raises(TimeoutError):
            outbox.drain(0.1)
        assert ledger_hub.state.rows == []
        go_on.set()
        outbox.drain(5)


@pytest.mark.parametrize("streams", [True, False])
def test_a_feed_over_a_lost_connection(
    path: Path, threads_hub: HubConnection, ledger_hub: type[LedgerHub], *, streams: bool
) -> None:
    def catch_up(at: Any) -> Any:
        return (
            threads_hub.stream("Since", None, at.number)
            if streams
            else threads_hub.invoke("SinceList", None, at.number)
        )

    for _ in range(200):
        ledger_hub.state.next_item()
    options: dict[str, Any] = {"number": lambda item: item["n"], "catch_up": catch_up, "gap_timeout": 0.05}
    with Feed(threads_hub, "item", start=0, store=path, **options) as items, threads_hub:
        assert [next(items)["n"] for _ in range(150)] == list(range(1, 151))
        threads_hub.send("AbortMe")
        assert [next(items)["n"] for _ in range(50)] == list(range(151, 201))
        items.ack()
        assert items.position is not None
        assert items.position.number == 200
    with threads_hub, Feed(threads_hub, "item", store=path, **options) as items:
        ledger_hub.state.next_item()
        ledger_hub.state.forget(below=202)
        threads_hub.invoke("Emit", 1, 0)
        with pytest.raises(FeedGapError):
            next(items)
        assert next(items)["n"] == 202
        assert "sync.Feed" in repr(items)


def test_an_event_without_a_number_is_logged_and_the_feed_goes_on(
    threads_hub: HubConnection, server: HubServer, expected_errors: list[logging.LogRecord]
) -> None:
    def nothing(_at: Any) -> list[Any]:
        return []

    with Feed(threads_hub, "item", number=lambda item: item["n"], catch_up=nothing) as items, threads_hub:
        server.send("/ledger", "item", {"secret": 7}).result()
        server.send("/ledger", "item", {"n": 1}).result()
        assert next(items) == {"n": 1}
    assert [error.getMessage() for error in expected_errors] == ["the feed 'item' cannot read an event: 'n'"]
    assert expected_errors[0].name == "signalr_sdk.delivery"
